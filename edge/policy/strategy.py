"""Is a strategy one that can end well? Asked before anything is changed, with the cohort it is for.

What is refused here would otherwise be found out on the road: a wave that no site is in, sites that are in two waves, a
window in which no site can be done in time, a rollout that waits for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from edge.errors import InvalidInput
from edge.model.rollout import Strategy, WaveSpec, Window
from edge.model.site import OfflinePolicy, Site, SiteSelector
from edge.policy.rollout import CANARY, count_of, cut_waves
from edge.policy.site import select_sites
from edge.policy.windows import check_zone, next_open


def check_strategy(strategy: Strategy, cohort: Sequence[Site], now: datetime) -> None:
    """Raise InvalidInput, naming field and value, when the strategy cannot be carried out on these sites."""
    if not cohort:
        raise InvalidInput("The selector matches no site", field="sites", value="")
    _check_names(strategy)
    _check_sizes(strategy, len(cohort))
    claims = [_claim(spec, at, cohort) for at, spec in enumerate(strategy.waves)]
    _check_overlap(strategy, claims)
    _check_all_in_waves(strategy, cohort)
    _check_mandatory(strategy, cohort)
    _check_forced(strategy, cohort)
    _check_windows(strategy, cohort, now)


def _check_names(strategy: Strategy) -> None:
    names = [spec.name or f"wave-{place}" for place, spec in enumerate(strategy.waves, start=1)]
    names.append(_rest_of(strategy))
    if strategy.canary not in ("0", "0%"):
        names.append(CANARY)
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        remedy = "Give each wave a name of its own; the canary in front is called `canary`"
        raise InvalidInput("Two waves have the same name", field="strategy.waves.name", value=twice, remedy=remedy)


def _rest_of(strategy: Strategy) -> str:
    """The name of the wave that takes what is left over."""
    return f"wave-{len(strategy.waves) + 1}"


def _check_sizes(strategy: Strategy, total: int) -> None:
    for at, spec in enumerate(strategy.waves):
        if spec.canary and count_of(spec.size, total) == 0:
            field = f"strategy.waves[{at}].size"
            raise InvalidInput("A canary wave without a site proves nothing", field=field, value=spec.size)


def _claim(spec: WaveSpec, at: int, cohort: Sequence[Site]) -> frozenset[str]:
    if spec.sites is None:
        return frozenset()
    field = f"strategy.waves[{at}].sites"
    found = _select(cohort, spec.sites, field)
    if spec.canary and all(site.when_offline is OfflinePolicy.EXPECTED for site in found):
        remedy = "Take a site as canary that should be online"
        raise InvalidInput(
            "Every canary may be away, which proves nothing", field=field, value=_text(spec.sites), remedy=remedy
        )
    return frozenset(site.name for site in found)


def _select(cohort: Sequence[Site], selector: SiteSelector, field: str) -> tuple[Site, ...]:
    try:
        found = select_sites(cohort, selector)
    except InvalidInput as error:
        value = error.where.get("value")
        raise InvalidInput("No such site in the cohort", field=f"{field}.names", value=value) from error
    if not found:
        raise InvalidInput("The selector matches no site of the cohort", field=field, value=_text(selector))
    return found


def _text(selector: SiteSelector) -> str:
    return selector.model_dump_json(exclude_defaults=True)


def _check_overlap(strategy: Strategy, claims: Sequence[frozenset[str]]) -> None:
    """Waves with the very same selector share its sites in order, as a canary of a region and the rest of it do."""
    for at, (spec, claim) in enumerate(zip(strategy.waves, claims, strict=True)):
        for earlier in range(at):
            both = claim & claims[earlier]
            if both and strategy.waves[earlier].sites != spec.sites:
                what = f"Waves {earlier} and {at} overlap: {len(both)} sites match both selectors"
                remedy = "Narrow one of the selectors, or write the same one in both for parts of one group"
                raise InvalidInput(what, field=f"strategy.waves[{at}].sites", value=min(both), remedy=remedy)


def _check_all_in_waves(strategy: Strategy, cohort: Sequence[Site]) -> None:
    """Where waves are only selectors, a site in none of them was forgotten."""
    if not strategy.waves or any(spec.sites is None for spec in strategy.waves):
        return
    left = cut_waves(cohort, strategy)[-1]
    if left.name == _rest_of(strategy):
        remedy = "Add a wave that they match, or a last wave without a selector"
        what = f"The waves miss {len(left.sites)} sites of the cohort"
        raise InvalidInput(what, field="strategy.waves", value=", ".join(left.sites[:5]), remedy=remedy)


def _check_mandatory(strategy: Strategy, cohort: Sequence[Site]) -> None:
    if strategy.mandatory is None:
        return
    for site in _select(cohort, strategy.mandatory, "strategy.mandatory"):
        if site.when_offline is OfflinePolicy.EXPECTED:
            what = "A mandatory site must not be one that may be away"
            remedy = "Take it out of `mandatory`, or say of the site that it should be online"
            raise InvalidInput(what, field="strategy.mandatory", value=site.name, remedy=remedy)


def _check_forced(strategy: Strategy, cohort: Sequence[Site]) -> None:
    names = {site.name for site in cohort}
    other = next((name for name in strategy.force if name not in names), None)
    if other is not None:
        raise InvalidInput("A site is forced that is not in the cohort", field="strategy.force", value=other)


def _check_windows(strategy: Strategy, cohort: Sequence[Site], now: datetime) -> None:
    for at, window in enumerate(strategy.windows):
        _check_window(window, at, now)
    zones = {site.time_zone: site.name for site in sorted(cohort, key=lambda site: site.name, reverse=True)}
    for zone, site in sorted(zones.items()):
        check_zone(zone, field=f"sites.{site}.time_zone")
        needs_s = strategy.site_deadline_s + strategy.self_test_s
        if strategy.windows and next_open(strategy.windows, zone, now, fits_s=needs_s) is None:
            longest = max(window.duration_s for window in strategy.windows)
            what = f"No window is long enough: a site may take {needs_s:g} s, deadline and self-test together"
            remedy = "Lengthen the windows, or shorten `site_deadline_s`"
            raise InvalidInput(what, field="strategy.windows.duration_s", value=f"{longest:g}", remedy=remedy)


def _check_window(window: Window, at: int, now: datetime) -> None:
    field = f"strategy.windows[{at}]"
    try:
        opening = next_open((window,), "UTC", now)
    except InvalidInput as error:
        place = error.where["field"].removeprefix("windows.")
        where = {"field": f"{field}.{place}", "value": error.where["value"]}
        raise InvalidInput(error.what, remedy=error.remedy, **where) from error
    if opening is None:
        raise InvalidInput("The window never opens", field=f"{field}.cron", value=window.cron)
