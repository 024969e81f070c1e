"""`edge device update` and `edge device updates`: bring a version to devices, and see what was tried on one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from edge.cli.context import has_server, open_ledger
from edge.cli.output import BAD_OUTCOME, JsonFlag, emit, invalid, speaks, table
from edge.cli.rollout import rollout_table
from edge.cli.runs import keep_prefect_quiet, start_on_pool, watching
from edge.cli.site import pairs
from edge.cli.stamp_roll_out import read_strategy
from edge.errors import InvalidInput, OperationFailed
from edge.model.firmware import Component, UpdateOrder, UpdateRefusal
from edge.model.rollout import Rollout, RolloutState, Strategy
from edge.model.site import SiteSelector
from edge.policy.firmware import check_means, check_times, digest_of

if TYPE_CHECKING:
    from edge.ledger import Ledger

DEPLOYMENT = "update-devices/default"


@speaks
def update(
    component: Annotated[Component, typer.Option(help="What is updated.")],
    version: Annotated[str, typer.Option(help="The version, such as 2.1.0.")],
    image: Annotated[str, typer.Option(help="The image by its digest: REPOSITORY@sha256:DIGEST.")],
    device: Annotated[list[str] | None, typer.Option(help="Only this device; may be given several times.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only this site's device; may be given several times.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's devices.")] = None,
    region: Annotated[str | None, typer.Option(help="Only devices in this region.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only devices of sites with KEY=VALUE.")] = None,
    self_test: Annotated[int, typer.Option(help="Seconds for which the new slot must hold.")] = 120,
    no_reboot: Annotated[bool, typer.Option("--no-reboot", help="Install, and leave the reboot to somebody.")] = False,
    go_back: Annotated[bool, typer.Option("--go-back", help="An older version is meant.")] = False,
    strategy: Annotated[Path | None, typer.Option(help="YAML file with the strategy.")] = None,
    here: Annotated[bool, typer.Option("--here", help="Run in this process instead of on a worker.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring a version to devices, in waves; goes on where it was when the same update was interrupted.

    A device that does not confirm the version falls back by itself, and does not get it again.
    """
    order = _order(
        component=component,
        version=version,
        image=image,
        self_test_s=self_test,
        reboot_allowed=not no_reboot,
        go_back=go_back,
    )
    chosen = read_strategy(strategy)
    check_times(order, chosen)
    check_means(chosen)
    keep_prefect_quiet()
    start = _start_here if here or not has_server() else partial(start_on_pool, DEPLOYMENT, wait=True)
    with open_ledger() as ledger:
        names = (*(site or ()), *_sites_of(ledger, device or []))
        selector = SiteSelector(names=names, tenant=tenant, region=region, labels=pairs(label or [], "--label"))
        rollout, refused = _carry_out(ledger, order, (selector, chosen), start)
        tally = ledger.rollouts.tally(rollout.plan.rollout_id) if rollout else {}
    data = {"rollout": rollout.model_dump(mode="json") if rollout else None, "refused": refused}
    if refused or as_json or rollout is None:
        emit(data, _refused_table(refused), as_json=as_json)
    if rollout is not None and not as_json:
        emit(None, rollout_table(rollout, tally), as_json=False)
    if not _is_good(rollout, refused):
        raise typer.Exit(BAD_OUTCOME)


def _order(**fields: Any) -> UpdateOrder:
    try:
        return UpdateOrder(**fields)
    except ValidationError as error:
        raise invalid(error) from error


def _sites_of(ledger: Ledger, devices: list[str]) -> list[str]:
    """The sites of devices that are named. Raises NotFound, or InvalidInput for a device at no site."""
    found = [ledger.devices.get(name) for name in devices]
    for one in found:
        if one.site is None:
            raise InvalidInput("The device is at no site", field="--device", value=one.device_id)
    return [one.site for one in found if one.site is not None]


def _carry_out(
    ledger: Ledger, order: UpdateOrder, whom: tuple[SiteSelector, Strategy], start: Any
) -> tuple[Rollout | None, dict[str, UpdateRefusal]]:
    """Start the run and wait for it; the rollout that it ended, if any device was due, and who is refused.

    Raises OperationFailed when a run was needed and ended none.
    """
    from tasks.firmware import Candidates, unfinished_update  # noqa: PLC0415 - Prefect takes a second to import

    selector, strategy = whom
    candidates = Candidates(ledger, order, selector)
    if not candidates.due and not candidates.refused:
        raise InvalidInput("No site matches", field="sites", value=selector.model_dump_json(exclude_defaults=True))
    under_way = unfinished_update(ledger, order, selector)
    if not candidates.due and under_way is None:
        return None, candidates.refused
    known = {rollout.plan.rollout_id for rollout in ledger.rollouts.list() if rollout.state is not RolloutState.RUNNING}
    parameters = {
        "order": order.model_dump(mode="json"),
        "sites": selector.model_dump(mode="json", exclude_defaults=True),
        "strategy": strategy.model_dump(mode="json"),
    }
    find = partial(unfinished_update, ledger, order, selector)
    with watching(ledger, f"{order.component} {order.version}", len(candidates.due), find):
        said = start(parameters)
    for rollout in ledger.rollouts.list():
        ended = rollout.state is not RolloutState.RUNNING and rollout.plan.rollout_id not in known
        if ended and rollout.plan.digest == digest_of(order):
            return ledger.rollouts.get(rollout.plan.rollout_id), candidates.refused
    raise OperationFailed(f"The run ended without a result: {said}", component=order.component, version=order.version)


def _start_here(parameters: dict[str, Any]) -> str:
    """Run the flow in this process; Prefect starts a server of its own for it when none is configured."""
    from flows.update_devices import update_devices  # noqa: PLC0415 - Prefect takes a second to import

    return str(update_devices(**parameters, return_state=True).message)


def _refused_table(refused: dict[str, UpdateRefusal]) -> Table:
    return table(f"Not updated: {len(refused)}", ("device", "reason"), list(refused.items()))


def _is_good(rollout: Rollout | None, refused: dict[str, UpdateRefusal]) -> bool:
    """Everybody who was due has it; with nobody due, everybody has it already."""
    if rollout is not None:
        return rollout.state is RolloutState.SUCCEEDED
    return all(refusal is UpdateRefusal.ALREADY_THERE for refusal in refused.values())


@speaks
def updates(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")], as_json: JsonFlag = False
) -> None:
    """Show every update that was tried on a device, and how it ended."""
    with open_ledger() as ledger:
        found = ledger.firmware.attempts(ledger.devices.get(device).device_id)
    rows = [
        (f"{one.at:%Y-%m-%d %H:%M:%S}", one.component, one.from_version, one.version, one.outcome, one.reason)
        for one in found
    ]
    columns = ("at", "component", "from", "version", "outcome", "reason")
    emit([one.model_dump(mode="json") for one in found], table(f"{device}: updates", columns, rows), as_json=as_json)
