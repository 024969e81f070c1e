"""What people tell a rollout, and what a rollout asks people.

Each word is one transaction with the rollout's row locked: of two people who say something at once, one comes second
and finds what the first said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, insert, select, update

from edge.errors import InvalidInput, LedgerMismatch, NotFound
from edge.ledger.rollout_rows import gates_of, rollout_row
from edge.ledger.tables import rollout_gates, rollout_sites, rollout_waves, rollouts, steps
from edge.ledger.writer import Transaction
from edge.model.outcome import Status
from edge.model.rollout import ENDED, Approval, Control, Gate, GateState, RolloutState
from edge.model.step import StepState, earlier_work
from edge.policy.rollout import NOT_TAKEN_BACK

_RETRIED = (Status.FAILED, Status.HELD, Status.ROLLED_BACK)
_BATCH = 500
"""Names in one statement: databases allow some thousands of parameters."""

Changes = dict[str, Any]
"""Columns of the rollout's row that change; none: it is so already."""
_GOES_ON: Changes = {
    "state": RolloutState.RUNNING,
    "ended_at": None,
    "cancelled_at": None,
    "waiting": "",
    "wake_at": None,
}


def control(txn: Transaction, rollout_id: str, action: Control, by: str, reason: str) -> None:
    """As `Rollouts.control`."""
    say = _WORDS.get(action)
    if say is None:
        raise InvalidInput("Approvals are decided, not controlled", rollout=rollout_id, action=action)
    row = rollout_row(txn.connection, rollout_id, locked=True)
    changes, said = say(txn, dict(row))
    if not changes:
        return
    txn.connection.execute(update(rollouts).where(rollouts.c.rollout_id == rollout_id).values(**changes))
    txn.audit(f"rollout.{_PAST[action]}", rollout_id, {"reason": reason, **said}, actor=by)


def _pause(_txn: Transaction, row: dict[str, Any]) -> tuple[Changes, Changes]:
    if row["state"] == RolloutState.PAUSED:
        return {}, {}
    _only_from(row, Control.PAUSE, RolloutState.RUNNING)
    _not_cancelled(row, Control.PAUSE)
    return {"state": RolloutState.PAUSED}, {}


def _resume(_txn: Transaction, row: dict[str, Any]) -> tuple[Changes, Changes]:
    if row["state"] == RolloutState.RUNNING and row["cancelled_at"] is None:
        return {}, {}
    _only_from(row, Control.RESUME, RolloutState.PAUSED)
    return {"state": RolloutState.RUNNING, "waiting": "", "wake_at": None}, {}


def _cancel(txn: Transaction, row: dict[str, Any]) -> tuple[Changes, Changes]:
    """The run ends it, once the sites at work have ended; a paused one has to wake up for that."""
    if row["state"] == RolloutState.CANCELLED or (row["cancelled_at"] and row["state"] not in ENDED):
        return {}, {}
    _only_from(row, Control.CANCEL, RolloutState.RUNNING, RolloutState.PAUSED)
    return {"state": RolloutState.RUNNING, "cancelled_at": txn.at, "waiting": "", "wake_at": None}, {}


def _retry(txn: Transaction, row: dict[str, Any]) -> tuple[Changes, Changes]:
    rollout_id = row["rollout_id"]
    stuck = _not_taken_back(txn, rollout_id) if row["state"] == RolloutState.STOPPED else {}
    if stuck:
        _take_back_again(txn, rollout_id, stuck)
        return _GOES_ON, {"sites": len(stuck), "roll_back": True}
    retried = _to_retry(txn, rollout_id)
    if row["state"] == RolloutState.RUNNING and not retried:
        return {}, {}
    ended = (RolloutState.FAILED, RolloutState.STOPPED, RolloutState.ROLLED_BACK, RolloutState.CANCELLED)
    _only_from(row, Control.RETRY_FAILED, *ended)
    if not retried:
        raise LedgerMismatch("None of the rollout's sites failed or was held", rollout=rollout_id, state=row["state"])
    _reset(txn, rollout_id, retried)
    _forget_steps(txn, rollout_id, retried)
    _ask_again(txn, rollout_id)
    return _GOES_ON, {"sites": len(retried)}


def _not_taken_back(txn: Transaction, rollout_id: str) -> dict[str, dict[str, Any]]:
    """Sites whose roll-back failed, with the cause on record."""
    wanted = select(rollout_sites.c.site, rollout_sites.c.cause).where(
        rollout_sites.c.rollout_id == rollout_id, rollout_sites.c.status == Status.FAILED
    )
    found = {site: cause or {} for site, cause in txn.connection.execute(wanted)}
    return {site: cause for site, cause in found.items() if cause.get("reason") == NOT_TAKEN_BACK}


def _take_back_again(txn: Transaction, rollout_id: str, stuck: dict[str, dict[str, Any]]) -> None:
    """They count as failed and not yet taken back, so that the rollout stops once more and takes them back."""
    for site, cause in stuck.items():
        rows = rollout_sites.c.rollout_id == rollout_id, rollout_sites.c.site == site
        txn.connection.execute(update(rollout_sites).where(*rows).values(cause={**cause, "reason": ""}))


_WORDS: dict[Control, Callable[[Transaction, dict[str, Any]], tuple[Changes, Changes]]] = {
    Control.PAUSE: _pause,
    Control.RESUME: _resume,
    Control.CANCEL: _cancel,
    Control.RETRY_FAILED: _retry,
}
_PAST = {
    Control.PAUSE: "paused",
    Control.RESUME: "resumed",
    Control.CANCEL: "cancelled",
    Control.RETRY_FAILED: "retried",
}


