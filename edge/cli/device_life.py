"""`edge device decommission | proof | reset | replace`: how a device leaves, begins anew, or takes another's place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.context import has_server, open_ledger, site_credentials
from edge.cli.output import BAD_OUTCOME, JsonFlag, emit, speaks, table
from edge.cli.runs import keep_prefect_quiet, start_on_pool
from edge.clients.access import flatten
from edge.clients.kubeconfig import read_kubeconfig
from edge.errors import InvalidInput, NotFound
from edge.model.decommission import LeaveProof
from edge.model.device import Device, DeviceState
from edge.policy.decommission import OWED_WHEN_LOST, leave_prefix, proof_of
from edge.policy.life import check_replacement, check_reset, replacement

if TYPE_CHECKING:
    from edge.ledger import Ledger

DEPLOYMENT = "decommission-device/default"
ONBOARDING = "onboard-device/default"

DeviceArg = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit trail.")]
Lost = Annotated[bool, typer.Option("--lost", help="Its cluster will not be seen again: let it go unwiped.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="The new cluster's kubeconfig, when it has another one.")]


@speaks
def decommission(
    device: DeviceArg, reason: Reason = "", lost: Lost = False, yes: Yes = False, as_json: JsonFlag = False
) -> None:
    """Let a device go: revoke, wipe its cluster, disconnect it from Azure, forget its credential, free its site.

    Each step is proven by reading; `edge device proof` shows it. Repeat it to go on where it was.
    """
    keep_prefect_quiet()
    with open_ledger() as ledger:
        found = ledger.devices.get(device)
        _confirm(f"Decommission {device} at {found.site or 'no site'}, and wipe its cluster?", yes=yes)
        _leave(device, reason, lost=lost)
        proof = latest_proof(ledger, device)
    _show(proof, as_json=as_json)


@speaks
def proof(device: DeviceArg, as_json: JsonFlag = False) -> None:
    """Show how a device left, step by step: what was read, what was found, and what is owed."""
    with open_ledger() as ledger:
        found = latest_proof(ledger, device)
    _show(found, as_json=as_json)


@speaks
def reset(
    device: DeviceArg,
    reason: Reason = "reset",
    kubeconfig: Kubeconfig = None,
    yes: Yes = False,
    as_json: JsonFlag = False,
) -> None:
    """Let a device that was wiped begin anew: every step of onboarding runs again, at the same site.

    What it proved in its earlier life counts no more: it comes in when it registers again. One that was imported
    without a proof is onboarded at once. One that was decommissioned is let in again, and its key is believed again.
    """
    keep_prefect_quiet()
    with open_ledger() as ledger:
        before = ledger.devices.get(device)
        check_reset(before)
        _confirm(f"Let {device} begin anew, from the start?", yes=yes)
        after = _begin_anew(ledger, before, reason, kubeconfig)
        if after.registration.proof is None:  # one that proves something must prove it anew, and comes by itself
            _onboard(device)
        after = ledger.devices.get(device)
    _show_devices([after], as_json=as_json)


@speaks
def replace(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The device that goes.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The device that takes its place.")],
    reason: Reason = "replaced",
    lost: Lost = False,
    kubeconfig: Kubeconfig = None,
    yes: Yes = False,
    as_json: JsonFlag = False,
) -> None:
    """Put a device in the place of another: the same site, tenant, labels and stamp.

    The old one is decommissioned. The new one is onboarded at once when it has registered itself, else when it does.
    """
    keep_prefect_quiet()
    with open_ledger() as ledger:
        leaving, site = _take_place(ledger, old, new, yes=yes)
        if leaving.state is not DeviceState.DECOMMISSIONED:
            _leave(old, reason, lost=lost)
        if not is_let_go(latest_proof(ledger, old)):
            _show(latest_proof(ledger, old), as_json=as_json)
        if kubeconfig is not None:
            site_credentials().keep(site, flatten(read_kubeconfig(kubeconfig)))
        if _find(ledger, new) is not None:
            _onboard(new)
        found = [device for device in (_find(ledger, old), _find(ledger, new)) if device is not None]
    _show_devices(found, as_json=as_json)


def latest_proof(ledger: Ledger, device_id: str) -> LeaveProof:
    """The proof of the last time that the device left. Raises NotFound when it never did."""
    device, prefix = ledger.devices.get(device_id), leave_prefix(device_id)
    records = ledger.steps.fleet(prefix)
    if not records:
        remedy = "`edge device decommission` begins it"
        raise NotFound("The device was never decommissioned", remedy=remedy, device=device_id)
    life = max(int(record.key.work.removeprefix(prefix)) for record in records)
    of_life = [record for record in records if record.key.work == f"{prefix}{life}"]
    return proof_of(device.model_copy(update={"generation": life, "site": None, "tenant": None}), of_life)


def is_let_go(found: LeaveProof) -> bool:
    """Whether everything is proven that can be, of a device that is lost all but its wipe."""
    return {step.step for step in found.owed} <= set(OWED_WHEN_LOST if found.lost else ())


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not typer.confirm(question, err=True):
        raise typer.Abort


def _leave(device: str, reason: str, *, lost: bool) -> None:
    parameters: dict[str, Any] = {"device": device, "reason": reason, "lost": lost}
    if has_server():
        start_on_pool(DEPLOYMENT, parameters, wait=True)
        return
    from flows.decommission_device import decommission_device  # noqa: PLC0415 - Prefect takes a second to import

    decommission_device(**parameters, return_state=True)


def _onboard(device: str) -> None:
    if has_server():
        start_on_pool(ONBOARDING, {"devices": [device]}, wait=True)
        return
    from flows.onboard_device import onboard_device  # noqa: PLC0415 - Prefect takes a second to import

    onboard_device(devices=[device], return_state=True)


def _begin_anew(ledger: Ledger, device: Device, reason: str, kubeconfig: Path | None) -> Device:
    if kubeconfig is not None and device.site is not None:
        site_credentials().keep(device.site, flatten(read_kubeconfig(kubeconfig)))
    if device.state is not DeviceState.DECOMMISSIONED:
        return ledger.devices.begin_anew(device.device_id, reason=reason, generation=device.generation)
    from tasks.coming_back import let_back  # noqa: PLC0415 - Prefect takes a second to import

    return let_back(ledger, device)


def _take_place(ledger: Ledger, old: str, new: str, *, yes: bool) -> tuple[Device, str]:
    """Keep the old device's site for the new one; answers the old device and the site. Repeating it is fine."""
    leaving, coming = ledger.devices.get(old), _find(ledger, new)
    site = leaving.site or (latest_proof(ledger, old).site if leaving.state is DeviceState.DECOMMISSIONED else None)
    if site is None:
        raise InvalidInput("The old device has no site that could be taken", device=old, state=leaving.state)
    check_replacement(leaving, new, coming)
    _confirm(f"Decommission {old}, and put {new} in its place at {site}?", yes=yes)
    kept = ledger.reservations.of(new)
    if kept is None or (kept.site, kept.replaces) != (site, old):
        ledger.reservations.put(replacement(leaving, site, new, at=datetime.now(UTC)))
    return leaving, site


