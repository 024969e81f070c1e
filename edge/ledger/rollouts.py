"""Rollouts: the frozen plan, and a row per site that says how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from edge.errors import LedgerMismatch, NotFound
from edge.ledger import rollout_control, rollout_facts, rollout_waves, rollout_work
from edge.ledger.rollout_rows import gates_of, progress_of, rollout_of, rollout_row, safe_cause
from edge.ledger.store import Book
from edge.ledger.tables import rollout_sites, rollouts
from edge.ledger.writer import Transaction
from edge.model.outcome import Outcome, Status
from edge.model.rollout import (
    ENDED,
    Approval,
    Control,
    Gate,
    GateState,
    Rollout,
    RolloutFacts,
    RolloutPlan,
    RolloutState,
)
from edge.policy.redact import without_secrets

_SITE = (rollout_sites.c.rollout_id == bindparam("a"), rollout_sites.c.site == bindparam("b"))
_BEGIN = update(rollout_sites).where(*_SITE).values(started_at=bindparam("new_started_at"))
_FIND = select(rollout_sites.c.status, rollout_sites.c.cause).where(*_SITE)
_FIELDS = ("status", "cause", "detail", "seconds", "ended_at")
_END = update(rollout_sites).where(*_SITE).values({name: bindparam(f"new_{name}") for name in _FIELDS})


class Rollouts(Book):
    """Everything that was rolled out, and what is under way."""

    def start(self, plan: RolloutPlan, *, by: str = "") -> Rollout:
        """Freeze the plan and begin. The same plan again answers the rollout as it stands, with its progress.

        `by` is who asked for it, for the audit trail; empty: the platform itself.
        Raises LedgerMismatch when another plan has this id.
        """
        self._store.write(partial(_start, plan, by))
        return self.get(plan.rollout_id)

    def unfinished(self, stamp: str, version: str, digest: str, sites: Iterable[str]) -> Rollout | None:
        """The latest rollout of this content to exactly these sites that has not ended."""
        wanted = (
            select(rollouts.c.rollout_id)
            .where(rollouts.c.stamp == stamp, rollouts.c.version == version, rollouts.c.digest == digest)
            .where(rollouts.c.cohort == _cohort(sites), rollouts.c.state.not_in(tuple(ENDED)))
            .order_by(rollouts.c.started_at.desc(), rollouts.c.rollout_id.desc())
            .limit(1)
        )
        with self._store.read() as connection:
            found = connection.execute(wanted).scalar_one_or_none()
        return None if found is None else self.get(found)

    def get(self, rollout_id: str) -> Rollout:
        """The rollout with all its sites, in the order of the plan. Raises NotFound."""
        with self._store.read(snapshot=True) as connection:
            row = rollout_row(connection, rollout_id)
            gates = gates_of(connection, rollout_id)
            wanted = select(rollout_sites).where(rollout_sites.c.rollout_id == rollout_id)
            order = (rollout_sites.c.wave, rollout_sites.c.position)
            sites = tuple(progress_of(site) for site in connection.execute(wanted.order_by(*order)).mappings())
        return rollout_of(row, sites, gates)

    def list(self, limit: int = 50) -> tuple[Rollout, ...]:
        """The latest rollouts, newest first, without their sites and approvals; `tally` counts sites."""
        order = (rollouts.c.started_at.desc(), rollouts.c.rollout_id.desc())
        with self._store.read() as connection:
            rows = connection.execute(select(rollouts).order_by(*order).limit(limit)).mappings()
            return tuple(rollout_of(row) for row in rows)

    def count(self, stamp: str, version: str) -> int:
        """How many rollouts of this stamp's version there have been."""
        wanted = select(func.count()).where(rollouts.c.stamp == stamp, rollouts.c.version == version)
        with self._store.read() as connection:
            return connection.execute(wanted).scalar_one()

    def tally(self, rollout_id: str) -> Counter[Status | None]:
        """How many sites ended in each way; None counts those that have not ended. Empty for an unknown rollout."""
        wanted = select(rollout_sites.c.status, func.count()).where(rollout_sites.c.rollout_id == rollout_id)
        with self._store.read() as connection:
            rows = connection.execute(wanted.group_by(rollout_sites.c.status)).all()
        return Counter({Status(status) if status else None: count for status, count in rows})

    def site_started(self, rollout_id: str, site: str) -> None:
        """Work on the site begins, maybe once more. Raises NotFound."""
        self._store.write(lambda txn: _site_started(txn, rollout_id, site))

    def site_ended(self, rollout_id: str, outcome: Outcome) -> None:
        """How the site did. A later outcome replaces an earlier one; the audit trail has both. Raises NotFound."""
        self._store.write(lambda txn: _site_ended(txn, rollout_id, outcome))

    def begin_site(self, rollout_id: str, site: str, *, lease: str, by: str) -> bool:
        """Work on the site begins. False: another run has begun it, it has ended, or `by` lost the lease."""
        return self._store.write(lambda txn: rollout_work.begin(txn, rollout_id, site, lease, by))

    def end_site(self, rollout_id: str, outcome: Outcome, *, lease: str, by: str) -> bool:
        """As `site_ended`. False, and nothing is written, when `by` lost the lease: another run has the site's fate."""
        return self._store.write(lambda txn: _end_site(txn, rollout_id, outcome, lease, by))

    def hold_rest(self, rollout_id: str) -> tuple[str, ...]:
        """Mark the sites that were never started as held; answers which."""
        return self._store.write(lambda txn: _hold_rest(txn, rollout_id))

    def finish(self, rollout_id: str, state: RolloutState) -> None:
        """Say how it ended. Raises NotFound, or LedgerMismatch when it ended in another way already."""
        self._store.write(lambda txn: _finish(txn, rollout_id, state))

    def move(self, rollout_id: str, state: RolloutState) -> None:
        """It goes on in another state that is not an end. Raises NotFound, LedgerMismatch when it has ended."""
        self._store.write(lambda txn: rollout_waves.move(txn, rollout_id, state))

    def facts(self, rollout_id: str, *, now: datetime) -> RolloutFacts:
        """What the next act is decided from, all as of one moment. Raises NotFound."""
        with self._store.read(snapshot=True) as connection:
            return rollout_facts.facts_of(connection, rollout_id, now)

    def active_on(self, sites: Iterable[str], *, but: str) -> dict[str, str]:
        """Which of these sites another rollout has that has not ended: site -> the rollout that was started first."""
        with self._store.read() as connection:
            return rollout_facts.active_on(connection, sites, but)

    def working(self) -> dict[str, str]:
        """Sites that some rollout has begun and not ended: site -> rollout."""
        with self._store.read() as connection:
            return rollout_facts.working(connection)

    def due(self, now: datetime) -> tuple[str, ...]:
        """Rollouts that have not ended and have something to do at `now`, by start.

        Those that wait for a person, paused or for an approval, have not, until that person says something.
        """
        with self._store.read() as connection:
            return rollout_facts.due(connection, now)

    def control(self, rollout_id: str, action: Control, *, by: str, reason: str = "") -> Rollout:
        """Pause, resume, cancel, or retry what failed. Said a second time it changes nothing.

        A cancelled rollout goes on until the sites at work have ended. A retry opens the sites again that failed, were
        held or were taken back, forgets their steps, and asks again for approvals that were refused; while there are
        sites that could not be taken back it finishes that instead. Raises NotFound, LedgerMismatch when the rollout's
        state does not allow it.
        """
        self._store.write(lambda txn: rollout_control.control(txn, rollout_id, action, by, reason))
        return self.get(rollout_id)

    def ask(self, rollout_id: str, wave: int, when: Approval) -> Gate:
        """Ask people to approve a wave; asked again, the gate as it stands. Raises NotFound, LedgerMismatch."""
        return self._store.write(lambda txn: rollout_control.ask(txn, rollout_id, wave, when))

    def decide(self, rollout_id: str, approved: bool, *, by: str, reason: str = "", wave: int | None = None) -> Gate:
        """Answer the open gate, or with `wave` that wave's; the same answer again to a named wave changes nothing.

        Raises NotFound when nothing is asked, LedgerMismatch when it was answered otherwise or the rollout has ended.
        """
        wanted = GateState.APPROVED if approved else GateState.REJECTED
        return self._store.write(lambda txn: rollout_control.decide(txn, rollout_id, wanted, (by, reason), wave))

    def waiting(self, rollout_id: str, why: str, wake_at: datetime | None) -> None:
        """Say what it waits for, in a sentence, and when that may be over; nothing while it works. Raises NotFound."""
        self._store.write(lambda txn: rollout_waves.wait(txn, rollout_id, why, wake_at))

    def wave_started(self, rollout_id: str, wave: int) -> None:
        """The wave's first site is begun; said again it changes nothing. Raises NotFound, InvalidInput."""
        self._store.write(lambda txn: rollout_waves.start_wave(txn, rollout_id, wave))

    def wave_ended(self, rollout_id: str, wave: int) -> None:
        """The wave's last site has ended; said again it changes nothing. Raises NotFound, InvalidInput."""
        self._store.write(lambda txn: rollout_waves.end_wave(txn, rollout_id, wave))

    def precached(self, rollout_id: str, sites: Sequence[str]) -> None:
        """The images are on these sites' nodes. Raises NotFound."""
        self._store.write(lambda txn: rollout_waves.precached(txn, rollout_id, sites))

    def abandon(self, rollout_id: str, sites: Sequence[str]) -> tuple[str, ...]:
        """These sites were begun by a run that is dead: those that have not ended are begun again; answers which."""
        return self._store.write(lambda txn: rollout_waves.abandon(txn, rollout_id, sites))


