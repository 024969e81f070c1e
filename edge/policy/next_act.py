"""What a rollout does next. All of its state is in the facts, so a run that dies is replaced by asking again.

The caller carries one act out, writes down what came of it, and asks again: sites that were begun are `working` until
they have an outcome, a wave's first and last moment are in `waves`, images that were pulled (or could not be) in
`precached`. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from edge.errors import NotFound, NotYet, OperationFailed
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import (
    ENDED,
    Act,
    Approval,
    GateState,
    NextAct,
    OnBrokenBudget,
    RolloutFacts,
    RolloutPlan,
    RolloutState,
    Wave,
)
from edge.policy.rollout import (
    FAILED_BEFORE,
    NOT_TAKEN_BACK,
    UNCHANGED,
    Standing,
    concurrency_of,
    finish_state,
    has_ended,
    why_stop,
    why_stop_early,
)
from edge.policy.windows import Opening, next_open

LEFT: Final = "left-the-fleet"
HELD_BACK: Final = "held-back"
NO_WINDOW: Final = "no-window"
"""`Cause.reason` of sites that are skipped; one that was held back is caught up later."""

PRECACHE_AHEAD: Final = timedelta(hours=12)
"""Images are pulled so long before the window at most: a node that is short of room drops what nobody uses."""


def next_act(plan: RolloutPlan, facts: RolloutFacts, now: datetime) -> NextAct:
    """The one thing to do next. The same plan, facts and moment give the same act.

    Waves go one after another. A wave is over when every site of it has ended, was watched for its soak, and was
    approved. `WORK` never names more sites than may be at work at once.
    """
    if facts.state in ENDED:
        return NextAct(act=Act.FINISH, state=facts.state, why=f"It has ended: {facts.state}")
    if facts.cancelled:
        return _cancel(facts)
    if facts.state is RolloutState.PAUSED:
        return NextAct(act=Act.PAUSED, why="It is paused until somebody resumes it")
    before = Standing()
    for wave in plan.waves:
        act = _Step(plan, facts, now, wave).act(before)
        if act is not None:
            return act
        before = before.and_then(wave, facts.outcomes)
    state = finish_state(plan, facts.outcomes)
    return NextAct(act=Act.FINISH, state=state, why="Every wave is over")


def _cancel(facts: RolloutFacts) -> NextAct:
    if facts.working:
        return NextAct(act=Act.WAIT, why=f"It was cancelled; {_sites(facts.working)} at work finish first")
    return NextAct(act=Act.FINISH, state=RolloutState.CANCELLED, why="It was cancelled")


def _sites(sites: Collection[object]) -> str:
    count = len(sites)
    return "1 site" if count == 1 else f"{count} sites"


class _Step:
    """One look at one wave."""

    def __init__(self, plan: RolloutPlan, facts: RolloutFacts, now: datetime, wave: Wave) -> None:
        self.plan = plan
        self.facts = facts
        self.now = now
        self.wave = wave
        self.working = facts.working.intersection(wave.sites)
        self.todo = [
            site for site in wave.sites if site not in self.working and not has_ended(facts.outcomes.get(site))
        ]
        self._act = partial(NextAct, wave=wave.index)

    def act(self, before: Standing) -> NextAct | None:
        """None: the wave is over, or has nothing that keeps the next one."""
        why = why_stop_early(self.plan, self.wave, self.facts.outcomes, before) or self._unproven(before)
        if why:
            return self._stop(why)
        if not self.todo and not self.working:
            return self._close(before)
        return self._skip() or self._gate(Approval.BEFORE) or self._go_on(before)

    # --- stopping

    def _unproven(self, before: Standing) -> str:
        """While no site has taken the stamp a wave after a canary is the canary: its first failure stops it."""
        if not self._probing(before):
            return ""
        failed = [site for site in self.wave.sites if self._status(site) is Status.FAILED]
        return f"{failed[0]} failed, and none so far has taken the stamp" if failed else ""

    def _probing(self, before: Standing) -> bool:
        canaries = any(wave.canary for wave in self.plan.waves[: self.wave.index])
        return canaries and not before.proven and not any(self._status(s) is Status.SUCCEEDED for s in self.wave.sites)

    def _status(self, site: str) -> Status | None:
        outcome = self.facts.outcomes.get(site)
        return None if outcome is None else outcome.status

    def _stop(self, why: str) -> NextAct:
        if self.working:
            return self._act(act=Act.WAIT, why=f"{why}. {_sites(self.working)} at work finish first")
        if self.plan.strategy.on_broken_budget is not OnBrokenBudget.ROLL_BACK:
            return self._act(act=Act.FINISH, state=RolloutState.STOPPED, why=why)
        back = [site for site in self.wave.sites if _to_take_back(self.facts.outcomes.get(site))]
        if back:
            now = tuple(back[: concurrency_of(self.plan, self.wave)])
            return self._act(act=Act.ROLL_BACK, sites=now, why=f"{why}. {_sites(back)} to be taken back")
        stuck = [site for site in self.wave.sites if _reason(self.facts.outcomes.get(site)) == NOT_TAKEN_BACK]
        if stuck:
            return self._act(
                act=Act.FINISH, state=RolloutState.STOPPED, why=f"{why}. {_sites(stuck)} could not be taken back"
            )
        return self._act(act=Act.FINISH, state=RolloutState.ROLLED_BACK, why=why)

    # --- after the last site

    def _close(self, before: Standing) -> NextAct | None:
        why = why_stop(self.plan, self.wave, self.facts.outcomes, before)
        if why:
            return self._stop(why)
        return self._soak() or self._gate(Approval.AFTER)

    def _soak(self) -> NextAct | None:
        """Nothing is watched where no site took the stamp, and nothing waits for it after the last wave."""
        wave, later = self.wave, self.plan.waves[self.wave.index + 1 :]
        taken = any(self._status(site) is Status.SUCCEEDED for site in wave.sites)
        if not wave.soak_s or not taken or not (later or Approval.AFTER in wave.approval):
            return None
        times = self.facts.waves.get(wave.index)
        ended = times.ended_at if times and times.ended_at else self.now
        until = ended + timedelta(seconds=wave.soak_s)
        if until <= self.now:
            return None
        return self._act(act=Act.WAIT, until=until, why=f"Wave {wave.name} is watched until {until:%Y-%m-%d %H:%M} UTC")

    def _gate(self, when: Approval) -> NextAct | None:
        if when not in self.wave.approval:
            return None
        asked = [gate for gate in self.facts.gates if gate.wave == self.wave.index and gate.when is when]
        if not asked:
            return self._act(act=Act.ASK, when=when, why=f"Wave {self.wave.name} needs a person's word {when} it")
        gate = asked[-1]
        if gate.state is GateState.APPROVED:
            return None
        if gate.state is GateState.REJECTED and not self.working:
            said = f": {gate.reason}" if gate.reason else ""
            why = f"{gate.by or 'A person'} said no {when} wave {self.wave.name}{said}"
            return self._act(act=Act.FINISH, state=RolloutState.STOPPED, why=why)
        return self._act(act=Act.WAIT, when=when, why=f"Wave {self.wave.name} waits for a person's word {when} it")

    # --- sites that are left alone

    def _skip(self) -> NextAct | None:
        """All sites with one cause, since an act has one."""
        gone = [site for site in self.todo if site in self.facts.gone]
        if gone:
            said = "The site left the fleet after the rollout had begun"
            return self._skipped(gone, Cause(code=NotFound.code, message=said, reason=LEFT))
        refused = self.facts.failed_here.difference(self.plan.strategy.force)
        again = [site for site in self.todo if site in refused]
        if again:
            said, remedy = "This version failed on the site before", "Name the site in `force` to try again"
            return self._skipped(
                again, Cause(code=OperationFailed.code, message=said, remedy=remedy, reason=FAILED_BEFORE)
            )
        patience = self._patient_until()
        mandatory = frozenset(self.plan.mandatory)
        held = [site for site in self.todo if self._held(site) > patience and site not in mandatory]
        if held:
            said = "The site is held back for longer than a rollout waits"
            return self._skipped(held, Cause(code=NotYet.code, message=said, reason=HELD_BACK, transient=True))
        return None

    def _skipped(self, sites: Sequence[str], cause: Cause) -> NextAct:
        return self._act(act=Act.SKIP, sites=tuple(sites), status=Status.SKIPPED, cause=cause, why=cause.message)

    def _held(self, site: str) -> datetime:
        return self.facts.locked.get(site, self.now)

    def _patient_until(self) -> datetime:
        """Counted from the wave's begin, or a lock that is renewed again and again would hold the fleet for ever."""
        mine, last = self.facts.waves.get(self.wave.index), self.facts.waves.get(self.wave.index - 1)
        since = (mine and mine.started_at) or (last and last.ended_at) or self.now
        return since + timedelta(seconds=self.plan.strategy.catch_up.objective_s)

    # --- work

    def _go_on(self, before: Standing) -> NextAct:
        free = self._slots(before) - len(self.working)
        windows = self._windows()
        never = [site for site in self.todo if windows[self._zone(site)] is None]
        if never:
            said = "The site has no maintenance window in which it could be done"
            return self._skipped(never, Cause(code=NotYet.code, message=said, reason=NO_WINDOW))
        ready = [site for site in self.todo if self._wait_of(site, windows) <= self.now]
        if ready and free > 0:
            return self._act(act=Act.WORK, sites=tuple(ready[:free]), why=f"{_sites(ready)} of {self.wave.name} to go")
        return self._precache(windows) or self._wait(windows, len(ready))

    def _slots(self, before: Standing) -> int:
        slots = concurrency_of(self.plan, self.wave)
        if not self._probing(before):
            return slots
        # Each dark site lets one more begin, or a fleet that is all dark would be tried site by site.
        dark = sum(self._status(site) is Status.EXPECTED_OFFLINE for site in self.wave.sites)
        return min(slots, dark + next(len(wave.sites) for wave in self.plan.waves if wave.canary))

    def _zone(self, site: str) -> str:
        return self.plan.time_zones.get(site, "UTC")

    def _windows(self) -> dict[str, Opening | None]:
        """Of each time zone that still has something to do: the opening in which a site could be done."""
        strategy = self.plan.strategy
        fits_s = strategy.site_deadline_s + strategy.self_test_s
        zones = {self._zone(site) for site in self.todo}
        return {zone: next_open(strategy.windows, zone, self.now, fits_s=fits_s) for zone in zones}

    def _wait_of(self, site: str, windows: dict[str, Opening | None]) -> datetime:
        opening = windows[self._zone(site)]
        return max(self._held(site), opening.opens if opening else self.now)

    def _precache(self, windows: dict[str, Opening | None]) -> NextAct | None:
        if not self.plan.strategy.precache:
            return None
        wanted = [site for site in self.todo if self._may_precache(site, windows)]
        if not wanted:
            return None
        now = tuple(wanted[: concurrency_of(self.plan, self.wave)])
        return self._act(act=Act.PRECACHE, sites=now, why=f"{_sites(wanted)} pull the images before their window opens")

    def _may_precache(self, site: str, windows: dict[str, Opening | None]) -> bool:
        opening = windows[self._zone(site)]
        if opening is None or site in self.facts.precached or self._held(site) > self.now:
            return False
        return self.now < opening.opens <= self.now + PRECACHE_AHEAD

    def _wait(self, windows: dict[str, Opening | None], ready: int) -> NextAct:
        if len(self.todo) == ready:  # all that is left is at work, or waits for a slot
            return self._act(act=Act.WAIT, why=f"{_sites(self.working)} of wave {self.wave.name} at work")
        later = [at for at in (self._wait_of(site, windows) for site in self.todo) if at > self.now]
        until = min(later)
        if self.plan.strategy.precache and until - PRECACHE_AHEAD > self.now:
            until -= PRECACHE_AHEAD
        why = f"{_sites(later)} of wave {self.wave.name} wait for a window or for the end of a lock"
        return self._act(act=Act.WAIT, until=until, why=why)


def _to_take_back(outcome: Outcome | None) -> bool:
    """Sites that took the stamp, and those that failed on the way there, unless it is known that nothing changed."""
    if outcome is None or outcome.status not in (Status.SUCCEEDED, Status.FAILED):
        return False
    return _reason(outcome) not in (NOT_TAKEN_BACK, UNCHANGED)


def _reason(outcome: Outcome | None) -> str:
    return "" if outcome is None or outcome.cause is None else outcome.cause.reason
