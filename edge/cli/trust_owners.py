"""`edge trust allow | voucher | owners | withdraw`: whose a serial number is, said before the device is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from edge.cli.context import device_admission, open_ledger
from edge.cli.output import JsonFlag, emit, errors, speaks, table
from edge.clients.files import read_text
from edge.errors import IdentityRefused, InvalidInput
from edge.model.admission import Ownership
from edge.model.bulk import BadRow
from edge.policy.allowing import (
    AllowList,
    OwnershipState,
    Terms,
    allowed,
    list_name,
    read_allow_list,
    same_on_record,
    state_of,
)
from edge.policy.voucher import read_voucher

if TYPE_CHECKING:
    from edge.ledger import Ledger

MAX_BYTES = 20_000_000
COLUMNS = ("id", "serial", "tenant", "by", "state", "made", "until")


@speaks
def allow(
    serial_or_file: Annotated[str, typer.Argument(metavar="SERIAL|FILE", help="A serial number, or a file of them.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose it is; in a file, of rows that name nobody.")] = "",
    name: Annotated[str, typer.Option("--list", help="Name of the list; without it, the file's and the time.")] = "",
    expires: Annotated[str | None, typer.Option(help="Last day on which it lets a device in, YYYY-MM-DD.")] = None,
    ek: Annotated[str, typer.Option(help="SHA-256 of the endorsement key that the device's TPM must have.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Tie serial numbers to a tenant before their devices are seen.

    A file is a CSV with the columns serial, tenant and ek, or has one serial number a line. It is checked as a whole:
    nothing is recorded when a row is bad. What is on record already changes nothing.
    """
    now, file = datetime.now(UTC), _file(serial_or_file)
    terms = Terms(
        list_name=list_name(name or f"{file.stem if file else 'operator'}@{now:%Y%m%dT%H%M%SZ}"),
        tenant=tenant,
        ek=ek,
        expires_at=_last_moment(expires, now),
        now=now,
    )
    if file is None:
        with open_ledger() as ledger:
            wanted = allowed({"serial": serial_or_file}, terms)
            known = same_on_record(wanted, ledger.ownerships.of_serial(wanted.serial), now=now)
            _record(ledger, [(wanted, known)], as_json=as_json)
        return
    if ek:
        raise InvalidInput("One endorsement key is one device's", field="--ek", remedy="Give a column ek in the file")
    found = read_allow_list(read_text(file, MAX_BYTES), origin=str(file), terms=terms)
    with open_ledger() as ledger:
        rows = _against_record(ledger, found, file, now, as_json=as_json)
        _record(ledger, rows, as_json=as_json)


@speaks
def voucher(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Vouchers, one in each file.")],
    as_json: JsonFlag = False,
) -> None:
    """Verify ownership vouchers and record what they say. When one is no good, none is recorded."""
    now, anchors = datetime.now(UTC), device_admission().trust().voucher_anchors
    if not anchors:
        remedy = "Name the CA certificates of who signs them in EDGE_VOUCHER_TRUST"
        raise InvalidInput("Nobody's vouchers are trusted", field="EDGE_VOUCHER_TRUST", remedy=remedy)
    read = [_verified(file, anchors, now) for file in files]
    with open_ledger() as ledger:
        on_record = {one.ownership_id for given in read for one in ledger.ownerships.of_serial(given.serial)}
        _record(ledger, [(one, one if one.ownership_id in on_record else None) for one in read], as_json=as_json)


