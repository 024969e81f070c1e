"""`edge stamp plan`: what a rollout would do at each site, how long it takes, and how much it can break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from edge.cli.context import open_ledger, policy_rules, secret_source, site_credentials
from edge.cli.output import BAD_OUTCOME, JsonFlag, counted, emit, progress, speaks, table
from edge.cli.runs import keep_prefect_quiet
from edge.cli.site import pairs
from edge.cli.site_choice import OnlyLabels, OnlyRegion, OnlySites, OnlyTenant, chosen
from edge.cli.stamp_roll_out import DowngradeFlag, StrategyOption, read_strategy
from edge.cli.stamp_shown import SetOption, StampArgument, object_rows
from edge.model.kube import KubeObject, ObjectRef
from edge.model.order import RolloutOrder
from edge.model.plan import Action, SitePlan
from edge.model.rollout import RolloutPlan
from edge.policy.prediction import Prediction, predict

if TYPE_CHECKING:
    from edge.ledger import Ledger

MOST_ROWS = 40
"""Sites and changes that a table shows; JSON has all."""

_DONE = (Action.CREATE, Action.CHANGE, Action.REMOVE, Action.NONE)


class _Shown:
    """Everything that a plan says."""

    def __init__(self, made: RolloutPlan, sites: tuple[SitePlan, ...], prediction: Prediction) -> None:
        self.made, self.sites, self.prediction = made, sites, prediction
        self.goes_on = False
        self.is_offline = False
        self.objects: tuple[KubeObject, ...] = ()

    @property
    def refused(self) -> tuple[SitePlan, ...]:
        """Sites that the stamp would be kept from."""
        return tuple(one for one in self.sites if one.look is not None and one.look.problems)

    def data(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            **self.made.model_dump(mode="json"),
            "goes_on": self.goes_on,
            "objects": object_rows(self.objects),
            "sites": [one.model_dump(mode="json") for one in self.sites],
            "totals": self.totals(),
            "prediction": self.prediction.model_dump(mode="json"),
        }

    def totals(self) -> dict[str, int]:
        """Objects by what would happen to them, and sites by what kept them from being looked at."""
        looks = [one.look for one in self.sites if one.look is not None]
        return {
            **{str(action): sum(look.count(action) for look in looks) for action in _DONE},
            "untried": sum(len(look.untried) for look in looks),
            "sites": len(self.sites),
            "sites_refused": len(self.refused),
            "sites_not_seen": sum(one.cause is not None for one in self.sites),
            "sites_skipped": sum(bool(one.skipped) for one in self.sites),
        }


@speaks
def plan(
    stamp: StampArgument,
    site: OnlySites = None,
    tenant: OnlyTenant = None,
    region: OnlyRegion = None,
    label: OnlyLabels = None,
    set_: SetOption = None,
    strategy: StrategyOption = None,
    downgrade: DowngradeFlag = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no site: only what needs none.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show the fields that would change.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what a rollout would do, and change nothing: what each site would create, change and remove, the waves, how
    long it will take, and how many sites it can break at the worst.

    Each site tries every object itself as a dry run. Ends with 1 when a site would be refused.
    """
    order = RolloutOrder(
        stamp=stamp,
        sites=chosen(site, tenant, region, label),
        parameters=pairs(set_ or [], "--set"),
        strategy=read_strategy(strategy),
        allow_downgrade=downgrade,
    )
    keep_prefect_quiet()
    with open_ledger() as ledger:
        shown = _look(ledger, order, offline=offline)
    emit(shown.data(), _waves(shown), as_json=as_json)
    if not as_json:
        for part in _parts(shown, diff=diff):
            emit(None, part, as_json=False)
    if shown.refused:
        raise typer.Exit(BAD_OUTCOME)


def _look(ledger: Ledger, order: RolloutOrder, *, offline: bool) -> _Shown:
    """Plan as a rollout would, and look at every site."""
    from tasks import planning  # noqa: PLC0415 - Prefect takes a second to import
    from tasks.looking_ahead import Lookout, history  # noqa: PLC0415 - as above
    from tasks.rendering import Renderer  # noqa: PLC0415 - as above

    meant, now = planning.find_stamp(ledger, order.stamp), datetime.now(UTC)
    cohort, policies = planning.find_cohort(ledger, order.sites), policy_rules()
    planning.check_stamp(ledger, meant, policies)
    renderer = Renderer(meant, secret_source())
    planning.check_values(renderer, cohort, order)
    begun = planning.begun_plan(ledger, meant, cohort, order)
    made = begun or planning.new_plan(ledger, meant, cohort, order)
    lookout = Lookout(ledger, made, meant, renderer, now)
    with progress(f"{meant.name} {meant.version}", len(cohort)) as done:
        sites = lookout.at_sites(cohort, None if offline else site_credentials(), policies, done)
    shown = _Shown(made, sites, predict(made, history(ledger, meant.name), now))
    shown.goes_on, shown.is_offline = begun is not None, offline
    shown.objects = renderer.shown(cohort[0], order.parameters)
    return shown