def _cohort(sites: Iterable[str]) -> str:
    return sha256("\n".join(sorted(sites)).encode()).hexdigest()


def _start(plan: RolloutPlan, by: str, txn: Transaction) -> None:
    try:
        row = rollout_row(txn.connection, plan.rollout_id)
    except NotFound:
        _add(plan, by, txn)
        return
    if RolloutPlan.model_validate(row["plan"]) != plan:
        raise LedgerMismatch("Another plan has this rollout's id", rollout=plan.rollout_id)


def _add(plan: RolloutPlan, by: str, txn: Transaction) -> None:
    places = [(wave.index, place, site) for wave in plan.waves for place, site in enumerate(wave.sites)]
    row = {
        "rollout_id": plan.rollout_id,
        "stamp": plan.stamp,
        "version": plan.version,
        "digest": plan.digest,
        "cohort": _cohort(site for _, _, site in places),
        "state": RolloutState.RUNNING,
        "plan": plan.model_dump(mode="json"),
        "started_at": txn.at,
    }
    txn.connection.execute(insert(rollouts), row)
    blank = {"rollout_id": plan.rollout_id, "detail": {}, "seconds": 0.0}
    rows = [{**blank, "wave": wave, "position": place, "site": site} for wave, place, site in places]
    if rows:
        txn.connection.execute(insert(rollout_sites), rows)
    said = {"stamp": plan.stamp, "version": plan.version, "digest": plan.digest}
    txn.audit("rollout.started", plan.rollout_id, {**said, "sites": len(places), "waves": len(plan.waves)}, actor=by)


