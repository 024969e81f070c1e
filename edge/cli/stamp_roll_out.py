"""`edge stamp roll-out`: start a rollout, watch it, and say how it ended."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from edge.cli.context import has_server, open_ledger, policy_rules
from edge.cli.output import BAD_OUTCOME, JsonFlag, emit, invalid, speaks
from edge.cli.rollout import rollout_table
from edge.cli.runs import keep_prefect_quiet, start_on_pool, watching
from edge.cli.site import pairs
from edge.cli.site_choice import OnlyLabels, OnlyRegion, OnlySites, OnlyTenant, chosen
from edge.cli.stamp_shown import SetOption, StampArgument
from edge.clients.files import read_text
from edge.errors import OperationFailed
from edge.model.order import RolloutOrder
from edge.model.rollout import ENDED, Rollout, RolloutState, Strategy
from edge.model.stamp import Stamp
from edge.policy.yaml_text import parse_yaml

if TYPE_CHECKING:
    from edge.ledger import Ledger

StrategyOption = Annotated[Path | None, typer.Option("--strategy", help="YAML file with the strategy.")]
DowngradeFlag = Annotated[bool, typer.Option("--allow-downgrade", help="Sites may get an older version.")]

DEPLOYMENT = "roll-out-stamp/default"
FOREVER_S = 366 * 86400.0


def read_strategy(file: Path | None) -> Strategy:
    """The strategy in a YAML file; without one, the defaults. Raises InvalidInput naming file and field."""
    if file is None:
        return Strategy()
    found = parse_yaml(read_text(file), origin=str(file))
    try:
        return Strategy.model_validate(found)
    except ValidationError as error:
        raise invalid(error, file=str(file)) from error


@speaks
def roll_out(
    stamp: StampArgument,
    site: OnlySites = None,
    tenant: OnlyTenant = None,
    region: OnlyRegion = None,
    label: OnlyLabels = None,
    set_: SetOption = None,
    strategy: StrategyOption = None,
    downgrade: DowngradeFlag = False,
    here: Annotated[bool, typer.Option("--here", help="Run in this process instead of on a worker.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Put a stamp on sites, in waves; goes on where it was when the same rollout was interrupted.

    With a server at PREFECT_API_URL the run is started on its work pool, else in this process. A rollout that has to
    wait, for a window or for a person, is left to the workers: the command ends, and says for what it waits.
    """
    order = RolloutOrder(
        stamp=stamp,
        sites=chosen(site, tenant, region, label),
        parameters=pairs(set_ or [], "--set"),
        strategy=read_strategy(strategy),
        allow_downgrade=downgrade,
        by=getpass.getuser(),
    )
    keep_prefect_quiet()
    start = _start_here if here or not has_server() else partial(start_on_pool, DEPLOYMENT, wait=True)
    with open_ledger() as ledger:
        rollout = _carry_out(ledger, order, start)
        tally = ledger.rollouts.tally(rollout.plan.rollout_id)
    emit(rollout.model_dump(mode="json"), rollout_table(rollout, tally), as_json=as_json)
    if rollout.state in ENDED and rollout.state is not RolloutState.SUCCEEDED:
        raise typer.Exit(BAD_OUTCOME)


def _carry_out(ledger: Ledger, order: RolloutOrder, start: Callable[[dict[str, Any]], str]) -> Rollout:
    """Start the run, wait for it, and answer the rollout as it left it. Raises OperationFailed when it left none."""
    meant, sites = _checked(ledger, order)
    before = _newest(ledger, meant, sites, order)
    find = partial(ledger.rollouts.unfinished, meant.name, meant.version, meant.digest, sites)
    said_stamp = {"stamp": f"{meant.name}@{meant.version}"}  # a worker elsewhere finds it in the ledger
    with watching(ledger, f"{meant.name} {meant.version}", len(sites), find):
        said = start({**order.model_dump(mode="json"), **said_stamp})
    rollout = _newest(ledger, meant, sites, order)
    if rollout is None or rollout == before or (rollout.state is RolloutState.RUNNING and not rollout.waiting):
        raise OperationFailed(f"The run ended without a result: {said}", **said_stamp)
    return rollout


def _checked(ledger: Ledger, order: RolloutOrder) -> tuple[Stamp, tuple[str, ...]]:
    """Stamp and sites that are meant. Bad input is found before a run is started."""
    from tasks import planning  # noqa: PLC0415 - its engines take long to import
    from tasks.rendering import Renderer  # noqa: PLC0415 - as above

    meant, cohort = planning.find_stamp(ledger, order.stamp), planning.find_cohort(ledger, order.sites)
    planning.check_stamp(ledger, meant, policy_rules())
    planning.check_values(Renderer(meant), cohort, order)
    if planning.begun_plan(ledger, meant, cohort, order) is None:
        planning.new_plan(ledger, meant, cohort, order)
    ledger.stamps.record(meant)
    return meant, tuple(site.name for site in cohort)


def _start_here(parameters: dict[str, Any]) -> str:
    """Run the flow in this process, waiting for as long as it takes; Prefect starts a server of its own for it."""
    from flows.roll_out_stamp import roll_out_stamp  # noqa: PLC0415 - Prefect takes a second to import

    return str(roll_out_stamp(**parameters, patience_s=FOREVER_S, return_state=True).message)


def _newest(ledger: Ledger, stamp: Stamp, sites: tuple[str, ...], order: RolloutOrder) -> Rollout | None:
    """The latest rollout of this content, with these parameters, to these sites."""
    for rollout in ledger.rollouts.list():
        plan = rollout.plan
        cohort = {site for wave in plan.waves for site in wave.sites}
        same = (plan.stamp, plan.digest, plan.parameters) == (stamp.name, stamp.digest, order.parameters)
        if same and cohort == set(sites):
            return ledger.rollouts.get(plan.rollout_id)
    return None
