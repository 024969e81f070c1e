"""Rollouts in worlds made at random, from the first act to the last: what must hold whatever happens on the way.

The world is what carries acts out: sites take their time, fail, are dark, leave, are locked; workers die; people pause,
approve, refuse and cancel. The planner sees none of that but the facts.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from edge.errors import NotYet, Rejected, SiteUnreachable
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import (
    Act,
    Approval,
    Gate,
    GateState,
    NextAct,
    OnBrokenBudget,
    OnDeadline,
    RolloutFacts,
    RolloutPlan,
    RolloutState,
    Strategy,
    WaveSpec,
    WaveTimes,
    Window,
)
from edge.model.site import OfflinePolicy, Site, SiteSelector
from edge.policy.next_act import next_act
from edge.policy.prediction import broken_at_most, wave_broken_at_most
from edge.policy.rollout import concurrency_of, not_taken_back, offline_status
from tests.unit.rollout_case import BAD, GOOD, NOW, plan_of

DEADLINE_S = 600
OPENS_AT, OPEN_H = 2, 3
NIGHT = Window(cron=f"0 {OPENS_AT} * * *", duration_s=OPEN_H * 3600)
DONE_TO = (GOOD, BAD, Status.ROLLED_BACK)

ZONES = st.sampled_from(["UTC", "Asia/Tokyo", "America/Phoenix"])
SIZE = st.sampled_from(["0", "1", "2", "25%", "60%"])
WAVE = st.builds(
    WaveSpec,
    size=st.sampled_from(["1", "2", "30%", "100%"]),
    canary=st.booleans(),
    failure_budget=st.none() | SIZE,
    concurrency=st.none() | SIZE,
    soak_s=st.sampled_from([0.0, 900.0]),
    approval=st.sets(st.sampled_from(Approval), max_size=1).map(tuple),
)
STRATEGY = st.builds(
    Strategy,
    canary=SIZE,
    waves=st.lists(WAVE, max_size=3).map(tuple),
    failure_budget=SIZE,
    concurrency=SIZE,
    site_deadline_s=st.just(DEADLINE_S),
    on_deadline=st.sampled_from(OnDeadline),
    on_broken_budget=st.sampled_from(OnBrokenBudget),
    mandatory=st.none() | st.just(SiteSelector(names=("s1",))),
    windows=st.just(()) | st.just((NIGHT,)),
    precache=st.booleans(),
)
SITE = st.tuples(st.sampled_from(OfflinePolicy), ZONES)
COHORT = st.lists(SITE, min_size=2, max_size=12).map(
    lambda made: [Site(name=f"s{at}", when_offline=when, time_zone=zone) for at, (when, zone) in enumerate(made)]
)
TROUBLE = st.sampled_from([0.0, 0.2, 0.6])


class World:
    """Carries out what the planner says, and remembers what it was told to do."""

    def __init__(self, plan: RolloutPlan, cohort: list[Site], chance: random.Random, trouble: float) -> None:
        self.plan, self.chance, self.trouble, self.now = plan, chance, trouble, NOW
        self.sites = {site.name: site for site in cohort}
        self.outcomes: dict[str, Outcome] = {}
        self.ends: dict[str, datetime] = {}
        self.begun: list[tuple[str, datetime]] = []
        self.lost: Counter[str] = Counter()
        self.waves: dict[int, WaveTimes] = {}
        self.gates: list[Gate] = []
        self.state = RolloutState.RUNNING
        self.cancelled = False
        self.precached: set[str] = set()
        self.gone: set[str] = set()
        self.failed_here = {name for name in self.sites if chance.random() < trouble / 4}
        self.locked = {
            name: NOW + timedelta(hours=chance.choice([-1, 2, 8, 60]))
            for name in self.sites
            if chance.random() < trouble / 2
        }
        self.broken_wave: int | None = None

    def facts(self) -> RolloutFacts:
        return RolloutFacts(
            outcomes=self.outcomes,
            working=frozenset(self.ends),
            gone=frozenset(self.gone),
            locked={name: until for name, until in self.locked.items() if until > self.now},
            failed_here=frozenset(self.failed_here),
            waves=self.waves,
            gates=tuple(self.gates),
            state=self.state,
            cancelled=self.cancelled,
            precached=frozenset(self.precached),
        )

    def run(self) -> NextAct:
        """Until the end, which must come."""
        for _ in range(60 * len(self.sites) + 200):
            facts = self.facts()
            act = next_act(self.plan, facts, self.now)
            assert act == next_act(self.plan, RolloutFacts.model_validate(facts.model_dump()), self.now)
            if act.act is Act.FINISH:
                assert not self.ends, "it ended with sites at work"
                return act
            getattr(self, f"do_{act.act.value.replace('-', '_')}")(act)
            self.something_happens()
        raise AssertionError(f"It does not end: {act}")

    def something_happens(self) -> None:
        if self.chance.random() < self.trouble / 20:
            self.gone.add(self.chance.choice(sorted(self.sites)))
        if self.chance.random() < self.trouble / 10:  # the worker dies, and its sites are given to another one
            self.lost.update(list(self.ends))
            self.ends.clear()
        if self.chance.random() < self.trouble / 60:
            self.cancelled = True
        if self.state is RolloutState.RUNNING and self.chance.random() < self.trouble / 10:
            self.state = RolloutState.PAUSED

    def do_work(self, act: NextAct) -> None:
        assert act.wave is not None
        wave = self.plan.waves[act.wave]
        assert len(act.sites) == len(set(act.sites)) > 0
        assert len(self.ends) + len(act.sites) <= concurrency_of(self.plan, wave)
        for name in act.sites:
            assert name in wave.sites
            assert name not in self.ends
            assert name not in self.outcomes
            assert name not in self.gone | self.failed_here
            assert self.locked.get(name, self.now) <= self.now
            self.ends[name] = self.now + timedelta(seconds=self.chance.randint(1, DEADLINE_S))
            self.begun.append((name, self.now))
        self.waves.setdefault(act.wave, WaveTimes(started_at=self.now))

    def do_precache(self, act: NextAct) -> None:
        assert not self.precached.intersection(act.sites)
        self.precached.update(act.sites)

    def do_skip(self, act: NextAct) -> None:
        assert act.status is Status.SKIPPED
        for name in act.sites:
            assert name not in self.ends
            assert name not in self.outcomes
            self.outcomes[name] = Outcome(subject=name, status=act.status, cause=act.cause)
        self.close_waves()

    def do_wait(self, act: NextAct) -> None:
        answers = [gate for gate in self.gates if gate.state is GateState.PENDING]
        if act.when is not None and answers:
            said = GateState.REJECTED if self.chance.random() < self.trouble / 5 else GateState.APPROVED
            self.gates = [gate.model_copy(update={"state": said}) for gate in self.gates]
            return
        moments = [*self.ends.values(), *([act.until] if act.until else [])]
        assert moments, f"it waits for nothing: {act}"
        assert min(moments) > self.now
        self.now = min(moments)
        for name in [name for name, end in self.ends.items() if end <= self.now]:
            del self.ends[name]
            self.outcomes[name] = self.outcome_of(name)
        self.close_waves()

    def outcome_of(self, name: str) -> Outcome:
        luck = self.chance.random()
        if luck >= self.trouble:
            return Outcome(subject=name, status=GOOD)
        error = self.chance.choice([SiteUnreachable("Dark"), Rejected("No"), NotYet("Late")])
        return Outcome(subject=name, status=offline_status(error, self.sites[name].when_offline), cause=Cause.of(error))

    def close_waves(self) -> None:
        for wave in self.plan.waves:
            times = self.waves.get(wave.index, WaveTimes())
            if times.ended_at is None and all(name in self.outcomes for name in wave.sites):
                self.waves[wave.index] = times.model_copy(update={"ended_at": self.now})

    def do_ask(self, act: NextAct) -> None:
        assert act.wave is not None
        assert act.when is not None
        self.gates.append(Gate(wave=act.wave, when=act.when, asked_at=self.now))

    def do_paused(self, act: NextAct) -> None:
        self.state = RolloutState.RUNNING

    def do_roll_back(self, act: NextAct) -> None:
        assert not self.ends
        assert self.broken_wave in (None, act.wave)
        self.broken_wave, self.state = act.wave, RolloutState.ROLLING_BACK
        for name in act.sites:
            assert self.outcomes[name].status in (GOOD, BAD)
            went = self.chance.random() >= self.trouble / 2
            back = Outcome(subject=name, status=Status.ROLLED_BACK)
            self.outcomes[name] = back if went else not_taken_back(self.outcomes[name], SiteUnreachable("Dark"))


def made(cohort: list[Site], strategy: Strategy, seed: int, trouble: float) -> World:
    if strategy.mandatory:
        cohort = [
            site.model_copy(update={"when_offline": OfflinePolicy.NORMAL}) if site.name == "s1" else site
            for site in cohort
        ]
    plan = plan_of(strategy, cohort)
    return World(plan, cohort, random.Random(seed), trouble)


WORLD = st.builds(made, COHORT, STRATEGY, st.integers(0, 10**6), TROUBLE)
OFTEN = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])


@given(WORLD)
@OFTEN
def test_every_rollout_ends_and_every_site_in_exactly_one_state(world: World) -> None:
    act = world.run()
    event(f"{act.state}")
    assert set(world.outcomes) <= set(world.sites)
    left = set(world.sites) - set(world.outcomes)
    assert not left or act.state not in (RolloutState.SUCCEEDED, RolloutState.FAILED)
    statuses = Counter(outcome.status for outcome in world.outcomes.values())
    assert sum(statuses.values()) + len(left) == len(world.sites)
    if act.state is RolloutState.SUCCEEDED:
        assert not statuses[BAD]
        assert not statuses[Status.ROLLED_BACK]


BAD_WORLD = st.builds(
    made,
    st.integers(6, 12).map(lambda count: [Site(name=f"s{at}") for at in range(count)]),
    STRATEGY.map(lambda said: said.model_copy(update={"windows": (), "on_broken_budget": OnBrokenBudget.STOP})),
    st.integers(0, 10**6),
    st.just(0.6),
)


@given(BAD_WORLD)
@OFTEN
def test_a_budget_is_never_exceeded_by_more_than_what_was_at_work(world: World) -> None:
    world.run()
    broken = {name for name, outcome in world.outcomes.items() if outcome.status is BAD}
    assert len(broken) <= broken_at_most(world.plan)
    for wave in world.plan.waves:
        assert len(broken.intersection(wave.sites)) <= wave_broken_at_most(world.plan, wave)


@given(WORLD)
@OFTEN
def test_no_site_is_begun_twice_but_for_one_whose_worker_died(world: World) -> None:
    world.run()
    begun = Counter(name for name, _ in world.begun)
    assert all(count <= 1 + world.lost[name] for name, count in begun.items())


@given(WORLD)
@OFTEN
def test_no_site_is_begun_outside_of_its_window(world: World) -> None:
    world.run()
    for name, begun in world.begun if world.plan.strategy.windows else ():
        local = begun.astimezone(ZoneInfo(world.sites[name].time_zone))
        until = local + timedelta(seconds=DEADLINE_S)
        opens = local.replace(hour=OPENS_AT, minute=0, second=0, microsecond=0)
        assert opens <= local
        assert until <= opens + timedelta(hours=OPEN_H)


@given(WORLD)
@OFTEN
def test_no_wave_begins_before_those_in_front_of_it_are_over(world: World) -> None:
    world.run()
    wave_of = {name: wave.index for wave in world.plan.waves for name in wave.sites}
    order = [wave_of[name] for name, _ in world.begun]
    assert order == sorted(order)


@given(WORLD)
@OFTEN
def test_a_roll_back_reaches_every_changed_site_of_its_wave_and_no_other(world: World) -> None:
    act = world.run()
    if world.broken_wave is None or act.state is RolloutState.CANCELLED:
        return
    wave = world.plan.waves[world.broken_wave]
    back = {name for name, outcome in world.outcomes.items() if outcome.status is Status.ROLLED_BACK}
    done_to = {name for name in wave.sites if name in world.outcomes and world.outcomes[name].status in DONE_TO}
    assert back <= done_to
    assert (act.state is RolloutState.ROLLED_BACK) == (back == done_to)


@given(COHORT, STRATEGY, st.integers(0, 10**6))
@OFTEN
def test_a_fleet_that_may_be_dark_and_is_ends_without_a_failure(
    cohort: list[Site], strategy: Strategy, seed: int
) -> None:
    dark = [site.model_copy(update={"when_offline": OfflinePolicy.EXPECTED}) for site in cohort]
    world = World(plan_of(strategy, dark), dark, random.Random(seed), 0.0)
    world.outcome_of = lambda name: Outcome(  # type: ignore[method-assign]  # every site of this world is dark
        subject=name, status=Status.EXPECTED_OFFLINE, cause=Cause.of(SiteUnreachable("Dark"))
    )
    assert world.run().state is RolloutState.SUCCEEDED


@given(WORLD)
@OFTEN
def test_what_failed_can_be_tried_again_until_everybody_has_it(world: World) -> None:
    act = world.run()
    if act.state not in (RolloutState.STOPPED, RolloutState.FAILED, RolloutState.ROLLED_BACK):
        return
    settled = (GOOD, Status.EXPECTED_OFFLINE, Status.SKIPPED)
    world.outcomes = {name: outcome for name, outcome in world.outcomes.items() if outcome.status in settled}
    world.state, world.trouble, world.gates = RolloutState.RUNNING, 0.0, []
    world.failed_here, world.broken_wave = set(), None
    if act.state is not RolloutState.FAILED and world.plan.mandatory:
        world.outcomes.pop("s1", None)
    assert world.run().state is RolloutState.SUCCEEDED
