"""What a rollout is decided from, read at one moment, and who else has its sites.

A rollout is looked at every second, and may have thousands of sites: the values are built without checks, because what
is read here was checked when it was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, or_, select

from edge.errors import NotFound
from edge.ledger.rollout_rows import gates_of
from edge.ledger.tables import (
    failed_versions,
    rollout_gates,
    rollout_sites,
    rollout_waves,
    rollouts,
    site_holds,
    sites,
)
from edge.model.outcome import Cause, Outcome, Status
from edge.model.placement import HoldKind
from edge.model.rollout import ENDED, GateState, RolloutFacts, RolloutState, WaveTimes
from edge.model.site import SiteState

_ROLLOUT = select(rollouts.c.stamp, rollouts.c.digest, rollouts.c.state, rollouts.c.cancelled_at).where(
    rollouts.c.rollout_id == bindparam("a")
)
_MINE = rollout_sites.c.rollout_id == bindparam("a")
_SITES = select(
    rollout_sites.c.site,
    rollout_sites.c.status,
    rollout_sites.c.cause,
    rollout_sites.c.seconds,
    rollout_sites.c.started_at.is_not(None).label("begun"),
    rollout_sites.c.precached_at.is_not(None).label("precached"),
).where(_MINE)
_GONE = (
    select(rollout_sites.c.site)
    .join(sites, sites.c.name == rollout_sites.c.site)
    .where(_MINE, sites.c.state == SiteState.DECOMMISSIONED)
)
_LOCKED = (
    select(site_holds.c.site, site_holds.c.until)
    .join(rollout_sites, rollout_sites.c.site == site_holds.c.site)
    .where(_MINE, site_holds.c.kind == HoldKind.ROLLOUTS, site_holds.c.until > bindparam("now"))
)
# What this rollout itself brought about is no reason to leave a site alone when a person has it tried again.
_FAILED_BEFORE = (
    select(failed_versions.c.site)
    .join(rollout_sites, rollout_sites.c.site == failed_versions.c.site)
    .where(_MINE, failed_versions.c.stamp == bindparam("stamp"), failed_versions.c.digest == bindparam("digest"))
    .where(failed_versions.c.rollout_id != bindparam("a"))
)
_WAVES = select(rollout_waves).where(rollout_waves.c.rollout_id == bindparam("a"))
_OPEN = rollouts.c.state.not_in(tuple(ENDED))
_OTHERS = (
    select(rollout_sites.c.site, rollout_sites.c.rollout_id)
    .join(rollouts, rollouts.c.rollout_id == rollout_sites.c.rollout_id)
    .where(_OPEN, rollouts.c.rollout_id != bindparam("but"))
    .order_by(rollouts.c.started_at, rollouts.c.rollout_id)
)
_WORKING = (
    select(rollout_sites.c.site, rollout_sites.c.rollout_id)
    .join(rollouts, rollouts.c.rollout_id == rollout_sites.c.rollout_id)
    .where(_OPEN, rollout_sites.c.started_at.is_not(None), rollout_sites.c.status.is_(None))
)
_WAITS_FOR_A_PERSON = and_(
    rollouts.c.cancelled_at.is_(None),
    or_(
        rollouts.c.state == RolloutState.PAUSED,
        rollouts.c.rollout_id.in_(select(rollout_gates.c.rollout_id).where(rollout_gates.c.state == GateState.PENDING)),
    ),
)
_DUE = (
    select(rollouts.c.rollout_id)
    .where(_OPEN, ~_WAITS_FOR_A_PERSON, or_(rollouts.c.wake_at.is_(None), rollouts.c.wake_at <= bindparam("now")))
    .order_by(rollouts.c.started_at, rollouts.c.rollout_id)
)


def facts_of(connection: Connection, rollout_id: str, now: datetime) -> RolloutFacts:
    """As `Rollouts.facts`, from one connection that sees one moment."""
    row = connection.execute(_ROLLOUT, {"a": rollout_id}).one_or_none()
    if row is None:
        raise NotFound("No such rollout", rollout=rollout_id)
    asked = {"a": rollout_id, "now": now, "stamp": row.stamp, "digest": row.digest}
    outcomes: dict[str, Outcome] = {}
    working, precached = [], []
    for site, status, cause, seconds, begun, fetched in connection.execute(_SITES, asked):
        if status is not None:
            outcomes[site] = _outcome(site, status, seconds) if cause is None else _caused(site, status, seconds, cause)
        elif begun:
            working.append(site)
        if fetched:
            precached.append(site)
    return RolloutFacts.model_construct(
        outcomes=outcomes,
        working=frozenset(working),
        precached=frozenset(precached),
        gone=frozenset(connection.execute(_GONE, asked).scalars()),
        locked={site: until for site, until in connection.execute(_LOCKED, asked)},
        failed_here=frozenset(connection.execute(_FAILED_BEFORE, asked).scalars()),
        waves={wave.wave: _times(wave) for wave in connection.execute(_WAVES, asked)},
        gates=gates_of(connection, rollout_id),
        state=RolloutState(row.state),
        cancelled=row.cancelled_at is not None,
    )


@lru_cache(maxsize=8192)
def _outcome(site: str, status: str, seconds: float) -> Outcome:
    """The same value for the same row at each look: making it anew costs more than reading the row."""
    return _caused(site, status, seconds, None)


def _caused(site: str, status: str, seconds: float, cause: dict[str, Any] | None) -> Outcome:
    why = None if cause is None else Cause.model_construct(**cause)
    return Outcome.model_construct(subject=site, status=Status(status), cause=why, seconds=seconds, detail={})


def _times(row: Row[Any]) -> WaveTimes:
    return WaveTimes(started_at=row.started_at, ended_at=row.ended_at)


def active_on(connection: Connection, names: Iterable[str], but: str) -> dict[str, str]:
    """As `Rollouts.active_on`."""
    asked = frozenset(names)
    found: dict[str, str] = {}
    for site, rollout_id in connection.execute(_OTHERS, {"but": but}):
        if site in asked:
            found.setdefault(site, rollout_id)
    return found


def working(connection: Connection) -> dict[str, str]:
    """As `Rollouts.working`."""
    return {site: rollout_id for site, rollout_id in connection.execute(_WORKING)}


def due(connection: Connection, now: datetime) -> tuple[str, ...]:
    """As `Rollouts.due`."""
    return tuple(connection.execute(_DUE, {"now": now}).scalars())
