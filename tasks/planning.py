"""What is meant by an order, and the plan that comes of it. Nothing here needs Prefect, so commands use it as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge.clients.stamp_artifacts import read_stamp_source
from edge.errors import InvalidInput, NotFound
from edge.model.order import RolloutOrder
from edge.model.rollout import OnMeeting, RolloutPlan
from edge.model.site import Site, SiteSelector
from edge.model.stamp import Stamp
from edge.policy.rollout import plan_rollout
from edge.policy.site import select_sites
from edge.policy.stamp import parse_stamp
from edge.policy.strategy import check_strategy
from edge.policy.versions import refuse_downgrade
from edge.settings import Settings
from tasks.rendering import Renderer

if TYPE_CHECKING:  # Prefect and SQLAlchemy take long to import
    from blocks.policies import PolicyRules
    from edge.ledger import Ledger


def is_on_record(stamp: str) -> bool:
    """Whether these words mean a stamp of the ledger, `name@version`, and no folder, artifact or name of one."""
    return "@" in stamp and "/" not in stamp and ":" not in stamp


def read_stamp(stamp: str) -> Stamp:
    """The stamp in a folder or an artifact, or of this name. Raises InvalidInput, also when it is not there."""
    with _as_input():
        return parse_stamp(read_stamp_source(stamp, Settings().stamp_folders))


def find_stamp(ledger: Ledger, stamp: str) -> Stamp:
    """`name@version` is what the ledger has recorded; else as `read_stamp`."""
    if not is_on_record(stamp):
        return read_stamp(stamp)
    name, _, version = stamp.partition("@")
    with _as_input():
        return ledger.stamps.get(name, version)


@contextmanager
def _as_input() -> Iterator[None]:
    """What is not there was asked for by name: that is wrong input."""
    try:
        yield
    except NotFound as missing:
        raise InvalidInput(missing.what, remedy=missing.remedy, **missing.where) from missing


def find_cohort(ledger: Ledger, selector: SiteSelector) -> tuple[Site, ...]:
    """The sites that are meant. Raises InvalidInput when there are none, or a name is not known."""
    known = ledger.sites.list()
    unknown = set(selector.names) - {site.name for site in known}
    if unknown:
        remedy = "See `edge site list`"
        raise InvalidInput("No such site", remedy=remedy, field="sites.names", value=", ".join(sorted(unknown)))
    cohort = select_sites(known, selector)
    if not cohort:
        raise InvalidInput("No site matches", field="sites", value=selector.model_dump_json(exclude_defaults=True))
    return tuple(cohort)


def begun_plan(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], order: RolloutOrder) -> RolloutPlan | None:
    """The plan of the unfinished rollout that goes on instead of a new one."""
    names = tuple(site.name for site in cohort)
    begun = ledger.rollouts.unfinished(stamp.name, stamp.version, stamp.digest, names)
    if begun is None or begun.plan.parameters != dict(order.parameters):
        return None
    return begun.plan


def new_plan(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], order: RolloutOrder) -> RolloutPlan:
    """A plan that is checked against the cohort, the fleet's other rollouts, and what the sites have."""
    check_strategy(order.strategy, cohort, datetime.now(UTC))
    refuse_older(ledger, stamp, cohort, order)
    attempt = 1 + ledger.rollouts.count(stamp.name, stamp.version)
    plan = plan_rollout(stamp, cohort, order.strategy, order.parameters, attempt)
    if order.strategy.on_meeting is OnMeeting.REFUSE:
        _refuse_meeting(ledger, plan, cohort)
    return plan.model_copy(update={"selector": order.sites})


def check_stamp(ledger: Ledger, stamp: Stamp, policies: PolicyRules) -> None:
    """Raises InvalidInput when this version is on record with another content, and for a waiver of a rule that does not
    exist: whoever wrote it believes that it waives.
    """
    _refuse_changed(ledger, stamp)
    try:
        policies.book().check_waivers(stamp.waivers)
    except InvalidInput as error:
        error.where["stamp"] = stamp.name
        raise


def _refuse_changed(ledger: Ledger, stamp: Stamp) -> None:
    """A version never changes: sites that have it would differ from those that get it now."""
    try:
        known = ledger.stamps.get(stamp.name, stamp.version)
    except NotFound:
        return
    if known.digest != stamp.digest:
        what = "This version of the stamp is recorded with another content"
        where = {"stamp": stamp.name, "field": "spec.version", "value": stamp.version}
        remedy = "Give the changed stamp a new version"
        raise InvalidInput(what, remedy=remedy, recorded=known.digest, given=stamp.digest, **where)


def check_values(renderer: Renderer, cohort: Sequence[Site], order: RolloutOrder) -> None:
    """Render for every site, so that a value that fits one site and not another is found before anything changes."""
    for site in cohort:
        renderer.shown(site, order.parameters)


def refuse_older(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], order: RolloutOrder) -> None:
    """Raises InvalidInput when a site has a newer version, and going back was not asked for."""
    if order.allow_downgrade:
        return
    has = {placed.site: placed.version for placed in ledger.placements.of_stamp(stamp.name)}
    for site in cohort:
        if site.name in has:
            refuse_downgrade(has[site.name], stamp.version, site=site.name, stamp=stamp.name)


def _refuse_meeting(ledger: Ledger, plan: RolloutPlan, cohort: Sequence[Site]) -> None:
    active = ledger.rollouts.active_on([site.name for site in cohort], but=plan.rollout_id)
    if active:
        site, other = next(iter(active.items()))
        remedy = "Wait for its end, or cancel it"
        raise InvalidInput("Another rollout has this site", remedy=remedy, site=site, rollout=other, sites=len(active))
