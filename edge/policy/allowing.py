"""An operator's word on whose a serial number is: rows of an allow-list, and what every ownership is still good for."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.admission import Ownership, OwnershipKind
from edge.model.base import Value
from edge.model.bulk import BadRow

COLUMNS = ("serial", "tenant", "ek")
_LIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_SHOWN = 80


class OwnershipState(StrEnum):
    """What an ownership is good for now. The text is a contract."""

    FREE = "free"
    """It lets in the first device that proves the serial number."""
    USED = "used"
    """A device came in on it; it lets in no other."""
    ENDED = "ended"
    EXPIRED = "expired"
    TOO_OLD = "too-old"
    """It was made before another of the same serial number ended: who gave the device up does not get it back so."""


class Terms(Value):
    """What holds for each row of a list unless the row says otherwise."""

    list_name: str
    tenant: str = ""
    ek: str = ""
    expires_at: datetime | None = None
    now: datetime


class AllowList(Value):
    """A list that was read: the rows that are in order by their line, and those that are not."""

    good: dict[int, Ownership]
    bad: tuple[BadRow, ...]


class _Bad(Exception):
    """A row's fault; it never leaves this file."""

    def __init__(self, field: str, value: str, fault: str) -> None:
        self.said = {"field": field, "value": value[:_SHOWN], "fault": fault}
        super().__init__(fault)


def read_allow_list(text: str, *, origin: str, terms: Terms) -> AllowList:
    """Every row of a list: a CSV whose header has `serial` and perhaps `tenant` and `ek`, or one serial number a line.

    Raises InvalidInput when the file as a whole is no good.
    """
    good: dict[int, Ownership] = {}
    bad: list[BadRow] = []
    seen: dict[str, int] = {}
    for line, row in _rows(text.removeprefix("\ufeff"), origin):
        try:
            if isinstance(row, _Bad):
                raise row
            made = allowed(row, terms)
            first = seen.setdefault(made.serial, line)
            if first != line:
                raise _Bad("serial", made.serial, f"Line {first} has it too")
            good[line] = made
        except _Bad as fault:
            bad.append(BadRow(line=line, **fault.said))
        except InvalidInput as error:
            where = error.where
            bad.append(
                BadRow(line=line, field=where.get("field", "row"), value=where.get("value", ""), fault=error.what)
            )
    if not good and not bad:
        raise InvalidInput("The file has no rows", file=origin)
    return AllowList(good=good, bad=tuple(bad))


def allowed(row: Mapping[str, str], terms: Terms) -> Ownership:
    """The ownership that a row makes. Raises InvalidInput naming the field and the value."""
    serial, tenant = row.get("serial", "").strip(), row.get("tenant", "").strip() or terms.tenant
    if not serial or not serial.isprintable():
        raise InvalidInput("A serial number is printable text that is not empty", field="serial", value=serial[:_SHOWN])
    if not tenant:
        raise InvalidInput("Nothing says whose it is", field="tenant", remedy="Give --tenant, or a column tenant")
    try:
        return Ownership(
            ownership_id=f"list:{terms.list_name}:{serial}",
            serial=serial,
            tenant=tenant,
            kind=OwnershipKind.LIST,
            issuer=terms.list_name,
            created_at=terms.now,
            expires_at=terms.expires_at,
            ek_fingerprint=fingerprint(row.get("ek", "").strip() or terms.ek, "ek"),
        )
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        field = str(fault["loc"][0])
        what = "A tenant is a DNS label: a-z, 0-9 and -" if field == "tenant" else str(fault["msg"])
        raise InvalidInput(what, field=field, value=str(fault["input"])[:_SHOWN]) from error


def fingerprint(text: str, field: str) -> str:
    """A SHA-256 in lower-case hex, with or without colons; "" stays. Raises InvalidInput."""
    plain = text.replace(":", "").lower()
    if plain and not _FINGERPRINT.fullmatch(plain):
        remedy = "Give the SHA-256 of the public key of the TPM's endorsement certificate"
        raise InvalidInput("This is no SHA-256 in hex", field=field, value=text[:_SHOWN], remedy=remedy)
    return plain


def list_name(text: str) -> str:
    """The name of a list, as given. Raises InvalidInput for one that cannot be a part of an id."""
    if not _LIST_NAME.fullmatch(text):
        remedy = "Give --list with 1 to 64 letters, digits and . _ @ -"
        raise InvalidInput("This cannot be the name of a list", field="--list", value=text[:_SHOWN], remedy=remedy)
    return text


