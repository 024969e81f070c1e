"""An operator's file of devices: read whole before anything is stored, with every bad row named.

CSV with a header, or JSON lines. `certificate` is PEM, or the name of a file beside this one; its text comes in as an
argument, since nothing here reads files.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson
from cryptography import x509
from pydantic import ValidationError

from edge.errors import EdgeError, InvalidInput
from edge.model.admission import Ownership, OwnershipKind
from edge.model.bulk import BadRow, ImportedDevice, ImportFile
from edge.model.device import Inventory, Registration

FACTS = ("serial", "model", "architecture", "location", "firmware", "os")
INVENTORY = ("vendor", "asset_tag", "purchased_on", "warranty_until", "note")
COLUMNS = ("device_id", "certificate", *FACTS, "tenant", *INVENTORY)
_HARDWARE = "hardware."
_SHOWN = 80

ReadFile = Callable[[str], str]
Row = Mapping[str, Any]


class _Bad(Exception):
    """A row's fault; it never leaves this file."""

    def __init__(self, field: str, value: object, fault: str) -> None:
        self.field = field
        self.value = "(not shown)" if "PRIVATE KEY" in str(value) else str(value)[:_SHOWN]
        self.fault = fault
        super().__init__(fault)


def read_import(text: str, *, origin: str, read_file: ReadFile, now: datetime, list_name: str) -> ImportFile:
    """Every row of the file, good and bad. `list_name` is what its rows' ownerships are known by.

    Raises InvalidInput when the file as a whole is no good: it is empty, or a column is not known.
    """
    good: list[ImportedDevice] = []
    bad: list[BadRow] = []
    seen: dict[tuple[str, str], int] = {}
    for line, row in _rows(text, origin):
        try:
            if isinstance(row, _Bad):
                raise row
            device = _device(line, row, read_file, now, list_name)
            _refuse_double(device, seen)
        except _Bad as fault:
            name = "" if isinstance(row, _Bad) else str(row.get("device_id") or "")[:_SHOWN]
            bad.append(BadRow(line=line, field=fault.field, value=fault.value, fault=fault.fault, device_id=name))
        else:
            good.append(device)
    if not good and not bad:
        raise InvalidInput("The file has no rows", file=origin)
    return ImportFile(good=tuple(good), bad=tuple(bad))


def _rows(text: str, origin: str) -> Iterator[tuple[int, Row | _Bad]]:
    return _json_rows(text) if text.lstrip().startswith("{") else _csv_rows(text, origin)


def _csv_rows(text: str, origin: str) -> Iterator[tuple[int, Row | _Bad]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    _check_header([name or "" for name in reader.fieldnames or ()], origin)
    line = reader.line_num + 1
    try:
        for row in reader:
            if None in row or None in row.values():
                yield line, _Bad("row", "", "The row has more or fewer cells than the header")
            else:
                yield line, {name: cell.strip() for name, cell in row.items() if cell.strip()}
            line = reader.line_num + 1
    except csv.Error as broken:
        yield line, _Bad("row", "", f"The row cannot be read, nor what follows: {broken}")


def _check_header(names: list[str], origin: str) -> None:
    for name in names:
        if name not in COLUMNS and not name.startswith(_HARDWARE):
            remedy = f"Columns are {', '.join(COLUMNS)} and {_HARDWARE}*"
            raise InvalidInput("The file has a column that is not known", file=origin, field=name, remedy=remedy)
    for name in ("device_id", "certificate", "serial"):
        if name not in names:
            raise InvalidInput("The file lacks a column", file=origin, field=name)
    if len(set(names)) < len(names):
        raise InvalidInput("The file has a column twice", file=origin, field=", ".join(names))


def _json_rows(text: str) -> Iterator[tuple[int, Row | _Bad]]:
    for line, said in enumerate(text.splitlines(), start=1):
        if not said.strip():
            continue
        try:
            found = orjson.loads(said)
        except orjson.JSONDecodeError as broken:
            yield line, _Bad("row", "", f"The line is no JSON: {broken}")
            continue
        yield line, _flat(found) if isinstance(found, dict) else _Bad("row", said, "The line is no JSON object")


def _flat(found: dict[str, Any]) -> Row | _Bad:
    """`hardware` may be an object of its own, or `hardware.*` beside the rest."""
    hardware = found.pop("hardware", {})
    if not isinstance(hardware, dict):
        return _Bad("hardware", hardware, "This is no JSON object")
    row = {name: value for name, value in {**found, **{_HARDWARE + key: hardware[key] for key in hardware}}.items()}
    for name, value in row.items():
        if name not in COLUMNS and not name.startswith(_HARDWARE):
            return _Bad(name, value, "This field is not known")
        if not isinstance(value, str | None):
            return _Bad(name, value, "This is no text")
    return {name: value.strip() for name, value in row.items() if value}


def _device(line: int, row: Row, read_file: ReadFile, now: datetime, list_name: str) -> ImportedDevice:
    facts = {name: row[name] for name in FACTS if name in row}
    hardware = {name.removeprefix(_HARDWARE): row[name] for name in row if name.startswith(_HARDWARE)}
    certificate = _certificate(row, read_file)
    said = {"device_id": row.get("device_id", ""), "certificate": certificate}
    told = {**facts, **({"hardware": hardware} if hardware else {})}
    try:
        registration = Registration.model_validate({**said, "facts": told})
        ownership = _ownership(row, now, list_name)
        inventory = _inventory(row)
    except ValidationError as error:
        raise _first(error, row) from error
    return ImportedDevice(line=line, registration=registration, ownership=ownership, inventory=inventory)


def _certificate(row: Row, read_file: ReadFile) -> str:
    said = str(row.get("certificate", ""))
    if not said:
        raise _Bad("certificate", "", "A device needs its certificate")
    text = said if "-----BEGIN" in said else _beside(said, read_file)
    if "PRIVATE KEY" in text:
        raise _Bad("certificate", said, "There is a private key in it: a key that was shown is no secret any more")
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError as broken:
        raise _Bad("certificate", said, "There is no certificate in it that can be read") from broken
    return text


def _beside(name: str, read_file: ReadFile) -> str:
    try:
        return read_file(name)
    except EdgeError as missing:
        raise _Bad("certificate", name, missing.what) from missing


def _ownership(row: Row, now: datetime, list_name: str) -> Ownership | None:
    if "tenant" not in row:
        return None
    serial = row.get("serial", "")
    return Ownership(
        ownership_id=f"list:{list_name}:{serial}",
        serial=serial,
        tenant=row["tenant"],
        kind=OwnershipKind.LIST,
        issuer=list_name,
        created_at=now,
    )


def _inventory(row: Row) -> Inventory | None:
    told = {name: row[name] for name in INVENTORY if name in row}
    return Inventory.model_validate({"device_id": row["device_id"], **told}) if told else None


def _first(error: ValidationError, row: Row) -> _Bad:
    fault: Any = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in fault["loc"] if part != "facts")
    return _Bad(field, row.get(field, fault.get("input")), re.sub(r"^String", "This text", str(fault["msg"])))


def _refuse_double(device: ImportedDevice, seen: dict[tuple[str, str], int]) -> None:
    registration = device.registration
    for field, value in (("device_id", registration.device_id), ("serial", registration.facts.serial)):
        first = seen.setdefault((field, value), device.line)
        if first != device.line:
            raise _Bad(field, value, f"Line {first} has it too")
