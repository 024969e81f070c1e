"""How a rollout goes: its waves, when it stops, how it ended. A restart decides the same again from the same values.

Two rules come from watching fleets. A site that is expected to be away uses none of the failure budget, or one dark
site would hold up the fleet for ever. And as long as no site has taken the stamp, one failure is too many: a canary
whose only site was away has proved nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise

from edge.errors import EdgeError, InvalidInput, SiteSilent, SiteUnreachable
from edge.model.outcome import Outcome, Status
from edge.model.rollout import RolloutPlan, RolloutState, Strategy, Wave, WaveVerdict
from edge.model.site import OfflinePolicy, Site
from edge.model.stamp import Stamp

CANARY = "canary"

_AWAY = (SiteUnreachable.code, SiteSilent.code)
_HARMLESS = (Status.SUCCEEDED, Status.EXPECTED_OFFLINE)


def plan_rollout(
    stamp: Stamp, cohort: Sequence[Site], strategy: Strategy, parameters: Mapping[str, str], attempt: int
) -> RolloutPlan:
    """Everything about a rollout that must not change once it has begun. `attempt` tells repetitions apart, from 1."""
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
    )


def rollout_id(stamp: Stamp, names: Sequence[str], parameters: Mapping[str, str], attempt: int) -> str:
    """The same for the same stamp, content, sites, parameters and attempt, whatever their order."""
    said = json.dumps([stamp.digest, sorted(names), sorted(parameters.items())])
    return f"{stamp.name}-{stamp.version}-{hashlib.sha256(said.encode()).hexdigest()[:10]}-{attempt}"


def cut_waves(sites: Sequence[Site], strategy: Strategy) -> tuple[Wave, ...]:
    """Put every site into exactly one wave; the same sites give the same waves.

    The canary takes sites that should be online before those that are often away; the rest go by name. A size is a
    share of all sites, or a number; a wave that would be empty is left out. Raises InvalidInput for a name that stands
    there twice.
    """
    rest = sorted(site.name for site in sites)
    if len(set(rest)) != len(rest):
        twice = next(name for name, after in pairwise(rest) if name == after)
        raise InvalidInput("A site stands in the cohort twice", field="sites", value=twice)
    canary = sorted(sites, key=lambda site: (site.when_offline is OfflinePolicy.EXPECTED, site.name))
    cuts = [[site.name for site in canary[: count_of(strategy.canary, len(sites))]]]
    rest = [name for name in rest if name not in set(cuts[0])]
    for size in (*(wave.size for wave in strategy.waves), "100%"):
        taken = count_of(size, len(sites))
        cuts.append(rest[:taken])
        rest = rest[taken:]
    return _numbered(cuts, count_of(strategy.failure_budget, len(sites)))


def _numbered(cuts: Sequence[Sequence[str]], budget: int) -> tuple[Wave, ...]:
    waves: list[Wave] = []
    for place, names in enumerate(cuts):
        if not names:
            continue
        name, allowed = (CANARY, 0) if place == 0 else (f"wave-{place}", min(budget, len(names)))
        waves.append(Wave(index=len(waves), name=name, sites=tuple(names), failure_budget=allowed))
    return tuple(waves)


def count_of(size: str, total: int) -> int:
    """How many sites a size means: `"3"` is three, `"25%"` a quarter of `total` rounded up; never more than `total`."""
    wanted = -(-total * int(size[:-1]) // 100) if size.endswith("%") else int(size)
    return min(wanted, total)


def remaining(wave: Wave, outcomes: Mapping[str, Outcome]) -> Wave:
    """The wave without the sites that have ended: what a restarted rollout still has to do."""
    return wave.model_copy(update={"sites": tuple(site for site in wave.sites if not _ended(outcomes.get(site)))})


def _ended(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status is not Status.HELD


def offline_status(error: EdgeError, when_offline: OfflinePolicy) -> Status:
    """How a site ended that gave this error: only a site that may be away, and is, is not a failure."""
    away = isinstance(error, SiteUnreachable | SiteSilent)
    return Status.EXPECTED_OFFLINE if away and when_offline is OfflinePolicy.EXPECTED else Status.FAILED


def judge_wave(plan: RolloutPlan, wave: Wave, outcomes: Mapping[str, Outcome]) -> WaveVerdict:
    """Go on after this wave, or stop? A site of the wave without an outcome counts as failed.

    It stops when a site is away that must be there, when the wave or all waves so far have more failures than they may,
    or when there is a failure and no site so far has taken the stamp.
    """
    so_far = [site for earlier in plan.waves if earlier.index <= wave.index for site in earlier.sites]
    failed = {site for site in so_far if _failed(outcomes.get(site))}
    proven = any(outcomes[site].status is Status.SUCCEEDED for site in so_far if site in outcomes)
    broken = (
        len(failed.intersection(wave.sites)) > wave.failure_budget
        or len(failed) > rollout_budget(plan)
        or bool(failed and not proven)
        or any(_is_away(outcomes.get(site)) for site in failed.intersection(plan.must_be_online))
    )
    return WaveVerdict.STOP if broken else WaveVerdict.GO_ON


def rollout_budget(plan: RolloutPlan) -> int:
    """How many sites may fail over the whole rollout."""
    return count_of(plan.strategy.failure_budget, sum(len(wave.sites) for wave in plan.waves))


def _failed(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.status not in _HARMLESS


def _is_away(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.cause is not None and outcome.cause.code in _AWAY


def finish_state(plan: RolloutPlan, outcomes: Mapping[str, Outcome]) -> RolloutState:
    """How a rollout ended, from its sites' outcomes: stopped when any wave broke its budget, the last one too."""
    if any(judge_wave(plan, wave, outcomes) is WaveVerdict.STOP for wave in plan.waves):
        return RolloutState.STOPPED
    failures = any(_failed(outcome) for outcome in outcomes.values())
    return RolloutState.FAILED if failures else RolloutState.SUCCEEDED