def _waves(shown: _Shown) -> Table:
    made, what = shown.made, "goes on" if shown.goes_on else "would begin"
    count = sum(len(wave.sites) for wave in made.waves)
    rows = []
    for wave, told in zip(made.waves, shown.prediction.waves, strict=True):
        names = ", ".join(wave.sites[:4]) + (f" and {len(wave.sites) - 4} more" if len(wave.sites) > 4 else "")
        times = f"{_span(told.starts_s)} to {_span(told.ends_s)}"
        asks = ", ".join(wave.approval)
        rows.append((wave.name, len(wave.sites), names, wave.failure_budget, told.broken_at_most, times, asks))
    title = f"Rollout {made.rollout_id} {what}: {counted(count, 'site')} in {counted(len(made.waves), 'wave')}"
    return table(title, ("wave", "sites", "which", "may fail", "broken at most", "from start", "approval"), rows)


def _parts(shown: _Shown, *, diff: bool) -> Iterator[Table | str]:
    yield _by_site(shown)
    yield _by_object(shown)
    if diff:
        yield _fields(shown)
    yield _summary(shown)


def _by_site(shown: _Shown) -> Table:
    rows = []
    for one in shown.sites[:MOST_ROWS]:
        is_seen = one.look is not None and one.cause is None and not shown.is_offline
        counts = [one.look.count(action) if one.look and is_seen else "?" for action in _DONE]
        rows.append((shown.made.waves[one.wave].name, one.site, *counts, "; ".join(_notes(one))))
    more = len(shown.sites) - MOST_ROWS
    title = "Sites" + (f" ({more} more with --json)" if more > 0 else "")
    return table(title, ("wave", "site", "create", "change", "remove", "same", "notes"), rows)


def _notes(one: SitePlan) -> Iterator[str]:
    if one.skipped:
        yield f"skipped: {one.skipped}"
    if one.cause is not None:
        yield f"{'away' if one.is_away else 'not seen'}: {one.cause.message}"
    if one.opens_at is not None:
        yield f"opens {one.opens_at:%Y-%m-%d %H:%M} UTC"
    if one.look is None:
        return
    yield from (f"refused: {problem}" for problem in one.look.problems[:5])
    if len(one.look.problems) > 5:
        yield f"and {len(one.look.problems) - 5} more problems"
    yield from one.look.warnings[:5]
    if one.look.untried:
        yield f"{counted(len(one.look.untried), 'object')} checked only in form"


def _by_object(shown: _Shown) -> Table:
    """Every object, with the number of sites on which it would be created, changed, and so on."""
    counts: dict[ObjectRef, Counter[Action]] = {ObjectRef.of(obj): Counter() for obj in shown.objects}
    for one in shown.sites:
        for change in one.look.changes if one.look else ():
            counts.setdefault(change.ref, Counter())[change.action] += 1
    rows = [(ref.kind, ref.namespace, ref.name, *(tally[action] for action in _DONE)) for ref, tally in counts.items()]
    title = f"{shown.made.stamp} {shown.made.version}: {len(rows)} objects ({shown.made.digest[:12]})"
    return table(title, ("kind", "namespace", "name", "create", "change", "remove", "same"), rows)


def _fields(shown: _Shown) -> Table:
    """Field by field, alike changes of several sites once."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for one in shown.sites:
        for change in one.look.changes if one.look else ():
            for field in change.fields:
                before, after = ("-" if said is None else said for said in (field.before, field.after))
                found.setdefault((str(change.ref), field.path, before, after), []).append(one.site)
    rows = [(*key, sites[0] if len(sites) == 1 else counted(len(sites), "site")) for key, sites in found.items()]
    return table("Fields", ("object", "field", "now", "then", "where"), rows)


def _summary(shown: _Shown) -> str:
    totals, told = shown.totals(), shown.prediction
    rests = (
        f"from {counted(told.samples, 'site')} of earlier rollouts" if told.samples else "no history: by the deadline"
    )
    lines = [
        f"In total {totals['create']} to create, {totals['change']} to change, {totals['remove']} to remove.",
        f"Takes about {_span(told.seconds)}, at most {_span(told.cautious_s)} if sites are slow ({rests}).",
        f"At the worst {counted(told.broken_at_most, 'site')} of {totals['sites']} broken before it stops.",
    ]
    waived = sorted({f"{v.code} by {v.waived_by}" for one in shown.sites for v in _violations(one) if v.waived_by})
    lines += [f"Waived: {', '.join(waived)}."] if waived else []
    lines += [f"Not seen: {_names([one for one in shown.sites if one.cause])}."] if totals["sites_not_seen"] else []
    lines += [f"Refused: {_names(shown.refused)}."] if shown.refused else []
    return "\n".join(lines)


def _violations(one: SitePlan) -> Sequence[Any]:
    return one.look.violations if one.look else ()


def _names(sites: Sequence[SitePlan]) -> str:
    more = len(sites) - 20
    return ", ".join(one.site for one in sites[:20]) + (f" and {more} more" if more > 0 else "")


def _span(seconds: float) -> str:
    """A length of time for people."""
    return str(timedelta(seconds=round(seconds)))
