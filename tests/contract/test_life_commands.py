"""`edge site expiring`, `edge device inventory` and `annotate`: what they say of a ledger, and what Azure is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge.cli import device, site
from edge.clients.arc_keys import new_key
from edge.lab.azure.options import AzureOptions
from edge.lab.ca import Authority
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.expiry import IdentityOutlook
from edge.model.firmware import Component, UpdateAttempt, UpdateOutcome
from edge.model.site import Site, SiteIdentity, SiteState
from edge.policy.arc_keys import public_key_of
from edge.policy.expiry import GONE
from tasks.expiry import ExpiryJob, plans, refresh
from tests.contract.test_arc_client import Azure

Edge = Callable[..., Result]
NOW, DAY = datetime.now(UTC), timedelta(days=1)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the commands open, too; there is no Prefect server."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("EDGE_LEDGER_URL", url)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with Ledger.open(url) as opened:
        yield opened


def connected_site(ledger: Ledger, name: str, arc_id: str = "") -> None:
    ledger.sites.put(Site(name=name, state=SiteState.CONNECTED, arc_id=arc_id or f"/subscriptions/s/{name}"))


@pytest.fixture
def fleet(ledger: Ledger) -> Ledger:
    """Four sites: in contact, dark for long, dark and expired, and one that was let go."""
    for name, dark, left in (("awake", 0, 80), ("dark", 60, 20), ("over", 95, -5), ("let-go", 60, 20)):
        connected_site(ledger, name)
        seen = {"expires_at": NOW + left * DAY, "last_connected_at": NOW - dark * DAY, "seen_at": NOW}
        state = "Offline" if dark else "Connected"
        ledger.identities.put(SiteIdentity.model_validate({"site": name, "connectivity": state, **seen}))
    ledger.sites.update("let-go", state=SiteState.DECOMMISSIONED)
    return ledger


def run(app: Any, *arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_sites_are_shown_with_the_day_by_which_to_go_there(fleet: Ledger) -> None:
    over, dark, awake = run(site.app, "expiring")
    assert [one["outlook"] for one in (over, dark, awake)] == ["expired", "will-expire-in-the-dark", "fine"]
    assert [one["site"] for one in (over, dark, awake)] == ["over", "dark", "awake"]
    assert datetime.fromisoformat(dark["visit_by"]) == NOW + 13 * DAY
    assert awake["visit_by"] is None
    assert [one["site"] for one in run(site.app, "expiring", "--within", "30d")] == ["over", "dark"]


def test_the_table_says_the_same(fleet: Ledger) -> None:
    shown = CliRunner().invoke(site.app, ["expiring"], env={"COLUMNS": "200"}).stdout
    assert "3 of 3 sites" in shown
    assert f"{NOW + 13 * DAY:%Y-%m-%d}" in shown


def test_a_time_that_is_none_is_refused(fleet: Ledger) -> None:
    assert CliRunner().invoke(site.app, ["expiring", "--within", "soon"]).exit_code == 2


def test_azure_is_asked_about_every_connected_site(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure = Azure(tmp_path / "azure", AzureOptions(provisioning_s=0.05, deleting_s=0.05, retry_after_s=0.05))
    for name, value in azure.app.facts(azure.url)["env"].items():
        monkeypatch.setenv(name, value)
    try:
        with azure.client() as arc:
            arc.put(azure.target(), public_key_of(new_key(2048)), {})
            connected_site(ledger, "site-0001", azure.target().resource_id.upper())
            connected_site(ledger, "site-gone", azure.target("site-gone").resource_id)
            assert refresh(ExpiryJob(ledger, arc)) == 2
    finally:
        azure.close()
    there, gone = ledger.identities.get("site-0001"), ledger.identities.get("site-gone")
    assert there is not None
    assert gone is not None
    assert there.connectivity != GONE
    assert gone.connectivity == GONE
    assert plans(ledger, NOW)[0].outlook is IdentityOutlook.EXPIRED


@pytest.fixture
def devices(ledger: Ledger, tmp_path: Path) -> Ledger:
    """A device that is in, with an update behind it, and one whose certificate cannot be read."""
    Authority.open(tmp_path / "maker", "Maker").device(tmp_path, "dev-1", "SN-1")
    facts = {"serial": "SN-1", "model": "mill", "hardware": {"ram": "8 GiB"}, "firmware": "1.0.0", "os": "5"}
    for name, certificate in (("dev-1", (tmp_path / "dev-1.crt").read_text()), ("dev-2", "none")):
        known = Registration(device_id=name, certificate=certificate, facts=DeviceFacts.model_validate(facts))
        ledger.devices.register(known, at=NOW - DAY)
        ledger.devices.move(name, DeviceState.CONNECTED)
    ledger.devices.touch("dev-1", NOW)
    done = {"component": Component.FIRMWARE, "version": "1.1.0", "outcome": UpdateOutcome.CONFIRMED, "at": NOW}
    ledger.firmware.record(UpdateAttempt.model_validate({"device_id": "dev-1", **done}))
    return ledger


def test_the_inventory_says_what_there_is_and_what_ends(devices: Ledger) -> None:
    until = (NOW + 10 * DAY).date()
    run(device.app, "annotate", "dev-1", "--vendor", "Acme", "--warranty-until", until.isoformat())
    run(device.app, "annotate", "dev-1", "--asset-tag", "A-7")
    first, second = run(device.app, "inventory")
    assert (first["vendor"], first["asset_tag"], first["warranty_until"]) == ("Acme", "A-7", until.isoformat())
    assert "ends in" in first["warranty"]
    assert first["hardware"] == {"architecture": "amd64", "ram": "8 GiB"}
    assert (first["firmware"], first["os"]) == ("1.1.0", "5"), "what an update confirmed is newer"
    assert datetime.fromisoformat(first["last_contact"]) == NOW
    assert (first["certificate_ends_soon"], second["certificate_ends_soon"]) == (False, True)
    assert [one["device"] for one in run(device.app, "inventory", "--expiring")] == ["dev-2"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("dev-1", "--warranty-until", "next year"), 2, id="no-day"),
        pytest.param(("nobody", "--vendor", "Acme"), 1, id="no-such-device"),
        pytest.param(("dev-1", "--note", "x" * 1001), 2, id="too-long"),
    ],
)
def test_a_note_that_cannot_be_kept_is_refused(devices: Ledger, arguments: tuple[str, ...], code: int) -> None:
    assert CliRunner().invoke(device.app, ["annotate", *arguments]).exit_code == code
    assert devices.inventory.list() == {}