def state_of(one: Ownership, of_serial: Sequence[Ownership], *, now: datetime) -> OwnershipState:
    """What it is good for, among all ownerships of its serial number."""
    if one.ended_at is not None:
        return OwnershipState.ENDED
    if any(other.ended_at is not None and other.ended_at > one.created_at for other in of_serial):
        return OwnershipState.TOO_OLD
    if one.used_by is not None:
        return OwnershipState.USED
    over = one.expires_at is not None and one.expires_at <= now
    return OwnershipState.EXPIRED if over else OwnershipState.FREE


def standing(of_serial: Sequence[Ownership], *, now: datetime) -> tuple[Ownership, ...]:
    """Those that still tie the serial number to a tenant."""
    live = (OwnershipState.FREE, OwnershipState.USED)
    return tuple(one for one in of_serial if state_of(one, of_serial, now=now) in live)


def same_on_record(wanted: Ownership, of_serial: Sequence[Ownership], *, now: datetime) -> Ownership | None:
    """The ownership on record that says what the wanted one says; None when it is to be recorded.

    Raises InvalidInput when what is on record contradicts it.
    """
    for one in of_serial:
        if one.ownership_id == wanted.ownership_id and one.ended_at is not None:
            what = f"The row was ended on {one.ended_at:%Y-%m-%d}, and an end is not taken back"
            raise InvalidInput(what, field="serial", value=one.serial, remedy="Give a new --list")
    held = standing(of_serial, now=now)
    taken = [one for one in of_serial if one.ended_at is None and one.used_by is not None]
    for one in (*held, *taken):
        if one.tenant != wanted.tenant:
            what = f"It belongs to {one.tenant} by {one.ownership_id}"
            raise InvalidInput(what, field="tenant", value=wanted.tenant, remedy=_withdraw(one))
    for one in held:
        _check_same(one, wanted)
    return held[-1] if held else None


def _check_same(one: Ownership, wanted: Ownership) -> None:
    """Raise InvalidInput when the wanted one asks for a TPM or an end that the one on record does not have."""
    if wanted.ek_fingerprint and wanted.ek_fingerprint != one.ek_fingerprint:
        what = (
            f"{one.ownership_id} is on record {'with another' if one.ek_fingerprint else 'without an'} endorsement key"
        )
        raise InvalidInput(what, field="ek", value=wanted.ek_fingerprint, remedy=_withdraw(one))
    if wanted.expires_at is not None and wanted.expires_at != one.expires_at:
        what = f"{one.ownership_id} is on record with another end"
        raise InvalidInput(what, field="--expires", value=f"{wanted.expires_at:%Y-%m-%d}", remedy=_withdraw(one))


def _withdraw(one: Ownership) -> str:
    if one.used_by is None:
        return f"`edge trust withdraw {one.ownership_id}` first"
    return f"`edge device decommission {one.used_by}` first: it came in on that"


def _rows(text: str, origin: str) -> Iterator[tuple[int, Mapping[str, str] | _Bad]]:
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    header = [name.strip() for name in lines[first].split(",")] if lines else []
    if "serial" in header:
        yield from _csv_rows(lines, first, header, origin)
        return
    for number, line in enumerate(lines, start=1):
        if "," in line:
            yield number, _Bad("row", line, "A row with commas needs a header that names serial, tenant or ek")
        elif line.strip():
            yield number, {"serial": line}


def _csv_rows(
    lines: Sequence[str], first: int, header: Sequence[str], origin: str
) -> Iterator[tuple[int, Mapping[str, str] | _Bad]]:
    """One line is one row: a serial number has no line ends, so a quote never goes on to the next line."""
    for name in header:
        if name not in COLUMNS or header.count(name) > 1:
            what = "The file has a column twice" if name in COLUMNS else "The file has a column that is not known"
            raise InvalidInput(what, file=origin, field=name[:_SHOWN], remedy=f"Columns are {', '.join(COLUMNS)}")
    for number, line in enumerate(lines[first + 1 :], start=first + 2):
        if not line.strip():
            continue
        try:
            (cells,) = csv.reader([line], strict=True)
        except (csv.Error, ValueError) as broken:
            yield number, _Bad("row", line, f"The row cannot be read: {broken}")
            continue
        if len(cells) != len(header):
            yield number, _Bad("row", line, f"The row has {len(cells)} cells, the header {len(header)}")
        else:
            yield number, dict(zip(header, cells, strict=True))
