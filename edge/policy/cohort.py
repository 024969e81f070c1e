"""Who a rollout is for, when the fleet changes under it.

The cohort is frozen at the start. A site that joins later is not touched by this rollout; by the strategy's rule it is
left alone or queued to catch up. A site that leaves is skipped. Neither stops a rollout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from edge.model.outcome import Outcome, Status
from edge.model.placement import CatchUp
from edge.model.rollout import Joiners, RolloutFacts, RolloutPlan, RolloutState
from edge.model.site import Site, SiteState
from edge.policy.next_act import HELD_BACK
from edge.policy.site import select_sites

_WENT_THROUGH: Final = (RolloutState.SUCCEEDED, RolloutState.FAILED)


def joiners(plan: RolloutPlan, fleet: Sequence[Site]) -> tuple[str, ...]:
    """Sites that were meant by the selector and came after the cohort was frozen, by name."""
    if plan.selector is None:
        return ()
    living = {site.name for site in fleet if site.state is not SiteState.DECOMMISSIONED}
    # A name that left the fleet meanwhile must not raise here: the selector was checked when the rollout began.
    names = tuple(name for name in plan.selector.names if name in living)
    if plan.selector.names and not names:
        return ()
    found = select_sites(fleet, plan.selector.model_copy(update={"names": names}))
    return tuple(site.name for site in found if site.name not in _cohort(plan))


def leavers(plan: RolloutPlan, fleet: Sequence[Site]) -> frozenset[str]:
    """Sites of the cohort that the fleet does not have any more, or that were decommissioned."""
    living = {site.name for site in fleet if site.state is not SiteState.DECOMMISSIONED}
    return _cohort(plan) - living


def _cohort(plan: RolloutPlan) -> frozenset[str]:
    return frozenset(site for wave in plan.waves for site in wave.sites)


def to_catch_up(
    plan: RolloutPlan, facts: RolloutFacts, state: RolloutState, fleet: Sequence[Site], now: datetime
) -> tuple[CatchUp, ...]:
    """What is queued when a rollout has ended in `state`, by name of the site.

    Only a version that went through is worth catching up with: after a stop, a roll-back or a cancellation nothing is
    queued. A site that was held back is due when its lock ends, a joiner at once, one that was away once it is back,
    and one in quarantine once a person has looked at it.
    """
    if state not in _WENT_THROUGH or not plan.strategy.catch_up.enabled:
        return ()
    due = dict(_missed(facts.outcomes, facts.locked, now))
    if state is RolloutState.SUCCEEDED and plan.strategy.joiners is Joiners.CATCH_UP:
        due.update(dict.fromkeys(joiners(plan, fleet), now))
    gone = leavers(plan, fleet)
    return tuple(_queued(plan, site, due[site], now) for site in sorted(due) if site not in gone)


def _missed(
    outcomes: Mapping[str, Outcome], locked: Mapping[str, datetime], now: datetime
) -> Iterator[tuple[str, datetime | None]]:
    for site, outcome in outcomes.items():
        if outcome.status is Status.EXPECTED_OFFLINE:
            yield site, None
        elif outcome.status is Status.QUARANTINED:
            yield site, now
        elif outcome.status is Status.SKIPPED and outcome.cause and outcome.cause.reason == HELD_BACK:
            yield site, locked.get(site)


def _queued(plan: RolloutPlan, site: str, back: datetime | None, now: datetime) -> CatchUp:
    return CatchUp(
        site=site,
        stamp=plan.stamp,
        version=plan.version,
        digest=plan.digest,
        rollout_id=plan.rollout_id,
        objective_s=plan.strategy.catch_up.objective_s,
        queued_at=now,
        returned_at=back,
    )