def _find(ledger: Ledger, device: str) -> Device | None:
    try:
        return ledger.devices.get(device)
    except NotFound:
        return None


def _show(found: LeaveProof, *, as_json: bool) -> None:
    """Print it, and end with 1 unless the device is let go."""
    rows = [
        (step.step, "yes" if step.proven else "OWED", "; ".join(step.looked_at), "; ".join(step.found) or step.owed)
        for step in found.steps
    ]
    lost = ", let go as lost" if found.lost else ""
    title = f"{found.device_id}, life {found.generation}, site {found.site or '(none)'}{lost}"
    data = {**found.model_dump(mode="json"), "owed": [step.step.value for step in found.owed]}
    emit(data, table(title, ("step", "proven", "looked at", "found"), rows), as_json=as_json)
    if not is_let_go(found):
        raise typer.Exit(BAD_OUTCOME)


def _show_devices(found: list[Device], *, as_json: bool) -> None:
    rows = [(one.device_id, one.state, one.tenant, one.site, one.generation, one.reason) for one in found]
    drawn = table("Devices", ("device", "state", "tenant", "site", "life", "reason"), rows)
    emit([one.model_dump(mode="json", exclude={"registration"}) for one in found], drawn, as_json=as_json)
    if found[-1].state in (DeviceState.FAILED, DeviceState.QUARANTINED):
        raise typer.Exit(BAD_OUTCOME)
