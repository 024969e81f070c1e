"""A fresh look at a site that was away for long, before anything is changed there."""

from __future__ import annotations

from edge.clients.kubernetes import SiteClient
from edge.model.placement import Placement
from edge.model.step import Detail
from edge.policy.reconnect import MOST_CHANGED, check_return, surprises
from edge.policy.snapshot import Bodies
from tasks.snapshot import look


def look_again(
    client: SiteClient,
    placement: Placement | None,
    *,
    approved_by: str = "",
    live: Bodies | None = None,
    most_changed: float = MOST_CHANGED,
) -> Detail:
    """Compare what is at the site with the placement on record; how many objects were looked at.

    Raises Surprising with the differences when there are some that nobody expected, unless `approved_by` names who has
    looked at them. `live` is what `look` found a moment ago. Reads only.
    """
    if placement is None:
        return {"objects": 0}
    bodies = look(client, placement.inventory) if live is None else live
    if not approved_by:
        check_return(placement, bodies, most_changed=most_changed)
        return {"objects": len(placement.inventory)}
    found = [str(one) for one in surprises(placement, bodies, most_changed=most_changed)]
    return {"objects": len(placement.inventory), "approved_by": approved_by, **({"surprises": found} if found else {})}