@speaks
def owners(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only of this tenant.")] = None,
    serial: Annotated[str | None, typer.Option("--serial", help="Only of this serial number.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show whose serial numbers are, by voucher or list, and what each word is still good for."""
    with open_ledger() as ledger:
        found = ledger.ownerships.list(tenant=tenant, serial=serial)
        items = _items(ledger, found)
    emit(items, table(f"{len(items)} ownerships", COLUMNS, [_row(item) for item in items]), as_json=as_json)


@speaks
def withdraw(
    ownership_id: Annotated[str, typer.Argument(metavar="OWNERSHIP_ID", help="As `edge trust owners` shows it.")],
    as_json: JsonFlag = False,
) -> None:
    """End an ownership: it lets nobody in any more, nor does any older one of the same serial number."""
    now = datetime.now(UTC)
    with open_ledger() as ledger:
        known = ledger.ownerships.get(ownership_id)
        before = {item["ownership_id"]: item["state"] for item in _items(ledger, [known], whole=True)}
        ledger.ownerships.end(ownership_id, at=now)
        after = _items(ledger, [known], whole=True)
    (item,) = (one for one in after if one["ownership_id"] == ownership_id)
    fallen = [
        one["ownership_id"]
        for one in after
        if one["state"] == OwnershipState.TOO_OLD and before.get(one["ownership_id"]) != OwnershipState.TOO_OLD
    ]
    said = escape("\n".join(_withdrawn(known, item, fallen)))
    emit({**item, "also_too_old": fallen}, said, as_json=as_json)


def _withdrawn(known: Ownership, item: Mapping[str, Any], fallen: Sequence[str]) -> list[str]:
    if known.ended_at is not None:
        return [f"{known.ownership_id} was ended on {item['ended_at'][:10]} already; nothing was changed"]
    said = [f"{known.ownership_id} has ended: {known.serial} comes in on it no more"]
    if fallen:
        said.append(f"Being older, these let nobody in any more either: {', '.join(fallen)}")
    if known.used_by is not None:
        said.append(
            f"{known.used_by} came in on it, and stays as it is. `edge device decommission {known.used_by}` lets it go"
        )
    return said


def _file(said: str) -> Path | None:
    """The file that is meant, if one is; what looks like a path is never taken for a serial number."""
    path = Path(said)
    looks_like = "/" in said or path.suffix.lower() in {".csv", ".txt", ".list"}
    try:
        return path if looks_like or path.is_file() else None
    except (OSError, ValueError):
        return None


def _last_moment(text: str | None, now: datetime) -> datetime | None:
    """The end of a day, in UTC."""
    if text is None:
        return None
    try:
        end = datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
    except ValueError as error:
        raise InvalidInput("This is no day", remedy="Write YYYY-MM-DD", field="--expires", value=text) from error
    if end <= now:
        raise InvalidInput("This day is over", remedy="Give one to come", field="--expires", value=text)
    return end


def _against_record(
    ledger: Ledger, found: AllowList, file: Path, now: datetime, *, as_json: bool
) -> list[tuple[Ownership, Ownership | None]]:
    """Each row with what is on record of it. Raises InvalidInput when a row is bad, having named all that are."""
    rows, bad = [], list(found.bad)
    for line, wanted in found.good.items():
        try:
            rows.append((wanted, same_on_record(wanted, ledger.ownerships.of_serial(wanted.serial), now=now)))
        except InvalidInput as error:
            fault = f"{error.what}. {error.remedy}"
            bad.append(BadRow(line=line, field=error.where["field"], value=error.where["value"], fault=fault))
    if bad:
        _refuse(file, sorted(bad, key=lambda row: row.line), as_json=as_json)
    return rows


def _refuse(file: Path, bad: Sequence[BadRow], *, as_json: bool) -> None:
    """Name every bad row. With `--json` they are in the error's `rows`."""
    if not as_json:
        rows = [(row.line, row.field, row.value, row.fault) for row in bad]
        errors.print(table(f"{len(bad)} bad rows", ("line", "field", "value", "fault"), rows))
    first = bad[0]
    told: dict[str, Any] = {"line": first.line, "field": first.field, "value": first.value}
    if as_json:
        told["rows"] = "[" + ",".join(row.model_dump_json(exclude={"device_id"}) for row in bad) + "]"
    what = f"{len(bad)} rows are bad, so nothing was recorded; the first: {first.fault}"
    raise InvalidInput(what, remedy="Correct the rows", file=file, **told)


def _verified(file: Path, anchors: Sequence[str], now: datetime) -> Ownership:
    try:
        return read_voucher(read_text(file).strip(), anchors=anchors, now=now)
    except IdentityRefused as error:
        where = {"file": file, "field": "voucher", **error.where}
        raise InvalidInput(f"{error.what}; nothing was recorded", remedy=error.remedy, **where) from error


def _record(ledger: Ledger, rows: Sequence[tuple[Ownership, Ownership | None]], *, as_json: bool) -> None:
    """Record those that are not on record, and show all."""
    fresh: set[str] = set()
    for wanted, known in rows:
        if known is None and wanted.ownership_id not in fresh:
            ledger.ownerships.record(wanted)
            fresh.add(wanted.ownership_id)
    shown = {one.ownership_id: one for one in (known or wanted for wanted, known in rows)}
    items = [
        {**item, "verdict": "recorded" if item["ownership_id"] in fresh else "on record already"}
        for item in _items(ledger, list(shown.values()))
    ]
    columns = ("verdict", "id", "serial", "tenant", "state", "until")
    drawn = table(f"{len(fresh)} recorded", columns, [(item["verdict"], *_short_row(item)) for item in items])
    emit(items, drawn, as_json=as_json)


def _items(ledger: Ledger, chosen: Sequence[Ownership], *, whole: bool = False) -> list[dict[str, Any]]:
    """The chosen ownerships as they are on record, with their state; `whole`: with all others of the serial numbers."""
    now = datetime.now(UTC)
    wanted = {one.ownership_id for one in chosen}
    by_serial = {serial: ledger.ownerships.of_serial(serial) for serial in dict.fromkeys(one.serial for one in chosen)}
    return [
        {**one.model_dump(mode="json"), "state": state_of(one, known, now=now).value}
        for known in by_serial.values()
        for one in known
        if whole or one.ownership_id in wanted
    ]


def _short_row(item: Mapping[str, Any]) -> tuple[object, ...]:
    """Short enough that an id, which is to be copied, stays on one line."""
    until = (item["expires_at"] or "")[:10]
    return (item["ownership_id"], item["serial"], item["tenant"], _state(item), until)


def _state(item: Mapping[str, Any]) -> str:
    return f"used by {item['used_by']}" if item["state"] == OwnershipState.USED else str(item["state"])


def _row(item: Mapping[str, Any]) -> tuple[object, ...]:
    until = (item["expires_at"] or "")[:10]
    return (
        item["ownership_id"],
        item["serial"],
        item["tenant"],
        f"{item['kind']} of {item['issuer']}",
        _state(item),
        item["created_at"][:10],
        until,
    )
