"""How far a rollout is: what it waits for, when its waves began and ended, which sites are begun again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, column, insert, select, text, update

from edge.errors import InvalidInput, LedgerMismatch, NotFound
from edge.ledger.columns import Utc
from edge.ledger.rollout_rows import rollout_row
from edge.ledger.tables import rollout_sites, rollout_waves, rollouts
from edge.ledger.writer import Transaction
from edge.model.rollout import ENDED, RolloutState

_WAITING = select(rollouts.c.waiting, rollouts.c.wake_at).where(rollouts.c.rollout_id == bindparam("a"))
# As text, because SQLAlchemy compiles its own ON CONFLICT anew each time.
_WAVE_STARTED = (
    text("""
        INSERT INTO rollout_waves (rollout_id, wave, started_at) VALUES (:a, :wave, :at)
        ON CONFLICT (rollout_id, wave) DO UPDATE SET started_at = excluded.started_at
        WHERE rollout_waves.started_at IS NULL
        RETURNING wave
    """)
    .bindparams(bindparam("at", type_=Utc))
    .columns(column("wave"))
)
_WAVE_ENDED = (
    update(rollout_waves)
    .where(rollout_waves.c.rollout_id == bindparam("a"), rollout_waves.c.wave == bindparam("b"))
    .where(rollout_waves.c.ended_at.is_(None))
    .values(ended_at=bindparam("at"))
)
_SITE = and_(rollout_sites.c.rollout_id == bindparam("a"), rollout_sites.c.site == bindparam("b"))
_ABANDON = (
    update(rollout_sites)
    .where(_SITE, rollout_sites.c.status.is_(None), rollout_sites.c.started_at.is_not(None))
    .values(started_at=None)
)
_PRECACHED = (
    update(rollout_sites).where(_SITE, rollout_sites.c.precached_at.is_(None)).values(precached_at=bindparam("at"))
)


def wait(txn: Transaction, rollout_id: str, why: str, wake_at: datetime | None) -> None:
    """As `Rollouts.waiting`. Said every second, so nothing is written when it is known; no act, so not on the trail."""
    known = txn.connection.execute(_WAITING, {"a": rollout_id}).one_or_none()
    if known is None:
        raise NotFound("No such rollout", rollout=rollout_id)
    if tuple(known) == (why, wake_at):
        return
    said = update(rollouts).where(rollouts.c.rollout_id == rollout_id).values(waiting=why, wake_at=wake_at)
    txn.connection.execute(said)


def start_wave(txn: Transaction, rollout_id: str, wave: int) -> None:
    """As `Rollouts.wave_started`."""
    _known_wave(txn, rollout_id, wave)
    if txn.connection.execute(_WAVE_STARTED, {"a": rollout_id, "wave": wave, "at": txn.at}).one_or_none():
        txn.audit("rollout.wave-started", rollout_id, {"wave": wave})


def end_wave(txn: Transaction, rollout_id: str, wave: int) -> None:
    """As `Rollouts.wave_ended`."""
    _known_wave(txn, rollout_id, wave)
    known = select(rollout_waves.c.wave).where(rollout_waves.c.rollout_id == rollout_id, rollout_waves.c.wave == wave)
    if txn.connection.execute(known).one_or_none() is None:
        # No site of it was ever begun: all were left alone.
        txn.connection.execute(insert(rollout_waves), {"rollout_id": rollout_id, "wave": wave})
    if txn.connection.execute(_WAVE_ENDED, {"a": rollout_id, "b": wave, "at": txn.at}).rowcount:
        txn.audit("rollout.wave-ended", rollout_id, {"wave": wave})


def _known_wave(txn: Transaction, rollout_id: str, wave: int) -> None:
    plan = rollout_row(txn.connection, rollout_id, locked=True)["plan"]
    if wave not in {each["index"] for each in plan["waves"]}:
        raise InvalidInput("The rollout has no such wave", rollout=rollout_id, wave=wave)


def move(txn: Transaction, rollout_id: str, state: RolloutState) -> None:
    """As `Rollouts.move`."""
    if state in ENDED:
        raise InvalidInput("A rollout is ended by finish", rollout=rollout_id, state=state)
    row = rollout_row(txn.connection, rollout_id, locked=True)
    if row["state"] == state:
        return
    if row["state"] in ENDED:
        raise LedgerMismatch("The rollout has ended already", rollout=rollout_id, state=row["state"], given=state)
    txn.connection.execute(update(rollouts).where(rollouts.c.rollout_id == rollout_id).values(state=state))
    txn.audit("rollout.moved", rollout_id, {"from": row["state"], "to": state})


def precached(txn: Transaction, rollout_id: str, names: Sequence[str]) -> None:
    """As `Rollouts.precached`."""
    rollout_row(txn.connection, rollout_id)
    changed = sum(
        txn.connection.execute(_PRECACHED, {"a": rollout_id, "b": name, "at": txn.at}).rowcount for name in names
    )
    if changed:
        txn.audit("rollout.precached", rollout_id, {"sites": changed})


def abandon(txn: Transaction, rollout_id: str, names: Sequence[str]) -> tuple[str, ...]:
    """As `Rollouts.abandon`."""
    rollout_row(txn.connection, rollout_id)
    free = tuple(name for name in names if txn.connection.execute(_ABANDON, {"a": rollout_id, "b": name}).rowcount)
    if free:
        txn.audit("rollout.abandoned", rollout_id, {"sites": len(free), "first": free[0]})
    return free
