"""`edge trust`, `edge device claims` and `adopt`, `edge lab revoke`: who is believed afterwards, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge.cli.main import app
from edge.lab.belongings import voucher
from edge.lab.ca import Authority
from edge.lab.device import LabDevice
from edge.ledger import Ledger
from edge.model.admission import Challenge, Ownership, OwnershipKind
from edge.model.device import DeviceState, Origin, Registration
from edge.policy.allowing import state_of
from edge.policy.identity import key_fingerprint

Edge = Callable[..., Result]
Said = Callable[..., Any]
AT = datetime.now(UTC) - timedelta(minutes=1)
EK = "ab" * 32


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture
def edge(url: str, lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs a command without a Prefect server, with the lab's manufacturer trusted."""
    for name, value in {
        "EDGE_HOME": str(tmp_path),
        "EDGE_LEDGER_URL": url,
        "EDGE_TRUST": lab.manufacturer.ca_file,
        "EDGE_VOUCHER_TRUST": lab.manufacturer.voucher_ca_file,
        "EDGE_TPM_TRUST": lab.manufacturer.tpm_ca_file,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def said(edge: Edge) -> Said:
    """What a command that must end well says as JSON."""

    def run(*arguments: object) -> Any:
        done = edge(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


@pytest.fixture
def refused(edge: Edge) -> Callable[..., dict[str, Any]]:
    """The error of a command that must end with this exit code."""

    def run(exit_code: int, *arguments: object) -> dict[str, Any]:
        done = edge(*arguments, "--json")
        assert (done.exit_code, done.stdout) == (exit_code, ""), done.output
        found: dict[str, Any] = json.loads(done.stderr)
        return found

    return run


@pytest.fixture
def maker(tmp_path: Path) -> Authority:
    """A manufacturer of the test's own, whose lists may say anything."""
    return Authority.open(tmp_path / "maker", "Maker")


@pytest.fixture
def two_keys(lab: Any, ledger: Ledger, tmp_path: Path) -> tuple[Registration, Registration]:
    """One id under two keys, both certified by the maker: an operator's file, and a device that proves its key."""
    own = LabDevice("dev-0001", Path(lab.manufacturer.devices) / "dev-0001")
    authority = Authority.open(Path(lab.manufacturer.ca_file).with_suffix(""), "")
    authority.device(tmp_path, "dev-0001", own.facts.serial)
    other = LabDevice("dev-0001", tmp_path / "dev-0001")
    ledger.devices.register(own.registration(), at=AT, via=Origin.IMPORT)
    now = datetime.now(UTC)
    given = ledger.challenges.issue(
        Challenge(
            nonce="0123456789abcdef0123", device_id="dev-0001", issued_at=now, expires_at=now + timedelta(hours=1)
        )
    )
    proven = other.registration({"nonce": given.nonce})
    ledger.devices.register(proven, at=now, received_at=now)
    return own.registration(), proven


def states(ledger: Ledger, serial: str) -> list[tuple[str, str]]:
    """Tenant and state of every ownership of a serial number."""
    known = ledger.ownerships.of_serial(serial)
    return [(one.tenant, state_of(one, known, now=datetime.now(UTC)).value) for one in known]


def test_trust_is_shown_with_what_is_missing(edge: Edge, said: Said, lab: Any) -> None:
    shown = said("trust", "show")
    assert [anchor["for"] for anchor in shown["anchors"]] == ["devices", "vouchers", "TPMs"]
    assert shown["policy"]["proof"] == "except-imports"
    assert shown["issuers_without_list"] == ["CN=Edge Lab Manufacturer CA,O=Edge Lab"]
    drawn = edge("trust", "show")
    assert drawn.exit_code == 0
    assert "none on record" in drawn.stdout


def test_a_serial_number_is_allowed_once(said: Said, ledger: Ledger) -> None:
    (first,) = said("trust", "allow", "SN-1", "--tenant", "acme", "--expires", "2099-12-31", "--ek", EK.upper())
    (again,) = said("trust", "allow", "SN-1", "--tenant", "acme")
    assert (first["verdict"], again["verdict"]) == ("recorded", "on record already")
    assert again["ownership_id"] == first["ownership_id"]
    assert (first["ek_fingerprint"], first["expires_at"]) == (EK, "2099-12-31T23:59:59Z")
    assert states(ledger, "SN-1") == [("acme", "free")]


@pytest.mark.parametrize(
    ("text", "serials"),
    [
        pytest.param("SN-1\n\nSN-2\r\n", ["SN-1", "SN-2"], id="one-a-line"),
        pytest.param(f'\ufeffserial,tenant,ek\nSN-1,,{EK}\n"SN-2",acme,\n', ["SN-1", "SN-2"], id="csv"),
    ],
)
def test_a_file_of_serial_numbers_is_allowed(
    said: Said, ledger: Ledger, tmp_path: Path, text: str, serials: list[str]
) -> None:
    file = tmp_path / "spring.csv"
    file.write_text(text, newline="")
    rows = said("trust", "allow", file, "--tenant", "acme", "--list", "spring")
    assert [row["ownership_id"] for row in rows] == [f"list:spring:{serial}" for serial in serials]
    assert [row["verdict"] for row in said("trust", "allow", file, "--tenant", "acme")] == ["on record already"] * 2
    assert [one.serial for one in ledger.ownerships.list(tenant="acme")] == serials


def test_every_bad_row_is_named_and_nothing_is_recorded(
    refused: Any, said: Said, ledger: Ledger, tmp_path: Path
) -> None:
    said("trust", "allow", "SN-7", "--tenant", "acme")
    file = tmp_path / "spring.csv"
    file.write_text(
        "serial,tenant,ek\nSN-1,acme,\nSN-2,Bad Name,\nSN-1,acme,\nSN-3,acme,zz\nSN-7,other,\n,acme,\nSN-8\n"
    )
    error = refused(2, "trust", "allow", file)
    bad = [(row["line"], row["field"]) for row in json.loads(error["where"]["rows"])]
    assert bad == [(3, "tenant"), (4, "serial"), (5, "ek"), (6, "tenant"), (7, "serial"), (8, "row")]
    assert error["where"]["file"] == str(file)
    assert [one.serial for one in ledger.ownerships.list()] == ["SN-7"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        pytest.param(["SN-1"], "tenant", id="no-tenant"),
        pytest.param(["SN-1", "--tenant", "Not A Label"], "tenant", id="tenant"),
        pytest.param(["SN-1", "--tenant", "acme", "--expires", "2001-01-01"], "--expires", id="past"),
        pytest.param(["SN-1", "--tenant", "acme", "--expires", "soon"], "--expires", id="no-day"),
        pytest.param(["SN-1", "--tenant", "acme", "--ek", "abc"], "ek", id="ek"),
        pytest.param(["SN-1", "--tenant", "acme", "--list", "a:b"], "--list", id="list"),
        pytest.param(["./absent.csv", "--tenant", "acme"], None, id="no-such-file"),
        pytest.param(["x" * 200, "--tenant", "acme"], "serial", id="long-serial"),
    ],
)
def test_a_wrong_allowance_is_refused_by_its_field(
    refused: Any, ledger: Ledger, arguments: list[str], field: str | None
) -> None:
    error = refused(2, "trust", "allow", *arguments)
    assert error["where"].get("field") == field
    assert ledger.ownerships.list() == ()


def test_a_voucher_is_recorded_and_a_tampered_one_keeps_the_others_out(
    edge: Edge, said: Said, refused: Any, lab: Any, ledger: Ledger, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.jws", tmp_path / "bad.jws"
    text = voucher(lab.said, "dev-0002", serial="SN-2", tenant="acme")
    good.write_text(text + "\n")
    head, content, signature = text.split(".")
    bad.write_text(f"{head}.{content[:-4]}AAAA.{signature}")
    error = refused(2, "trust", "voucher", good, bad)
    assert (error["where"]["file"], error["where"]["reason"]) == (str(bad), "voucher-invalid")
    assert ledger.ownerships.list() == ()
    assert [row["verdict"] for row in said("trust", "voucher", good, good)] == ["recorded"]
    assert [row["verdict"] for row in said("trust", "voucher", good)] == ["on record already"]
    assert states(ledger, "SN-2") == [("acme", "free")]


def test_owners_are_shown_with_their_state(edge: Edge, said: Said, ledger: Ledger) -> None:
    common = {"tenant": "acme", "kind": OwnershipKind.LIST, "created_at": AT}
    for name in ("free", "used", "ended", "expired"):
        over = AT + timedelta(seconds=1) if name == "expired" else None
        ledger.ownerships.record(Ownership(ownership_id=name, serial=f"SN-{name}", expires_at=over, **common))
    ledger.ownerships.use("used", device_id="dev-9", generation=1, at=AT)
    ledger.ownerships.end("ended", at=AT)
    shown = {one["ownership_id"]: one["state"] for one in said("trust", "owners", "--tenant", "acme")}
    assert shown == {name: name for name in ("free", "used", "ended", "expired")}
    assert [one["serial"] for one in said("trust", "owners", "--serial", "SN-used")] == ["SN-used"]
    assert "used by dev-9" in edge("trust", "owners").stdout


def test_who_withdraws_an_ownership_is_told_what_falls_with_it(
    edge: Edge, said: Said, refused: Any, ledger: Ledger
) -> None:
    older = Ownership(ownership_id="older", serial="SN-1", tenant="acme", kind=OwnershipKind.LIST, created_at=AT)
    ledger.ownerships.record(older)
    ledger.ownerships.record(
        older.model_copy(update={"ownership_id": "newer", "created_at": AT + timedelta(seconds=9)})
    )
    ledger.ownerships.use("newer", device_id="dev-9", generation=1, at=AT)
    told = said("trust", "withdraw", "newer")
    assert (told["state"], told["also_too_old"]) == ("ended", ["older"])
    assert states(ledger, "SN-1") == [("acme", "too-old"), ("acme", "ended")]
    assert "already" in edge("trust", "withdraw", "newer").stdout
    assert refused(1, "trust", "withdraw", "nothing")["code"] == "not-found"
    (anew,) = said("trust", "allow", "SN-1", "--tenant", "acme")
    assert anew["state"] == "free"


def test_a_revocation_list_is_kept_when_it_is_newer(
    edge: Edge, said: Said, maker: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_TRUST", str(maker.cert_file))
    old, new = tmp_path / "old.crl", tmp_path / "new.crl"
    maker.revoke(old, [])
    maker.revoke(new, [7])
    assert said("trust", "crl", new)["verdict"] == "kept"
    assert said("trust", "crl", new)["verdict"] == "same"
    older = edge("trust", "crl", old, "--json")
    assert (older.exit_code, json.loads(older.stdout)["verdict"]) == (1, "older")
    (shown,) = said("trust", "show")["revocation_lists"]
    assert (shown["revoked"], shown["state"]) == (1, "current")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"nothing", id="no-list"),
        pytest.param(b"\x30\x82\xff", id="binary"),
        pytest.param(None, id="other"),
    ],
)
def test_a_list_that_is_not_believed_is_named(
    refused: Any, ledger: Ledger, maker: Authority, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "other.crl"
    maker.revoke(file, [])
    if content is not None:
        file.write_bytes(content)
    error = refused(2, "trust", "crl", file)
    assert error["where"]["file"] == str(file)
    assert error["remedy"]
    assert ledger.revocations.lists() == ()


def test_the_labs_maker_revokes_a_device_and_the_platform_believes_it(
    said: Said, refused: Any, lab: Any, ledger: Ledger
) -> None:
    for name in ("dev-0003", "dev-0004"):
        device = LabDevice(name, Path(lab.manufacturer.devices) / name)
        ledger.devices.register(device.registration(), at=AT, via=Origin.IMPORT)
    assert said("device", "claims", "dev-0003")["claims"][0]["verdict"] == "yes"
    first = said("lab", "revoke", "dev-0003", "--state", lab.state)
    second = said("lab", "revoke", "dev-0004", "--state", lab.state)
    assert second["certificates"] == first["certificates"] + 1
    assert said("trust", "crl", second["file"])["verdict"] == "kept"
    for name in ("dev-0003", "dev-0004"):
        assert said("device", "claims", name)["claims"][0]["verdict"].startswith("no (revoked)")
    assert refused(2, "lab", "revoke", "dev-none", "--state", lab.state)["where"]["value"] == "dev-none"


def test_a_connected_device_whose_key_is_revoked_is_said_to_stay(
    edge: Edge, said: Said, refused: Any, lab: Any, ledger: Ledger
) -> None:
    device = LabDevice("dev-0002", Path(lab.manufacturer.devices) / "dev-0002").registration()
    ledger.devices.register(device, at=AT)
    ledger.devices.move("dev-0002", DeviceState.CONNECTED)
    done = edge("trust", "revoke-key", "dev-0002", "--reason", "stolen [/b]")
    assert done.exit_code == 0, done.output
    assert "stays connected" in done.stdout
    assert "edge device decommission dev-0002" in done.stdout
    assert ledger.revocations.revoked([key_fingerprint(device)])
    again = said("trust", "revoke-key", "dev-0002", "--reason", "another")
    assert (again["new"], again["reason"]) == (False, "stolen [/b]")
    assert said("trust", "show")["revoked_keys"][0]["device_id"] == "dev-0002"
    assert said("trust", "restore-key", "dev-0002")["restored"]
    assert ledger.revocations.keys() == ()
    assert refused(1, "trust", "restore-key", "dev-0002")["code"] == "not-found"
    assert refused(2, "trust", "revoke-key", "dev-0002", "--reason", " ")["where"]["field"] == "--reason"


def test_a_contested_id_is_shown_adopted_and_settled(
    edge: Edge, said: Said, ledger: Ledger, two_keys: tuple[Registration, Registration]
) -> None:
    own, other = (key_fingerprint(one) for one in two_keys)
    shown = said("device", "claims", "dev-0001")["claims"]
    assert [(one["fingerprint"], one["proven"], one["via"], one["verdict"]) for one in shown] == [
        (own, False, "import", "yes"),
        (other, True, "event", "yes"),
    ]
    assert "Edge Lab Manufacturer CA" in shown[1]["issuer"]
    told = said("device", "adopt", "dev-0001", other[:12], "--yes")
    assert told["rivals"] == [f"unproven:{own}"]
    assert key_fingerprint(ledger.devices.get("dev-0001").registration) == other
    said("trust", "revoke-key", "dev-0001", "--key", own[:16], "--reason", "a copy")
    settled = said("device", "claims", "dev-0001")["claims"]
    assert [one["verdict"][:12] for one in settled] == ["yes", "no (revoked)"]


def test_nothing_is_adopted_without_a_yes_nor_a_key_that_nobody_claimed(
    edge: Edge, refused: Any, ledger: Ledger, two_keys: tuple[Registration, Registration]
) -> None:
    own, other = (key_fingerprint(one) for one in two_keys)
    asked = CliRunner().invoke(app, ["device", "adopt", "dev-0001", other], input="n\n")
    assert asked.exit_code == 1
    assert refused(1, "device", "adopt", "dev-0001", "f" * 64, "--yes")["code"] == "not-found"
    assert refused(2, "device", "adopt", "dev-0001", other[:4], "--yes")["where"]["field"] == "key"
    ledger.devices.move("dev-0001", DeviceState.CONNECTED)
    error = refused(1, "device", "adopt", "dev-0001", other, "--yes")
    assert "edge device decommission" in error["remedy"]
    assert key_fingerprint(ledger.devices.get("dev-0001").registration) == own
