"""Sites of a rollout as runs work on them: each is begun by one run alone, and only its keeper says how it ended.

A run can be thought dead and come back. Whether it still holds its lease is looked at in the transaction that writes,
so nothing it says afterwards counts.
"""

from __future__ import annotations

from sqlalchemy import bindparam, or_, select, update

from edge.ledger.tables import leases, rollout_sites
from edge.ledger.writer import Transaction
from edge.model.outcome import Status

_KEPT = (
    select(leases.c.name)
    .where(leases.c.name == bindparam("name"), leases.c.holder == bindparam("by"))
    .with_for_update(read=True)
)
_BEGIN = (
    update(rollout_sites)
    .where(rollout_sites.c.rollout_id == bindparam("a"), rollout_sites.c.site == bindparam("b"))
    .where(rollout_sites.c.started_at.is_(None))
    .where(or_(rollout_sites.c.status.is_(None), rollout_sites.c.status == Status.HELD))
    .values(started_at=bindparam("at"))
)


def kept(txn: Transaction, lease: str, by: str) -> bool:
    """Whether nobody else has taken the lease, be its time over or not: until then nobody counts its sites as free."""
    return txn.connection.execute(_KEPT, {"name": lease, "by": by}).one_or_none() is not None


def begin(txn: Transaction, rollout_id: str, site: str, lease: str, by: str) -> bool:
    """As `Rollouts.begin_site`."""
    if not kept(txn, lease, by):
        return False
    return bool(txn.connection.execute(_BEGIN, {"a": rollout_id, "b": site, "at": txn.at}).rowcount)
