"""A device's lives, its updates, its place, and what is known of it and of its site's identity."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from edge.errors import LedgerMismatch, NotFound, WriteConflict
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Inventory, Registration, Reservation
from edge.model.firmware import Component, UpdateAttempt, UpdateOutcome
from edge.model.site import Site, SiteIdentity
from edge.model.step import StepKey
from edge.policy.proof import claim_key

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFIRMED, FELL_BACK, FAILED = UpdateOutcome.CONFIRMED, UpdateOutcome.FELL_BACK, UpdateOutcome.FAILED


def registration(certificate: str = "old", device: str = "dev-1") -> Registration:
    return Registration(device_id=device, certificate=certificate, facts=DeviceFacts(serial="SN-1"))


@pytest.fixture
def connected(ledger: Ledger) -> Ledger:
    """A ledger with one device at its site."""
    ledger.sites.put(Site(name="s1", tenant="factory"))
    ledger.devices.register(registration(), at=AT)
    ledger.devices.move("dev-1", DeviceState.CONNECTED, site="s1", tenant="factory")
    return ledger


def actions(ledger: Ledger) -> list[str]:
    return [entry.action for entry in ledger.audit.entries()]


def attempt(version: str, outcome: UpdateOutcome, hours: int = 0, **changes: object) -> UpdateAttempt:
    fields = {"device_id": "dev-1", "component": "os", "version": version, "outcome": outcome, "at": AT + hours * HOUR}
    return UpdateAttempt.model_validate({**fields, **changes})


def reservation(device: str = "dev-2", site: str = "s1") -> Reservation:
    return Reservation(device_id=device, site=site, replaces="dev-1", made_at=AT)


def test_a_device_begins_anew_at_its_place(connected: Ledger) -> None:
    device = connected.devices.begin_anew("dev-1", reason="reset by its owner")
    assert (device.generation, device.state) == (2, DeviceState.REGISTERED)
    assert (device.site, device.tenant) == ("s1", "factory")
    last = connected.audit.entries()[-1]
    assert last.action == "device.begun-anew"
    assert last.detail == {"from": "connected", "generation": 2, "reason": "reset by its owner"}


def test_a_life_that_is_named_ends_once(connected: Ledger) -> None:
    for _ in range(2):
        assert connected.devices.begin_anew("dev-1", reason="reset", generation=1).generation == 2
    assert connected.devices.begin_anew("dev-1", reason="reset", generation=2).generation == 3


def test_a_released_device_belongs_to_nobody(connected: Ledger) -> None:
    for _ in range(2):
        device = connected.devices.release("dev-1", state=DeviceState.DECOMMISSIONED, reason="sold")
    assert (device.site, device.tenant, device.state) == (None, None, DeviceState.DECOMMISSIONED)
    assert connected.devices.of_site("s1") is None
    assert actions(connected).count("device.released") == 1
    assert connected.audit.entries()[-1].detail["tenant"] == "factory"


def test_a_release_that_ends_a_life_ends_it_once(connected: Ledger) -> None:
    for _ in range(2):
        device = connected.devices.release("dev-1", state=DeviceState.DECOMMISSIONED, ends=1)
        assert (device.generation, device.site) == (2, None)


def test_a_renewed_device_keeps_its_state_and_settles_the_claim(connected: Ledger) -> None:
    new = registration("new")
    connected.devices.register(new, at=AT + HOUR)
    assert len(connected.devices.claims("dev-1")) == 1
    for _ in range(2):
        device = connected.devices.renew("dev-1", new, at=AT + HOUR)
    assert (device.registration, device.registered_at) == (new, AT + HOUR)
    assert (device.state, device.site) == (DeviceState.CONNECTED, "s1")
    assert connected.devices.claims("dev-1") == ()
    assert actions(connected).count("device.renewed") == 1


LEAVING = [DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED]


@pytest.mark.parametrize("state", LEAVING)
def test_a_device_that_began_to_leave_meanwhile_neither_begins_anew_nor_is_renewed(
    connected: Ledger, state: DeviceState
) -> None:
    before = connected.devices.move("dev-1", state)
    with pytest.raises(WriteConflict):
        connected.devices.begin_anew("dev-1", reason="reset", generation=before.generation)
    with pytest.raises(WriteConflict):
        connected.devices.renew("dev-1", registration("new"), at=AT + HOUR)
    assert connected.devices.get("dev-1") == before


def test_of_two_renewals_on_the_word_of_one_key_the_first_counts(connected: Ledger) -> None:
    old = claim_key(registration())
    first = connected.devices.renew("dev-1", registration("new"), at=AT + HOUR, instead_of=old)
    assert connected.devices.renew("dev-1", registration("new"), at=AT + HOUR, instead_of=old) == first
    with pytest.raises(WriteConflict, match="another key by now"):
        connected.devices.renew("dev-1", registration("other"), at=AT + HOUR, instead_of=old)


@pytest.mark.parametrize(
    ("states", "found"),
    [
        pytest.param(None, ["a", "b", "c"], id="any"),
        pytest.param([DeviceState.FAILED, DeviceState.REGISTERED], ["a", "c"], id="two"),
        pytest.param([], [], id="none"),
    ],
)
def test_devices_are_found_by_any_of_several_states(
    ledger: Ledger, states: list[DeviceState] | None, found: list[str]
) -> None:
    for name, state in (("a", "registered"), ("b", "connected"), ("c", "failed")):
        ledger.devices.register(registration(device=name), at=AT)
        ledger.devices.move(name, DeviceState(state))
    assert [device.device_id for device in ledger.devices.list(states=states)] == found


def test_what_is_known_of_a_device_comes_back_and_changes_are_on_the_trail(ledger: Ledger) -> None:
    item = Inventory(device_id="dev-1", vendor="Maker", warranty_until=date(2028, 1, 31))
    assert ledger.inventory.get("dev-1") == Inventory(device_id="dev-1")
    for _ in range(2):
        assert ledger.inventory.put(item) == item
    ledger.inventory.put(item.model_copy(update={"note": "spare"}))
    assert ledger.inventory.list() == {"dev-1": item.model_copy(update={"note": "spare"})}
    assert [entry.detail for entry in ledger.audit.entries()] == [
        {"vendor": "Maker", "warranty_until": "2028-01-31"},
        {"note": "spare"},
    ]


def test_a_place_is_kept_used_and_given_up(connected: Ledger) -> None:
    assert connected.reservations.of("dev-2") is None
    for _ in range(2):
        connected.reservations.put(reservation())
    used = connected.reservations.use("dev-2", at=AT + HOUR)
    assert used == reservation().model_copy(update={"used_at": AT + HOUR})
    assert connected.reservations.use("dev-2", at=AT + 2 * HOUR) == used
    assert connected.reservations.drop("dev-2")
    assert not connected.reservations.drop("dev-2")
    assert actions(connected)[-3:] == ["reservation.made", "reservation.used", "reservation.dropped"]


def test_a_place_is_kept_for_one_device_at_a_time(connected: Ledger) -> None:
    connected.reservations.put(reservation())
    with pytest.raises(LedgerMismatch):
        connected.reservations.put(reservation("dev-3"))
    connected.reservations.use("dev-2", at=AT)
    assert connected.reservations.put(reservation("dev-3")) == reservation("dev-3")


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda ledger: ledger.reservations.put(reservation(site="s9")), id="reserve-at-no-site"),
        pytest.param(lambda ledger: ledger.reservations.use("dev-9", at=AT), id="use-nothing"),
        pytest.param(lambda ledger: ledger.identities.put(SiteIdentity(site="s9", seen_at=AT)), id="identity"),
        pytest.param(lambda ledger: ledger.devices.begin_anew("dev-9", reason=""), id="begin-anew"),
        pytest.param(lambda ledger: ledger.devices.release("dev-9", state=DeviceState.FAILED), id="release"),
        pytest.param(lambda ledger: ledger.devices.renew("dev-9", registration(), at=AT), id="renew"),
        pytest.param(lambda ledger: ledger.ownerships.end("v9", at=AT), id="end-an-ownership"),
    ],
)
def test_what_is_not_there_is_not_found(connected: Ledger, act: object) -> None:
    before = connected.audit.verify()
    with pytest.raises(NotFound):
        act(connected)  # type: ignore[operator] - a function from the table
    assert connected.audit.verify() == before


@pytest.mark.parametrize(
    ("tries", "failed", "confirmed"),
    [
        pytest.param([], set(), {}, id="none"),
        pytest.param([attempt("2", FELL_BACK)], {"2"}, {}, id="fell-back"),
        pytest.param([attempt("2", FAILED)], {"2"}, {}, id="failed"),
        pytest.param([attempt("2", FELL_BACK), attempt("2", CONFIRMED, 1)], set(), {"dev-1": "2"}, id="worked-later"),
        pytest.param([attempt("2", FELL_BACK, 1), attempt("2", CONFIRMED)], {"2"}, {"dev-1": "2"}, id="failed-later"),
        pytest.param([attempt("3", CONFIRMED, 1), attempt("2", CONFIRMED)], set(), {"dev-1": "3"}, id="the-last"),
        pytest.param([attempt("2", FAILED, component="firmware")], set(), {}, id="another-component"),
        pytest.param([attempt("2", FELL_BACK, device_id="dev-2")], set(), {}, id="another-device"),
    ],
)
def test_what_failed_on_a_device_and_what_it_runs_is_known(
    ledger: Ledger, tries: list[UpdateAttempt], failed: set[str], confirmed: dict[str, str]
) -> None:
    for _ in range(2):
        for made in tries:
            ledger.firmware.record(made)
    assert ledger.firmware.failed_versions("dev-1", Component.OS) == failed
    assert ledger.firmware.confirmed(Component.OS) == confirmed
    assert actions(ledger) == ["update.ended"] * len(tries)


def test_tries_come_back_oldest_first_and_keep_their_end(ledger: Ledger) -> None:
    later, first = attempt("3", CONFIRMED, 1, from_version="1", reason="good"), attempt("2", FELL_BACK)
    ledger.firmware.record(later)
    ledger.firmware.record(first)
    assert ledger.firmware.attempts("dev-1") == (first, later)
    with pytest.raises(LedgerMismatch):
        ledger.firmware.record(attempt("2", CONFIRMED))


def test_only_something_newer_replaces_what_was_seen_of_an_identity(connected: Ledger) -> None:
    seen = SiteIdentity(site="s1", expires_at=AT + 90 * 24 * HOUR, connectivity="Connected", seen_at=AT)
    newer = seen.model_copy(update={"connectivity": "Offline", "seen_at": AT + HOUR})
    before = connected.audit.verify()
    assert connected.identities.get("s1") is None
    assert connected.identities.put(seen) == seen
    assert connected.identities.put(newer) == newer
    assert connected.identities.put(seen) == newer
    assert connected.identities.get("s1") == newer
    assert connected.identities.list() == (newer,)
    assert connected.audit.verify() == before


def test_a_site_remembers_its_stamp_and_where_azure_has_it(ledger: Ledger) -> None:
    site = Site(name="s1", stamp="line@1.0.0", arc_resource_group="plants", arc_location="westeurope")
    ledger.sites.put(site)
    assert ledger.sites.get("s1") == site


def test_steps_are_read_over_the_whole_fleet(ledger: Ledger) -> None:
    for work in ("onboard:dev-1", "onboard:dev-2", "onboard_dev-3", "rollout:r1"):
        ledger.steps.once(StepKey(work=work, subject="s", step="apply"), dict)
    found = ledger.steps.fleet("onboard:")
    assert [record.key.work for record in found] == ["onboard:dev-1", "onboard:dev-2"]
    assert ledger.steps.fleet("onboard:", since=found[1].started_at) == found[1:]
    assert [record.key.work for record in ledger.steps.fleet("onboard_")] == ["onboard_dev-3"]
