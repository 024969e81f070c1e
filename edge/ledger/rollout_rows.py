"""Rows of rollouts as values, for all of the ledger that works with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from edge.errors import NotFound
from edge.ledger.tables import rollout_gates, rollouts
from edge.model.outcome import Cause
from edge.model.rollout import Gate, Rollout, RolloutPlan, RolloutState, SiteProgress
from edge.policy.redact import text_without_secrets

_PROGRESS = tuple(SiteProgress.model_fields)


def rollout_row(connection: Connection, rollout_id: str, *, locked: bool = False) -> RowMapping:
    """The rollout's row; `locked` keeps other processes' writes to the rollout out meanwhile. Raises NotFound."""
    wanted = select(rollouts).where(rollouts.c.rollout_id == rollout_id)
    row = connection.execute(wanted.with_for_update() if locked else wanted).mappings().one_or_none()
    if row is None:
        raise NotFound("No such rollout", rollout=rollout_id)
    return row


def rollout_of(row: RowMapping, sites: Sequence[SiteProgress] = (), gates: Sequence[Gate] = ()) -> Rollout:
    """A rollout from its row."""
    return Rollout(
        plan=RolloutPlan.model_validate(row["plan"]),
        state=RolloutState(row["state"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        sites=tuple(sites),
        waiting=row["waiting"],
        wake_at=row["wake_at"],
        gates=tuple(gates),
    )


def progress_of(row: RowMapping) -> SiteProgress:
    """A site's progress from its row."""
    return SiteProgress.model_validate({field: row[field] for field in _PROGRESS})


def gate_of(row: RowMapping) -> Gate:
    """An approval from its row."""
    return Gate(
        wave=row["wave"],
        when=row["side"],
        state=row["state"],
        asked_at=row["asked_at"],
        decided_at=row["decided_at"],
        by=row["decided_by"],
        reason=row["reason"],
    )


def gates_of(connection: Connection, rollout_id: str) -> tuple[Gate, ...]:
    """All approvals of a rollout, in the order in which they were asked for."""
    wanted = select(rollout_gates).where(rollout_gates.c.rollout_id == rollout_id)
    ordered = wanted.order_by(rollout_gates.c.asked_at, rollout_gates.c.wave, rollout_gates.c.side)
    return tuple(gate_of(row) for row in connection.execute(ordered).mappings())


def safe_cause(cause: Cause | None) -> dict[str, Any] | None:
    """A cause as it is stored: what looks like a secret is replaced."""
    if cause is None:
        return None
    return cause.model_copy(update={"message": text_without_secrets(cause.message)}).model_dump()
