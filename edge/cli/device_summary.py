"""What a command says of many devices: how many are in, and what keeps the others out, by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group

from edge.cli.output import console, counted, emit, table
from edge.model.base import Value
from edge.model.bulk import BadRow, CauseGroup
from edge.model.device import DeviceState
from edge.model.outcome import Outcome, Status
from edge.policy.bulk import by_cause, named

if TYPE_CHECKING:
    from edge.ledger import Ledger

_GONE = (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED)


class Summary(Value):
    """How many devices ended how. `known` were there before, just so; `gone` leave or have left; `skipped` were bad."""

    devices: int
    connected: int
    quarantined: int
    failed: int
    on_their_way: int
    gone: int = 0
    known: int
    skipped: tuple[BadRow, ...] = ()
    causes: tuple[CauseGroup, ...] = ()

    @property
    def not_in(self) -> int:
        """How many are not connected."""
        return self.devices - self.connected


def summarised(
    ledger: Ledger, devices: Sequence[str], *, known: Sequence[str] = (), skipped: tuple[BadRow, ...] = ()
) -> Summary:
    """How these devices did, as the ledger has it."""
    from tasks.onboarding_outcome import recorded_outcome  # noqa: PLC0415 - Prefect takes a second to import

    found = [ledger.devices.get(device) for device in devices]
    outcomes: list[Outcome] = [recorded_outcome(ledger, device) for device in found]
    count = Counter(outcome.status for outcome in outcomes)
    gone = sum(device.state in _GONE for device in found)
    return Summary(
        devices=len(outcomes),
        connected=count[Status.SUCCEEDED],
        quarantined=count[Status.QUARANTINED],
        failed=count[Status.FAILED],
        on_their_way=count[Status.HELD] - gone,
        gone=gone,
        known=len(known),
        skipped=skipped,
        causes=by_cause(outcomes),
    )


def emit_summary(summary: Summary, *, as_json: bool) -> None:
    """Print it: one sentence, and a row for each cause with what to do."""
    if as_json:
        emit(summary.model_dump(mode="json"), "", as_json=True)
        return
    console.print(_sentence(summary), highlight=False)
    if summary.causes:
        rows = [(group.name, named(group.devices, 5), group.message, _remedy(group)) for group in summary.causes]
        console.print(Group(table("By cause", ("cause", "devices", "what was said of the first", "remedy"), rows)))
    if summary.skipped:
        bad = [(row.line, row.device_id, row.field, row.value, row.fault) for row in summary.skipped]
        title = f"{len(summary.skipped)} rows were skipped"
        console.print(table(title, ("line", "device", "field", "value", "fault"), bad))


def _sentence(summary: Summary) -> str:
    parts = [f"{summary.connected} connected", f"{summary.quarantined} quarantined", f"{summary.failed} failed"]
    if summary.on_their_way:
        parts.append(f"{summary.on_their_way} on their way")
    if summary.gone:
        parts.append(f"{summary.gone} decommissioned")
    known = f"; {summary.known} of them on record already" if summary.known else ""
    return f"{counted(summary.devices, 'device')}: {', '.join(parts)}{known}"


def _remedy(group: CauseGroup) -> str:
    return group.remedy or ("It is tried again by itself" if group.transient else "")
