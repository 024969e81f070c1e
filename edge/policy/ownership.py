"""Two stamps never own the same object: the second is refused before anything is written."""

from __future__ import annotations

from edge.errors import OwnershipConflict
from edge.model.kube import KubeObject
from edge.policy.render import STAMP_LABEL
from edge.policy.snapshot import Bodies


def check_stamps(live: Bodies, stamp: str, site: str = "") -> None:
    """OwnershipConflict when one of these objects belongs to another stamp; it names both stamps and the objects."""
    taken = {str(ref): owner for ref, body in live.items() if (owner := stamp_of(body)) not in ("", stamp)}
    if taken:
        raise OwnershipConflict(
            "Another stamp owns what this stamp would write; nothing was changed",
            remedy="Take the object out of one of the two stamps",
            site=site or None,
            stamp=stamp,
            other=", ".join(sorted(set(taken.values()))),
            objects=", ".join(sorted(taken)[:20]),
        )


def stamp_of(body: KubeObject | None) -> str:
    """The stamp that an object says it belongs to; "" when it says none."""
    return str((((body or {}).get("metadata") or {}).get("labels") or {}).get(STAMP_LABEL, ""))
