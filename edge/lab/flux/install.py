"""Flux at a lab's site: its definitions and controllers, as `flux install` or the Arc extension would bring them.

The definitions here are the lab's own: they have the fields that the lab acts on, by Flux's names and with Flux's
rules, and refuse the rest, so that nobody believes the lab heeds a field that it does not.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml

from edge.lab.flux.applying import send
from edge.lab.kube.store import Obj
from edge.lab.sites import LabSite


@cache
def flux_objects() -> tuple[Obj, ...]:
    """Namespace, definitions and controllers, in the order in which they are made."""
    text = files("edge.lab.flux").joinpath("data/flux.yaml").read_text(encoding="utf-8")
    return tuple(obj for obj in yaml.safe_load_all(text) if obj)


def install(site: LabSite) -> int:
    """Bring Flux to an awake site, or up to date there. How many objects it consists of."""
    for obj in flux_objects():
        send(site, obj, "flux")
    return len(flux_objects())
