"""Whether a site that was away for long is still what the record says, before anything is changed or deleted there.

The record is the placement: which objects came, with which stamp and version, and when. What the site says of itself
are labels, annotations and who wrote which fields when. A difference that nobody expected is for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from edge.errors import Surprising
from edge.model.base import Value
from edge.model.kube import KubeObject, ObjectRef
from edge.model.placement import Placement
from edge.policy.owned_fields import entries_of, fields_of, is_ours
from edge.policy.ownership import stamp_of
from edge.policy.render import VERSION_ANNOTATION
from edge.policy.snapshot import Bodies

MOST_CHANGED: Final = 0.2
"""The share of a placement's objects that others may have written since, until that is a surprise."""

CLUSTERS_OWN: Final = ("kube-", "k3s", "kubelet", "cloud-controller-manager", "before-first-apply")
"""How the names of managers begin that belong to a cluster itself: what they write is no surprise."""


class SurpriseKind(StrEnum):
    """In which way a site differs from the record. The text is a contract."""

    MISSING = "missing"
    """An object of ours is gone."""
    TAKEN_OVER = "taken-over"
    """It is there, and none of its fields is ours any more."""
    OTHER_STAMP = "other-stamp"
    """It says that it belongs to another stamp, or to none."""
    OTHER_VERSION = "other-version"
    """It says another version of the stamp than the one on record."""
    CHANGED = "changed"
    """Others wrote it since; a surprise only when that is true of many."""


class Surprise(Value):
    """One difference, with what is there instead."""

    ref: ObjectRef
    kind: SurpriseKind
    found: str = ""

    def __str__(self) -> str:
        return f"{self.ref}: {self.kind}{f' ({self.found})' if self.found else ''}"


def surprises(placement: Placement, live: Bodies, *, most_changed: float = MOST_CHANGED) -> tuple[Surprise, ...]:
    """How the site differs from the placement in ways that nobody expected; empty when it does not.

    `live` has each object of the inventory as it is now. `most_changed` is a share of the inventory, 0 to 1.
    """
    found = [one for ref in placement.inventory for one in _of_one(placement, ref, live.get(ref))]
    changed = [one for one in found if one.kind is SurpriseKind.CHANGED]
    if len(changed) <= most_changed * len(placement.inventory):
        found = [one for one in found if one.kind is not SurpriseKind.CHANGED]
    return tuple(found)


def check_return(placement: Placement, live: Bodies, *, most_changed: float = MOST_CHANGED) -> None:
    """Surprising, with a list of the differences, when a person should look first."""
    found = surprises(placement, live, most_changed=most_changed)
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Surprising(
            f"The site is not what it was when it was last stamped: {'; '.join(map(str, found[:_SHOWN]))}{more}",
            remedy="Look at the site; then approve the catch-up, or put the site right first",
            site=placement.site,
            stamp=placement.stamp,
            version=placement.version,
            reason=", ".join(sorted({one.kind.value for one in found})),
        )


_SHOWN: Final = 20


def _of_one(placement: Placement, ref: ObjectRef, live: KubeObject | None) -> Iterator[Surprise]:
    if live is None:
        yield Surprise(ref=ref, kind=SurpriseKind.MISSING)
        return
    version = (live["metadata"].get("annotations") or {}).get(VERSION_ANNOTATION, "")
    others = changed_by(live, placement.at)
    if stamp_of(live) != placement.stamp:
        yield Surprise(ref=ref, kind=SurpriseKind.OTHER_STAMP, found=stamp_of(live) or "no stamp's label")
    elif fields_of(live, ours=True) is None:
        yield Surprise(ref=ref, kind=SurpriseKind.TAKEN_OVER, found=", ".join(_managers(live)))
    elif version != placement.version:
        yield Surprise(ref=ref, kind=SurpriseKind.OTHER_VERSION, found=version or "none")
    elif others:
        yield Surprise(ref=ref, kind=SurpriseKind.CHANGED, found=", ".join(others))


def changed_by(live: KubeObject, since: datetime) -> tuple[str, ...]:
    """Who wrote fields of this object after `since`, but for the cluster itself and the platform."""
    entries = (entry for entry in entries_of(live) if not is_ours(entry))
    late = (str(entry.get("manager", "")) for entry in entries if _is_after(entry, since))
    return tuple(sorted({name for name in late if not name.startswith(CLUSTERS_OWN)}))


def _is_after(entry: Mapping[str, object], since: datetime) -> bool:
    try:
        return datetime.fromisoformat(str(entry["time"])) > since
    except (KeyError, ValueError, TypeError):
        return True


def _managers(live: KubeObject) -> Sequence[str]:
    return sorted({str(entry.get("manager", "")) for entry in entries_of(live)})
