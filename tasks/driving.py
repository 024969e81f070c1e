"""Carries a rollout out: asks what comes next, does it, and asks again, until it ends or has to wait for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from prefect import get_run_logger
from prefect.futures import PrefectFuture

from edge.errors import NotYet
from edge.model.outcome import Outcome
from edge.model.rollout import Act, NextAct, RolloutState, Wave
from edge.policy.groups import in_groups
from tasks.holding import count_of_parts
from tasks.rollout_report import RolloutReport
from tasks.waves import WavesJob

POLL_S = 1.0

Submit = Callable[[tuple[str, ...]], PrefectFuture[Any]]
Work = Callable[[Wave, Callable[[], None]], None]


class Acts(NamedTuple):
    """What a rollout can do to sites: each submits a task over a group of them. None: it cannot."""

    work: Submit
    roll_back: Submit | None = None
    precache: Submit | None = None
    shared: Work | None = None
    """Carries a wave out by other runs, and returns when none has a part of it any more and nothing may begin.

    It calls what it is given now and then, to show how far it is.
    """
    look_after: Callable[[RolloutState], None] | None = None
    """Told how it ends, before that is on record, so that whoever replaces a run that dies in between is told again."""


def drive(job: WavesJob, acts: Acts, report: RolloutReport, patience_s: float = float("inf")) -> RolloutState | None:
    """Carry the rollout out to its end; answers how it ended.

    None when it has to wait for longer than `patience_s` seconds: whoever tends rollouts takes it up again then.
    Raises NotYet when another run has taken over.
    """
    waited_from: float | None = None
    while True:
        check_kept(job)
        _note_ended_waves(job)
        act = job.next_act()
        if act.act is Act.FINISH:
            return _finish(job, acts, act)
        if _has_effect(act):
            waited_from = None
            _do(job, acts, report, act)
            continue
        shared = _at_work_elsewhere(job, acts)
        if shared is not None and acts.shared is not None:
            acts.shared(shared, report.look)
            continue
        waited_from = time.monotonic() if waited_from is None else waited_from
        job.ledger.rollouts.waiting(job.plan.rollout_id, act.why, act.until)
        report.waiting(act)
        if _is_long(act, time.monotonic() - waited_from, patience_s):
            get_run_logger().info("Waiting: %s", act.why)
            return None
        time.sleep(_pause(act))


def check_kept(job: WavesJob) -> None:
    """A run that was thought dead decides nothing any more. Raises NotYet."""
    if not job.keeps():
        raise NotYet("Another run has taken this rollout over", rollout=job.plan.rollout_id, lease=job.lease)


def _at_work_elsewhere(job: WavesJob, acts: Acts) -> Wave | None:
    """A wave that other runs have begun sites of: somebody has to see to it that none is left by a dead one."""
    if acts.shared is None:
        return None
    working = job.facts()[0].working
    shared = (wave for wave in job.plan.waves if count_of_parts(job.plan, wave) > 1)
    return next((wave for wave in shared if working.intersection(wave.sites)), None)


def _has_effect(act: NextAct) -> bool:
    return act.act not in (Act.WAIT, Act.PAUSED)


def _do(job: WavesJob, acts: Acts, report: RolloutReport, act: NextAct) -> None:
    log = get_run_logger()
    rollout_id = job.plan.rollout_id
    if act.act is Act.ASK and act.wave is not None and act.when is not None:
        log.warning("Wave %d waits for approval %s it: `edge rollout approve %s`", act.wave, act.when, rollout_id)
        job.ledger.rollouts.ask(rollout_id, act.wave, act.when)
    elif act.act is Act.SKIP and act.status is not None:
        log.info("%d sites are left alone: %s", len(act.sites), act.why)
        for site in act.sites:
            job.end(Outcome(subject=site, status=act.status, cause=act.cause))
    elif act.act is Act.PRECACHE:
        report.follow(act.why, _each(acts.precache, act.sites))
        job.ledger.rollouts.precached(rollout_id, act.sites)
    elif act.act is Act.ROLL_BACK:
        log.error("%s", act.why)
        job.ledger.rollouts.move(rollout_id, RolloutState.ROLLING_BACK)
        report.follow("rolling back", _each(acts.roll_back, act.sites))
    else:
        _work(job, acts, report, act)


def _work(job: WavesJob, acts: Acts, report: RolloutReport, act: NextAct) -> None:
    wave = next(wave for wave in job.plan.waves if wave.index == act.wave)
    job.ledger.rollouts.waiting(job.plan.rollout_id, "", None)
    job.ledger.rollouts.wave_started(job.plan.rollout_id, wave.index)
    if acts.shared is not None and count_of_parts(job.plan, wave) > 1:
        acts.shared(wave, report.look)
    else:
        report.follow(f"wave {wave.name}", _each(acts.work, act.sites))


def _each(submit: Submit | None, sites: Sequence[str]) -> list[PrefectFuture[Any]]:
    """One task run per site, or per group when there are many."""
    assert submit is not None, "a strategy that asks for what this kind of rollout cannot do is refused"
    return [submit(group) for group in in_groups(sites)]


def _note_ended_waves(job: WavesJob) -> None:
    """Soaking is counted from here."""
    facts, _ = job.facts()
    for wave in job.plan.waves:
        times = facts.waves.get(wave.index)
        is_over = all(site in facts.outcomes for site in wave.sites)
        if is_over and (times is None or times.ended_at is None):
            job.ledger.rollouts.wave_ended(job.plan.rollout_id, wave.index)


def _finish(job: WavesJob, acts: Acts, act: NextAct) -> RolloutState:
    assert act.state is not None, "an end says how"
    if act.state in (RolloutState.STOPPED, RolloutState.ROLLED_BACK, RolloutState.CANCELLED):
        job.ledger.rollouts.hold_rest(job.plan.rollout_id)
        get_run_logger().error("%s: the sites that were not begun are held", act.why)
    if acts.look_after is not None:
        acts.look_after(act.state)
    job.ledger.rollouts.finish(job.plan.rollout_id, act.state)
    return act.state


def _is_long(act: NextAct, waited_s: float, patience_s: float) -> bool:
    ahead = (act.until - datetime.now(UTC)).total_seconds() if act.until else 0.0
    return waited_s + max(ahead, 0.0) > patience_s


def _pause(act: NextAct) -> float:
    if act.until is None:
        return POLL_S
    return min(POLL_S, max(0.05, (act.until - datetime.now(UTC)).total_seconds()))