def _site_started(txn: Transaction, rollout_id: str, site: str) -> None:
    found = txn.connection.execute(_BEGIN, {"a": rollout_id, "b": site, "new_started_at": txn.at}).rowcount
    if not found:
        raise NotFound("The rollout has no such site", rollout=rollout_id, site=site)


def _site_ended(txn: Transaction, rollout_id: str, outcome: Outcome) -> None:
    row: dict[str, Any] = {"a": rollout_id, "b": outcome.subject}
    known = txn.connection.execute(_FIND, row).one_or_none()
    if known is None:
        raise NotFound("The rollout has no such site", rollout=rollout_id, site=outcome.subject)
    cause = safe_cause(outcome.cause)
    if (known.status, known.cause) == (outcome.status, cause):
        return
    new = {"new_status": outcome.status, "new_cause": cause, "new_seconds": outcome.seconds, "new_ended_at": txn.at}
    txn.connection.execute(_END, {**row, **new, "new_detail": without_secrets(outcome.detail)})
    code = outcome.cause.code if outcome.cause else None
    seconds = round(outcome.seconds, 3)
    txn.audit(
        "rollout.site-ended",
        f"{rollout_id}/{outcome.subject}",
        {"status": outcome.status, "cause": code, "seconds": seconds},
    )


def _end_site(txn: Transaction, rollout_id: str, outcome: Outcome, lease: str, by: str) -> bool:
    if not rollout_work.kept(txn, lease, by):
        return False
    _site_ended(txn, rollout_id, outcome)
    return True


def _hold_rest(txn: Transaction, rollout_id: str) -> tuple[str, ...]:
    row = rollout_row(txn.connection, rollout_id, locked=True)
    rest = (
        update(rollout_sites)
        .where(rollout_sites.c.rollout_id == row["rollout_id"])
        .where(rollout_sites.c.status.is_(None), rollout_sites.c.started_at.is_(None))
        .values(status=Status.HELD, ended_at=txn.at)
        .returning(rollout_sites.c.site)
    )
    held = tuple(sorted(txn.connection.execute(rest).scalars()))
    if held:
        txn.audit("rollout.held", rollout_id, {"sites": len(held)})
    return held


def _finish(txn: Transaction, rollout_id: str, state: RolloutState) -> None:
    row = rollout_row(txn.connection, rollout_id, locked=True)
    if row["state"] == state:
        return
    if row["state"] in ENDED:
        raise LedgerMismatch("The rollout has ended already", rollout=rollout_id, state=row["state"], given=state)
    ended = (
        update(rollouts)
        .where(rollouts.c.rollout_id == rollout_id)
        .values(state=state, ended_at=txn.at, waiting="", wake_at=None)
    )
    txn.connection.execute(ended)
    txn.audit("rollout.finished", rollout_id, {"state": state})