def _only_from(row: dict[str, Any], action: Control, *states: RolloutState) -> None:
    if row["state"] in states:
        return
    allowed = ", ".join(states)
    raise LedgerMismatch(
        f"A rollout in this state does not take {action}",
        remedy=f"That is for one that is {allowed}",
        rollout=row["rollout_id"],
        state=row["state"],
    )


def _not_cancelled(row: dict[str, Any], action: Control) -> None:
    if row["cancelled_at"] is not None:
        raise LedgerMismatch(f"A rollout that was cancelled does not take {action}", rollout=row["rollout_id"])


def _to_retry(txn: Transaction, rollout_id: str) -> dict[str, int]:
    wanted = select(rollout_sites.c.site, rollout_sites.c.wave).where(
        rollout_sites.c.rollout_id == rollout_id, rollout_sites.c.status.in_(_RETRIED)
    )
    return {site: wave for site, wave in txn.connection.execute(wanted)}


def _reset(txn: Transaction, rollout_id: str, retried: dict[str, int]) -> None:
    # How a site was left stays on record until there is something newer.
    blank: Changes = {"status": None, "cause": None, "seconds": 0.0, "started_at": None, "ended_at": None}
    rows = rollout_sites.c.rollout_id == rollout_id, rollout_sites.c.status.in_(_RETRIED)
    txn.connection.execute(update(rollout_sites).where(*rows).values(**blank))
    waves = rollout_waves.c.rollout_id == rollout_id, rollout_waves.c.wave.in_(sorted(set(retried.values())))
    txn.connection.execute(update(rollout_waves).where(*waves).values(ended_at=None))


def _forget_steps(txn: Transaction, rollout_id: str, retried: dict[str, int]) -> None:
    """They are done anew. What the try before had done is kept under another name, since only that one saw the site
    as it was before the rollout.
    """
    names = sorted(retried)
    for start in range(0, len(names), _BATCH):
        some = names[start : start + _BATCH]
        mine = (steps.c.work == f"rollout:{rollout_id}", steps.c.subject.in_(some))
        done = (*mine, steps.c.state == StepState.DONE)
        begun = select(steps.c.subject).where(*done).distinct()
        again = [subject for (subject,) in txn.connection.execute(begun)]
        txn.connection.execute(
            delete(steps).where(steps.c.work == earlier_work(rollout_id), steps.c.subject.in_(again))
        )
        txn.connection.execute(update(steps).where(*done).values(work=earlier_work(rollout_id)))
        txn.connection.execute(delete(steps).where(*mine))


def _ask_again(txn: Transaction, rollout_id: str) -> None:
    """What was approved stays so. A no, and what nobody answered, is asked once more."""
    rows = rollout_gates.c.rollout_id == rollout_id, rollout_gates.c.state != GateState.APPROVED
    txn.connection.execute(delete(rollout_gates).where(*rows))


def ask(txn: Transaction, rollout_id: str, wave: int, when: Approval) -> Gate:
    """As `Rollouts.ask`."""
    row = rollout_row(txn.connection, rollout_id, locked=True)
    for gate in gates_of(txn.connection, rollout_id):
        if (gate.wave, gate.when) == (wave, when):
            return gate
    if row["state"] in ENDED:
        raise LedgerMismatch("The rollout has ended already", rollout=rollout_id, state=row["state"])
    key = {"rollout_id": rollout_id, "wave": wave, "side": when}
    blank = {"state": GateState.PENDING, "asked_at": txn.at, "decided_by": "", "reason": ""}
    txn.connection.execute(insert(rollout_gates), {**key, **blank})
    txn.audit("rollout.approval-asked", rollout_id, {"wave": wave, "when": when})
    return Gate(wave=wave, when=when, asked_at=txn.at)


def decide(txn: Transaction, rollout_id: str, wanted: GateState, said: tuple[str, str], wave: int | None) -> Gate:
    """As `Rollouts.decide`; `said` is who and why."""
    row = rollout_row(txn.connection, rollout_id, locked=True)
    gates = [gate for gate in gates_of(txn.connection, rollout_id) if wave is None or gate.wave == wave]
    pending = [gate for gate in gates if gate.state is GateState.PENDING]
    if not pending:
        return _decided(rollout_id, gates if wave is not None else [], wanted)
    if row["state"] in ENDED:
        raise LedgerMismatch("The rollout has ended already", rollout=rollout_id, state=row["state"])
    return _write_decision(txn, rollout_id, pending[0], wanted, said)


def _decided(rollout_id: str, gates: list[Gate], wanted: GateState) -> Gate:
    if not gates:
        raise NotFound("The rollout waits for no approval", remedy="See what it waits for", rollout=rollout_id)
    last = gates[-1]
    if last.state is not wanted:
        raise LedgerMismatch("The wave was decided otherwise", rollout=rollout_id, wave=last.wave, by=last.by)
    return last


def _write_decision(txn: Transaction, rollout_id: str, gate: Gate, wanted: GateState, said: tuple[str, str]) -> Gate:
    by, reason = said
    key = (
        rollout_gates.c.rollout_id == rollout_id,
        rollout_gates.c.wave == gate.wave,
        rollout_gates.c.side == gate.when,
    )
    answer = {"state": wanted, "decided_at": txn.at, "decided_by": by, "reason": reason}
    txn.connection.execute(update(rollout_gates).where(*key).values(**answer))
    awake = {"waiting": "", "wake_at": None}
    txn.connection.execute(update(rollouts).where(rollouts.c.rollout_id == rollout_id).values(**awake))
    word = "approved" if wanted is GateState.APPROVED else "rejected"
    detail = {"wave": gate.wave, "when": gate.when, "reason": reason}
    txn.audit(f"rollout.{word}", rollout_id, detail, actor=by)
    return gate.model_copy(update={"state": wanted, "decided_at": txn.at, "by": by, "reason": reason})
