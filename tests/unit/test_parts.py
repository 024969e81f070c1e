"""How runs share a wave: every site has one part, and together they are no wider than the strategy says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.model.rollout import RolloutPlan, Strategy, Wave
from edge.policy.rollout import concurrency_of
from tasks.holding import count_of_parts, sites_of_part
from tasks.waves import Share, width_of

SMALL = st.integers(1, 40)


def plan_of(sites: int, runs: int, concurrency: int, *, canary: bool = False) -> RolloutPlan:
    names = tuple(f"site-{number:04}" for number in range(sites))
    wave = Wave(index=0, name="wave", sites=names, failure_budget=0, canary=canary)
    strategy = Strategy(runs=runs, concurrency=concurrency)
    said = {"rollout_id": "r", "stamp": "s", "version": "1.0.0", "digest": "0" * 64}
    return RolloutPlan(strategy=strategy, waves=(wave,), **said)


@given(sites=SMALL, runs=SMALL, concurrency=SMALL)
def test_parts_have_each_site_once_and_keep_the_concurrency_together(sites: int, runs: int, concurrency: int) -> None:
    plan = plan_of(sites, runs, concurrency)
    wave = plan.waves[0]
    count = count_of_parts(plan, wave)
    assert 1 <= count <= runs
    parts = [sites_of_part(wave, part, count) for part in range(count)]
    assert sorted(site for part in parts for site in part) == sorted(wave.sites)
    assert all(parts)
    assert sum(width_of(plan, wave, Share(part, count)) for part in range(count)) == concurrency_of(plan, wave)


def test_a_canary_is_not_shared() -> None:
    plan = plan_of(8, 4, 8, canary=True)
    assert count_of_parts(plan, plan.waves[0]) == 1
