"""Does a site have what a stamp needs? Pure: the facts were read by somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from edge.model.base import Value
from edge.model.kube import KubeObject
from edge.model.stamp import Stamp
from edge.policy.capacity import lacking

CLOCK_WARN_S = 300.0
CLOCK_REFUSE_S = 1800.0
"""How far a site's clock may be off, in seconds: tokens live minutes, and what is signed must not be from tomorrow."""

_VERSION = re.compile(r"v?(\d+)\.(\d+)")


class SiteFacts(Value):
    """What a site has. `kinds`: `Kind` and `Kind.group` of all that it serves; None where nobody asked.

    `controllers`: `namespace/name` of Deployments -> whether they are available; those that are absent are left out.
    `owners`: namespace -> the stamp that says it owns it. `clock_off_s`: how far the site's clock is ahead of ours.
    """

    version: str = ""
    clock_off_s: float | None = None
    nodes: tuple[dict[str, Any], ...] = ()
    pods: tuple[dict[str, Any], ...] = ()
    kinds: frozenset[str] | None = None
    controllers: dict[str, bool] | None = None
    owners: dict[str, str] = Field(default={})


class Unfit(Value):
    """One thing that a site lacks. `check` is a stable word."""

    check: str
    message: str
    fix: str


def unfit(stamp: Stamp, objects: Sequence[KubeObject], facts: SiteFacts) -> tuple[Unfit, ...]:
    """Everything that keeps the site from running the stamp's objects; empty when it can."""
    asked = stamp.requires
    own = own_kinds(objects)
    return (
        *_clock(facts.clock_off_s),
        *_version(asked.kubernetes, facts.version),
        *_kinds([kind for kind in asked.kinds if kind not in own], facts.kinds),
        *_controllers(asked.controllers, facts.controllers),
        *_architectures(asked.architectures, facts.nodes),
        *_room(stamp, objects, facts),
        *_owners(stamp, facts.owners),
    )


def warnings(facts: SiteFacts) -> tuple[str, ...]:
    """What should be looked at, and keeps nothing from the site."""
    off = facts.clock_off_s
    if off is None or not CLOCK_WARN_S < abs(off) < CLOCK_REFUSE_S:
        return ()
    return (f"The site's clock is {_off(off)}",)


def own_kinds(objects: Sequence[KubeObject]) -> frozenset[str]:
    """`Kind` and `Kind.group` of what the objects themselves define."""
    found: set[str] = set()
    for obj in objects:
        spec = obj.get("spec") if obj["kind"] == "CustomResourceDefinition" else None
        if isinstance(spec, Mapping) and isinstance(spec.get("names"), Mapping):
            kind = str(spec["names"].get("kind"))
            found |= {kind, f"{kind}.{spec.get('group')}"}
    return frozenset(found)


def _clock(off: float | None) -> Iterator[Unfit]:
    if off is not None and abs(off) >= CLOCK_REFUSE_S:
        yield Unfit(
            check="clock",
            message=f"The site's clock is {_off(off)}: certificates, tokens and leases do not hold there",
            fix="Set the clock of the site's nodes by NTP",
        )


def _off(off: float) -> str:
    return f"{abs(off) / 60:.0f} minutes {'ahead' if off > 0 else 'behind'}"


def _version(asked: str, has: str) -> Iterator[Unfit]:
    wanted, found = _VERSION.match(asked), _VERSION.match(has)
    if wanted and found and tuple(map(int, found.groups())) < tuple(map(int, wanted.groups())):
        yield Unfit(
            check="kubernetes", message=f"Kubernetes is {has}, and {asked} is needed", fix="Update the cluster first"
        )


def _kinds(asked: Sequence[str], served: frozenset[str] | None) -> Iterator[Unfit]:
    for kind in asked:
        if served is not None and kind not in served:
            yield Unfit(check="kinds", message=f"{kind} is not served", fix="Install what defines this kind first")


def _controllers(asked: Sequence[str], found: Mapping[str, bool] | None) -> Iterator[Unfit]:
    for name in asked if found is not None else ():
        state = (found or {}).get(name)
        if state is not True:
            said = "not there" if state is None else "not available"
            yield Unfit(check="controllers", message=f"Controller {name} is {said}", fix="Install or mend it first")


def _architectures(asked: Sequence[str], nodes: Sequence[Mapping[str, Any]]) -> Iterator[Unfit]:
    has = sorted({_architecture(node) for node in nodes})
    if asked and nodes and not set(asked).intersection(has):
        yield Unfit(
            check="architecture",
            message=f"Nodes are {', '.join(has)}, and {' or '.join(asked)} is needed",
            fix="Add a node of that kind, or build the images for this one",
        )


def _architecture(node: Mapping[str, Any]) -> str:
    labels = node["metadata"].get("labels") or {}
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return str(labels.get("kubernetes.io/arch") or info.get("architecture") or "unknown")


def _room(stamp: Stamp, objects: Sequence[KubeObject], facts: SiteFacts) -> Iterator[Unfit]:
    others = [pod for pod in facts.pods if pod["metadata"].get("namespace") not in stamp.namespaces]
    for said in lacking(objects, facts.nodes, others):
        yield Unfit(check="capacity", message=said, fix="Free room on the nodes, add one, or ask for less")


def _owners(stamp: Stamp, owners: Mapping[str, str]) -> Iterator[Unfit]:
    for namespace in stamp.namespaces:
        other = owners.get(namespace)
        if other and other != stamp.name:
            yield Unfit(
                check="owner",
                message=f"Namespace {namespace} belongs to stamp {other}",
                fix="Use another namespace, or remove the other stamp from the site",
            )
