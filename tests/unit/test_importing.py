"""A file of devices: every bad row is named, whatever it is that is wrong with it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from edge.errors import InvalidInput, NotFound
from edge.model.bulk import ImportFile
from edge.policy.importing import read_import

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
_KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev")])
PEM = (
    x509.CertificateBuilder(_NAME, _NAME, _KEY.public_key(), 1, NOW, NOW + timedelta(days=1))
    .sign(_KEY, hashes.SHA256())
    .public_bytes(Encoding.PEM)
    .decode()
)
PRIVATE = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
FILES = {"dev.crt": PEM, "both.pem": PRIVATE + PEM, "noise.crt": "noise"}
HEADER = "device_id,certificate,serial,model,architecture,location,hardware.gpu,tenant,asset_tag,warranty_until\n"


def read_file(name: str) -> str:
    if name not in FILES:
        raise NotFound("There is no such file", file=name)
    return FILES[name]


def read(text: str) -> ImportFile:
    return read_import(text, origin="devices.csv", read_file=read_file, now=NOW, list_name="spring")


def row(device: str = "dev-1", certificate: str = "dev.crt", serial: str = "", rest: str = ",,,,,,,") -> str:
    return f"{device},{certificate},{serial or device}{rest}\n"


def test_a_row_becomes_registration_owner_and_inventory() -> None:
    found = read(HEADER + row(rest=",m1,arm64,emea,yes,acme,A-7,2029-01-31"))
    assert found.bad == ()
    (device,) = found.good
    assert device.line == 2
    facts = device.registration.facts
    assert (facts.model, facts.architecture, facts.location, facts.hardware) == ("m1", "arm64", "emea", {"gpu": "yes"})
    assert device.registration.certificate == PEM
    assert device.ownership is not None
    assert (device.ownership.serial, device.ownership.tenant, device.ownership.issuer) == ("dev-1", "acme", "spring")
    assert device.inventory is not None
    assert (device.inventory.asset_tag, device.inventory.warranty_until) == ("A-7", date(2029, 1, 31))


def test_a_row_that_tells_no_owner_and_no_inventory_has_none() -> None:
    (device,) = read(HEADER + row()).good
    assert (device.ownership, device.inventory) == (None, None)


@pytest.mark.parametrize("hardware", [{"hardware": {"gpu": "yes"}}, {"hardware.gpu": "yes"}], ids=["nested", "dotted"])
def test_json_lines_say_the_same(hardware: dict[str, Any]) -> None:
    said = {"device_id": "dev-1", "certificate": PEM, "serial": "s", **hardware}
    (device,) = read(f"{json.dumps(said)}\n\n").good
    assert device.registration.facts.hardware == {"gpu": "yes"}


def test_a_certificate_may_stand_in_the_row() -> None:
    (device,) = read(HEADER + row(certificate=f'"{PEM}"')).good
    assert device.registration.certificate == PEM.strip()


@pytest.mark.parametrize(
    ("line", "field", "value", "fault"),
    [
        pytest.param(row(device="no spaces"), "device_id", "no spaces", "match", id="device-id"),
        pytest.param(row(device="", serial="s"), "device_id", "", "", id="no-device-id"),
        pytest.param(row(certificate=""), "certificate", "", "needs its certificate", id="no-certificate"),
        pytest.param(row(certificate="away.crt"), "certificate", "away.crt", "no such file", id="file-away"),
        pytest.param(row(certificate="noise.crt"), "certificate", "noise.crt", "can be read", id="no-pem"),
        pytest.param(row(certificate="both.pem"), "certificate", "both.pem", "private key", id="private-key-in-file"),
        pytest.param(row(certificate=f'"{PRIVATE}"'), "certificate", "(not shown)", "private key", id="private-key"),
        pytest.param(row(rest=",,sparc,,,,,"), "architecture", "sparc", "match", id="architecture"),
        pytest.param(row(rest=",,,,,No_Tenant,,"), "tenant", "No_Tenant", "match", id="tenant"),
        pytest.param(row(rest=",,,,,,,soon"), "warranty_until", "soon", "date", id="warranty"),
        pytest.param("dev-1,dev.crt\n", "row", "", "fewer cells", id="short-row"),
        pytest.param(row(rest=",,,,,,,,,,,"), "row", "", "more or fewer", id="long-row"),
    ],
)
def test_a_bad_row_is_named_by_line_field_and_value(line: str, field: str, value: str, fault: str) -> None:
    found = read(HEADER + row("dev-0") + line + row("dev-9"))
    assert [device.registration.device_id for device in found.good] == ["dev-0", "dev-9"]
    (bad,) = found.bad
    assert (bad.field, bad.value, bad.line) == (field, value, 3)
    assert fault in bad.fault


def test_a_private_key_is_shown_nowhere() -> None:
    found = read(HEADER + row(certificate=f'"{PRIVATE}"'))
    assert PRIVATE.splitlines()[1] not in found.model_dump_json()


@pytest.mark.parametrize(
    ("second", "field"),
    [
        pytest.param(row("dev-1", serial="other"), "device_id", id="device"),
        pytest.param(row("dev-2", serial="dev-1"), "serial", id="serial"),
    ],
)
def test_what_stands_twice_in_a_file_is_bad_the_second_time(second: str, field: str) -> None:
    found = read(HEADER + row("dev-1") + second)
    assert [(bad.line, bad.field, bad.fault) for bad in found.bad] == [(3, field, "Line 2 has it too")]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        pytest.param("device_id,certificate,serial,colour\n", "colour", id="unknown-column"),
        pytest.param("device_id,serial\n", "certificate", id="column-missing"),
        pytest.param("device_id,certificate,serial,serial\n", "device_id, certificate, serial, serial", id="twice"),
    ],
)
def test_a_header_that_is_no_good_ends_the_import(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(text + "x,y,z,w\n")
    assert refused.value.where["field"] == field


@pytest.mark.parametrize("text", ["", HEADER], ids=["nothing", "header-alone"])
def test_an_empty_file_is_no_good(text: str) -> None:
    with pytest.raises(InvalidInput):
        read(text)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        pytest.param("{no json", "row", id="no-json"),
        pytest.param('{"device_id": 7}', "device_id", id="number"),
        pytest.param('{"colour": "red"}', "colour", id="unknown-field"),
        pytest.param('{"hardware": "red"}', "hardware", id="hardware-is-no-object"),
    ],
)
def test_a_bad_line_of_json_is_named(line: str, field: str) -> None:
    good = json.dumps({"device_id": "dev-1", "certificate": PEM, "serial": "s"})
    found = read(f"{good}\n{line}\n")
    assert [(bad.line, bad.field) for bad in found.bad] == [(2, field)]
    assert len(found.good) == 1


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    found = read(HEADER + row("dev-1", certificate=f'"{PEM}"') + row(device="no spaces"))
    assert [bad.line for bad in found.bad] == [2 + len(PEM.splitlines()) + 1]
