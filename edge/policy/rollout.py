"""How a rollout goes: its waves, when it stops, how it ended. A restart decides the same again from the same values.

Two rules come from watching fleets. A site that is expected to be away uses none of the failure budget, or one dark
site would hold up the fleet for ever. And as long as no site has taken the stamp, one failure is too many: a canary
whose only site was away has proved nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from edge.errors import EdgeError, InvalidInput, NotYet, SiteSilent, SiteUnreachable
from edge.model.outcome import Cause, Outcome, Status
from edge.model.rollout import OnDeadline, RolloutPlan, RolloutState, Strategy, Wave, WaveSpec
from edge.model.site import OfflinePolicy, Site
from edge.model.stamp import Stamp
from edge.policy.site import select_sites

CANARY: Final = "canary"

NOT_TAKEN_BACK: Final = "not-taken-back"
"""`Cause.reason` of a site whose roll-back was tried and failed: it may be half-changed."""
TAKE_BACK_AGAIN: Final = "Once the site answers, `edge rollout retry` finishes the roll-back"
_NOT_BACK: Final = "It could not be taken back: "
UNCHANGED: Final = "unchanged"
"""`Cause.reason` of a site that failed before anything was changed there: there is nothing to take back."""
FAILED_BEFORE: Final = "failed-before"
"""`Cause.reason` of a site that was skipped because this version failed there before."""

_AWAY = (SiteUnreachable.code, SiteSilent.code)
_HARMLESS = (Status.SUCCEEDED, Status.EXPECTED_OFFLINE, Status.SKIPPED)


def plan_rollout(
    stamp: Stamp, cohort: Sequence[Site], strategy: Strategy, parameters: Mapping[str, str], attempt: int
) -> RolloutPlan:
    """Everything about a rollout that must not change once it has begun. `attempt` tells repetitions apart, from 1.

    Who was meant is not known here: `plan.model_copy(update={"selector": ...})`. Raises InvalidInput like `cut_waves`.
    """
    names = [site.name for site in cohort]
    return RolloutPlan(
        rollout_id=rollout_id(stamp, names, parameters, attempt),
        stamp=stamp.name,
        version=stamp.version,
        digest=stamp.digest,
        strategy=strategy,
        waves=cut_waves(cohort, strategy),
        parameters=dict(parameters),
        must_be_online=tuple(sorted(site.name for site in cohort if site.when_offline is OfflinePolicy.ERROR)),
        mandatory=mandatory_sites(cohort, strategy),
        time_zones=zones_of(cohort),
    )


def mandatory_sites(cohort: Sequence[Site], strategy: Strategy) -> tuple[str, ...]:
    """Sites of which none may fail, by name. Raises InvalidInput when a name is not in the cohort."""
    found = () if strategy.mandatory is None else select_sites(cohort, strategy.mandatory)
    return tuple(site.name for site in found)


def zones_of(cohort: Sequence[Site]) -> dict[str, str]:
    """The time zones of sites whose zone is not UTC, as a plan freezes them."""
    return {site.name: site.time_zone for site in by_name(cohort) if site.time_zone != "UTC"}


def by_name(sites: Sequence[Site]) -> list[Site]:
    """The sites in order of their names, so that their order never decides anything."""
    return sorted(sites, key=lambda site: site.name)


def rollout_id(stamp: Stamp, names: Sequence[str], parameters: Mapping[str, str], attempt: int) -> str:
    """The same for the same stamp, content, sites, parameters and attempt, whatever their order."""
    said = json.dumps([stamp.digest, sorted(names), sorted(parameters.items())])
    return f"{stamp.name}-{stamp.version}-{hashlib.sha256(said.encode()).hexdigest()[:10]}-{attempt}"


def cut_waves(sites: Sequence[Site], strategy: Strategy) -> tuple[Wave, ...]:
    """Put every site into exactly one wave; the same sites give the same waves.

    Canaries take sites that should be online before those that are often away; the rest go by name. A size is a share
    of all sites, with a selector of those that match, or a number. What a selector names is kept for its wave; a wave
    that would be empty is left out, and what is left over is the last one. Raises InvalidInput for a name that stands
    there twice, or that a selector names and is not there.
    """
    _refuse_twice(sites)
    claims = [None if spec.sites is None else select_sites(sites, spec.sites) for spec in strategy.waves]
    pool = _Pool(sites, {site.name for claim in claims for site in claim or ()})
    budget = count_of(strategy.failure_budget, len(sites))
    waves = [_wave(CANARY, pool.canaries(count_of(strategy.canary, len(sites))), 0, WaveSpec(canary=True))]
    for place, (spec, claim) in enumerate(zip(strategy.waves, claims, strict=True), start=1):
        taken = pool.take(spec, claim)
        waves.append(_wave(spec.name or f"wave-{place}", taken, budget, spec))
    waves.append(_wave(f"wave-{len(waves)}", pool.rest(), budget, WaveSpec()))
    kept = [wave for wave in waves if wave.sites]
    return tuple(wave.model_copy(update={"index": index}) for index, wave in enumerate(kept))


def _refuse_twice(sites: Sequence[Site]) -> None:
    names = sorted(site.name for site in sites)
    twice = next((name for name, after in pairwise(names) if name == after), None)
    if twice is not None:
        raise InvalidInput("A site stands in the cohort twice", field="sites", value=twice)


class _Pool:
    """The sites that are in no wave yet."""

    def __init__(self, sites: Sequence[Site], claimed: set[str]) -> None:
        self._left = {site.name: site for site in by_name(sites)}
        self._total = len(sites)
        self._claimed = claimed

    def canaries(self, count: int) -> list[str]:
        """Of those that should be online first."""
        return self._out(_online_first(self._left.values()), count)

    def take(self, spec: WaveSpec, claim: Sequence[Site] | None) -> list[str]:
        if claim is None:
            free = [site for name, site in self._left.items() if name not in self._claimed]
            total = self._total
        else:
            free = [site for site in claim if site.name in self._left]
            total = len(claim)
        return self._out(_online_first(free) if spec.canary else free, count_of(spec.size, total))

    def rest(self) -> list[str]:
        return self._out(list(self._left.values()), len(self._left))

    def _out(self, sites: Sequence[Site], count: int) -> list[str]:
        names = [site.name for site in sites[:count]]
        for name in names:
            del self._left[name]
        return names


def _online_first(sites: Iterable[Site]) -> list[Site]:
    return sorted(sites, key=lambda site: (site.when_offline is OfflinePolicy.EXPECTED, site.name))


def _wave(name: str, sites: Sequence[str], budget: int, spec: WaveSpec) -> Wave:
    """`budget`: of the strategy, for a wave that says none of its own."""
    allowed = min(budget, len(sites)) if spec.failure_budget is None else count_of(spec.failure_budget, len(sites))
    return Wave(
        index=0,
        name=name,
        sites=tuple(sites),
        failure_budget=0 if spec.canary else allowed,
        canary=spec.canary,
        concurrency=None if spec.concurrency is None else max(1, count_of(spec.concurrency, len(sites))),
        soak_s=spec.soak_s,
        approval=spec.approval,
    )


def count_of(size: str, total: int) -> int:
    """How many sites a size means: `"3"` is three, `"25%"` a quarter of `total` rounded up; never more than `total`."""
    wanted = -(-total * int(size[:-1]) // 100) if size.endswith("%") else int(size)
    return min(wanted, total)


def concurrency_of(plan: RolloutPlan, wave: Wave) -> int:
    """How many sites of the wave are worked on at once; at least one."""
    return wave.concurrency or max(1, count_of(plan.strategy.concurrency, len(wave.sites)))


def has_ended(outcome: Outcome | None) -> bool:
    """Whether there is nothing left to do on a site. A held one was never begun: it may be yet."""
    return outcome is not None and outcome.status is not Status.HELD


def offline_status(error: EdgeError, when_offline: OfflinePolicy) -> Status:
    """How a site ended that gave this error: only a site that may be away, and is, is not a failure."""
    away = isinstance(error, SiteUnreachable | SiteSilent)
    return Status.EXPECTED_OFFLINE if away and when_offline is OfflinePolicy.EXPECTED else Status.FAILED


def not_taken_back(outcome: Outcome, error: EdgeError) -> Outcome:
    """The outcome of a site whose roll-back was tried and failed. It is not tried again by itself."""
    remedy = error.remedy or (TAKE_BACK_AGAIN if error.transient else "")
    why = f"{_NOT_BACK}{error}"
    before = f"{outcome.cause.said.rstrip('.')}. " if outcome.cause else ""
    said = f"{before}{why}" if remedy == error.remedy else f"{before}{why}. {remedy}"
    cause = Cause(code=error.code, message=said, remedy=remedy, reason=NOT_TAKEN_BACK)
    detail = {**outcome.detail, **error.left}
    return outcome.model_copy(update={"status": Status.FAILED, "cause": cause, "detail": detail})


def taken_back(outcome: Outcome, seconds: float) -> Outcome:
    """The outcome of a site that is as it was before, after `seconds` in all. That it once could not be is over."""
    said = outcome.cause.message.partition(_NOT_BACK)[0].rstrip(". ") if outcome.cause else ""
    cause = outcome.cause
    if cause is None or not said:
        cause = Cause(code="rolled-back", message="Its wave broke the failure budget")
    elif said != cause.message:
        cause = cause.model_copy(update={"message": said, "remedy": ""})
    return Outcome(subject=outcome.subject, status=Status.ROLLED_BACK, cause=cause, seconds=seconds)


def untouched(outcome: Outcome) -> Outcome:
    """The outcome of a failed site that was to be taken back, when it turns out that nothing was changed there."""
    cause = outcome.cause and outcome.cause.model_copy(update={"reason": UNCHANGED})
    return outcome.model_copy(update={"cause": cause})


class Standing(NamedTuple):
    """How the waves before one went: how many sites failed, whether any has taken the stamp."""

    failed: int = 0
    proven: bool = False

    def and_then(self, wave: Wave, outcomes: Mapping[str, Outcome]) -> Standing:
        """With this wave."""
        ended = [outcomes[site] for site in wave.sites if site in outcomes]
        good = any(outcome.status is Status.SUCCEEDED for outcome in ended)
        harmless = sum(outcome.status in _HARMLESS for outcome in ended)
        return Standing(self.failed + len(wave.sites) - harmless, self.proven or good)


def why_stop(plan: RolloutPlan, wave: Wave, outcomes: Mapping[str, Outcome], before: Standing) -> str:
    """Why the rollout stops after this wave, in a sentence; empty: it goes on.

    A site of the wave without an outcome counts as failed, and so does one that was rolled back; one that was skipped
    is neither a failure nor a proof. It stops as `why_stop_early` says, when a site did not keep its deadline and the
    strategy says abort, or when there is a failure and no site so far has taken the stamp.
    """
    failed = [site for site in wave.sites if _failed(outcomes.get(site))]
    early = _why_broken(plan, wave, failed, outcomes, before)
    if early:
        return early
    late = [site for site in failed if _cause(outcomes.get(site)) == NotYet.code]
    if late and plan.strategy.on_deadline is OnDeadline.ABORT:
        return f"{_names(late)} did not keep the deadline"
    if (before.failed or failed) and not before.and_then(wave, outcomes).proven:
        return "A site failed, and none so far has taken the stamp"
    return ""


def why_stop_early(plan: RolloutPlan, wave: Wave, outcomes: Mapping[str, Outcome], before: Standing) -> str:
    """Why no further site of the wave may be begun, in a sentence; empty: it goes on. Only sites that ended count.

    A wave stops early when it or all waves so far have more failures than they may, when a mandatory site failed, when
    a site is away that must be there, and once sites of it were rolled back.
    """
    ended = [site for site in wave.sites if has_ended(outcomes.get(site))]
    return _why_broken(plan, wave, [site for site in ended if _failed(outcomes[site])], outcomes, before)


def _why_broken(
    plan: RolloutPlan, wave: Wave, failed: Sequence[str], outcomes: Mapping[str, Outcome], before: Standing
) -> str:
    back = [site for site in failed if _was_taken_back(outcomes.get(site))]
    if back:
        return f"The roll-back has begun with {_names(back)}"
    here = frozenset(plan.must_be_online)
    away = [site for site in failed if site in here and _cause(outcomes.get(site)) in _AWAY]
    if away:
        return f"{_names(away)} must be online and was not"
    mandatory = frozenset(plan.mandatory).intersection(wave.sites)
    needed = [site for site in sorted(mandatory) if site in failed or _refused_before(outcomes.get(site))]
    if needed:
        return f"{_names(needed)} is mandatory and did not take the stamp"
    if len(failed) > wave.failure_budget:
        return f"{len(failed)} of {len(wave.sites)} sites of wave {wave.name} failed, {wave.failure_budget} may"
    allowed = rollout_budget(plan)
    if before.failed + len(failed) > allowed:
        return f"{before.failed + len(failed)} sites failed so far, {allowed} may in the whole rollout"
    return ""


def _was_taken_back(outcome: Outcome | None) -> bool:
    """Or was tried to be: a roll-back that has begun goes on, whatever it does to the counts."""
    if outcome is None:
        return False
    return outcome.status is Status.ROLLED_BACK or (
        outcome.cause is not None and outcome.cause.reason == NOT_TAKEN_BACK
    )


def _refused_before(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.cause is not None and outcome.cause.reason == FAILED_BEFORE


def _names(sites: Sequence[str]) -> str:
    more = len(sites) - 1
    return sites[0] if not more else f"{sites[0]} and {more} more"


def rollout_budget(plan: RolloutPlan) -> int:
    """How many sites may fail over the whole rollout."""
    return count_of(plan.strategy.failure_budget, sum(len(wave.sites) for wave in plan.waves))


def _failed(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.status not in _HARMLESS


def _cause(outcome: Outcome | None) -> str:
    return "" if outcome is None or outcome.cause is None else outcome.cause.code


def finish_state(plan: RolloutPlan, outcomes: Mapping[str, Outcome]) -> RolloutState:
    """How a rollout ended, from its sites' outcomes: stopped when any wave broke its budget, the last one too."""
    before = Standing()
    for wave in plan.waves:
        if why_stop(plan, wave, outcomes, before):
            return RolloutState.STOPPED
        before = before.and_then(wave, outcomes)
    return RolloutState.FAILED if before.failed else RolloutState.SUCCEEDED
