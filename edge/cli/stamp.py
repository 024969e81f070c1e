"""`edge stamp`: is a stamp sound, what would a rollout do, and do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, emit, speaks, table
from edge.cli.site import pairs
from edge.cli.stamp_roll_out import find_cohort, find_meant, read_stamp, read_strategy, roll_out
from edge.model.kube import KubeObject
from edge.model.rollout import RolloutPlan, Strategy
from edge.model.site import Site, SiteSelector
from edge.model.stamp import Stamp
from edge.policy.apply_order import phases
from edge.policy.parameters import sample_parameters, site_parameters
from edge.policy.render import render
from edge.policy.rollout import plan_rollout

if TYPE_CHECKING:
    from edge.ledger import Ledger

app = typer.Typer()
app.command("roll-out")(roll_out)

SetOption = Annotated[list[str] | None, typer.Option("--set", help="A parameter, KEY=VALUE.")]


@app.command()
@speaks
def validate(
    path: Annotated[str, typer.Argument(help="The stamp's folder, or a shipped stamp's name.")],
    set_: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a stamp without any site: syntax, parameters, and where its objects go.

    Parameters without a default get a sample value; one that has a pattern needs --set.
    """
    stamp = read_stamp(path)
    objects = render(stamp, sample_parameters(stamp, pairs(set_ or [], "--set")))
    emit({**_summary(stamp), "objects": _rows(objects)}, _objects(stamp, objects), as_json=as_json)
    if not as_json and stamp.parameters:
        emit(None, _parameters(stamp), as_json=False)


@app.command()
@speaks
def plan(
    stamp: Annotated[str, typer.Argument(help="A folder, a shipped stamp's name, or name@version from the ledger.")],
    site: Annotated[list[str] | None, typer.Option(help="Only this site; may be given several times.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's sites.")] = None,
    region: Annotated[str | None, typer.Option(help="Only sites in this region.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only sites with KEY=VALUE.")] = None,
    set_: SetOption = None,
    strategy: Annotated[Path | None, typer.Option(help="YAML file with the strategy.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a rollout would do, and change nothing: its waves, and the objects each site gets.

    The objects are rendered for every site, so a parameter that fits one site and not another is found here.
    """
    selector = SiteSelector(names=tuple(site or ()), tenant=tenant, region=region, labels=pairs(label or [], "--label"))
    chosen, given = read_strategy(strategy), pairs(set_ or [], "--set")
    with open_ledger() as ledger:
        meant, cohort = find_meant(ledger, stamp), find_cohort(ledger, selector)
        rendered = [render(meant, site_parameters(found, given)) for found in cohort]
        begun = _begun(ledger, meant, cohort, given)
        made = begun or _new(ledger, meant, cohort, chosen, given)
    data = {**made.model_dump(mode="json"), "goes_on": begun is not None, "objects": _rows(rendered[0])}
    emit(data, _waves(made, cohort, goes_on=begun is not None), as_json=as_json)
    if not as_json:
        emit(None, _objects(meant, rendered[0]), as_json=False)


def _begun(ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], given: Mapping[str, str]) -> RolloutPlan | None:
    """The plan of the unfinished rollout that would go on instead of a new one."""
    names = tuple(site.name for site in cohort)
    begun = ledger.rollouts.unfinished(stamp.name, stamp.version, stamp.digest, names)
    return begun.plan if begun is not None and begun.plan.parameters == dict(given) else None


def _new(
    ledger: Ledger, stamp: Stamp, cohort: Sequence[Site], strategy: Strategy, given: Mapping[str, str]
) -> RolloutPlan:
    attempt = 1 + ledger.rollouts.count(stamp.name, stamp.version)
    return plan_rollout(stamp, cohort, strategy, given, attempt)


def _summary(stamp: Stamp) -> dict[str, Any]:
    return stamp.model_dump(mode="json", exclude={"manifests"})


def _rows(objects: Sequence[KubeObject]) -> list[dict[str, Any]]:
    """A row per object, with the number of the phase in which it is applied."""
    return [
        {
            "phase": number,
            "kind": obj["kind"],
            "namespace": obj["metadata"].get("namespace", ""),
            "name": obj["metadata"]["name"],
        }
        for number, phase in enumerate(phases(objects), start=1)
        for obj in phase
    ]


def _objects(stamp: Stamp, objects: Sequence[KubeObject]) -> Table:
    title = f"{stamp.name} {stamp.version}: {len(objects)} objects ({stamp.digest[:12]})"
    return table(title, ("phase", "kind", "namespace", "name"), [list(row.values()) for row in _rows(objects)])


def _parameters(stamp: Stamp) -> Table:
    rows = [
        (name, said.type, said.default, " | ".join(said.enum) or said.pattern, said.description)
        for name, said in stamp.parameters.items()
    ]
    return table("Parameters", ("name", "type", "default", "allowed", "description"), rows)


def _waves(plan: RolloutPlan, cohort: Sequence[Site], *, goes_on: bool) -> Table:
    when_offline = {site.name: site.when_offline for site in cohort}
    rows = [
        (wave.name if place == 0 else "", name, when_offline[name], wave.failure_budget if place == 0 else "")
        for wave in plan.waves
        for place, name in enumerate(wave.sites)
    ]
    what = "goes on" if goes_on else "would begin"
    title = f"Rollout {plan.rollout_id} {what}: {len(cohort)} sites in {len(plan.waves)} waves"
    return table(title, ("wave", "site", "when offline", "may fail"), rows)
