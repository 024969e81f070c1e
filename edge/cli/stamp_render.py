"""`edge stamp render`: the objects that a site would get, as YAML."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import yaml

from edge.cli.output import JsonFlag, emit, speaks
from edge.cli.site import pairs
from edge.cli.stamp_shown import SetOption, SiteOption, StampArgument, find_site, find_stamp, shown_objects
from edge.model.kube import KubeObject

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@speaks
def render(stamp: StampArgument, site: SiteOption = None, set_: SetOption = None, as_json: JsonFlag = False) -> None:
    """Print the objects of a stamp as YAML, in the order in which they are applied, and change nothing.

    A secret is shown as `<secret name/key>`.
    """
    objects = shown_objects(find_stamp(stamp), find_site(site), pairs(set_ or [], "--set"))
    if as_json:
        emit(objects, "", as_json=True)
    else:
        sys.stdout.write(as_yaml(objects))


def as_yaml(objects: Sequence[KubeObject]) -> str:
    """One document per object, fields in the order of the manifests."""
    made: str = yaml.dump_all(
        objects, Dumper=_Dumper, sort_keys=False, allow_unicode=True, explicit_start=True, width=110
    )
    return made
