"""Tenants, sites and devices on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import IdentityRefused, InvalidInput, LedgerMismatch, NotFound, WriteConflict
from edge.ledger import Ledger
from edge.ledger.registering import MAX_CLAIMS
from edge.model.device import DeviceFacts, DeviceState, Origin, Registration
from edge.model.site import Site, SiteState, Tenant

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
LATER = AT + timedelta(hours=1)


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certificate(name: str, issue: int) -> str:
    """The `issue`-th certificate for the key called `name`."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dev-1")])
    builder = x509.CertificateBuilder(subject, subject, key(name).public_key(), issue, AT, LATER)
    return builder.sign(key(name), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def registration(name: str = "own", issue: int = 1, **facts: str) -> Registration:
    facts_given = DeviceFacts.model_validate({"serial": "SN-1", **facts})
    return Registration(device_id="dev-1", certificate=certificate(name, issue), facts=facts_given)


def actions(ledger: Ledger) -> list[str]:
    return [entry.action for entry in ledger.audit.entries()]


def test_a_tenant_is_made_once(ledger: Ledger) -> None:
    assert ledger.tenants.ensure("factory", "The factory") == Tenant(name="factory", display_name="The factory")
    assert ledger.tenants.ensure("factory").display_name == "The factory"
    assert ledger.tenants.list() == (Tenant(name="factory", display_name="The factory"),)
    assert actions(ledger) == ["tenant.added"]


def test_a_site_comes_back_as_it_was_put(ledger: Ledger) -> None:
    site = Site(name="s1", tenant="factory", region="emea", labels={"line": "a"}, time_zone="Europe/Berlin")
    ledger.sites.put(site)
    assert ledger.sites.get("s1") == site
    assert [tenant.name for tenant in ledger.tenants.list()] == ["factory"]


def test_the_same_site_again_changes_nothing(ledger: Ledger) -> None:
    ledger.sites.put(Site(name="s1"))
    before = ledger.audit.verify()
    ledger.sites.put(Site(name="s1"))
    assert ledger.audit.verify() == before


def test_another_tenant_cannot_take_a_sites_name(ledger: Ledger) -> None:
    ledger.sites.put(Site(name="s1", tenant="one"))
    with pytest.raises(LedgerMismatch):
        ledger.sites.put(Site(name="s1", tenant="two"))
    assert ledger.sites.get("s1").tenant == "one"
    assert [tenant.name for tenant in ledger.tenants.list()] == ["one"]


def test_an_unknown_site_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.sites.get("nowhere")
    with pytest.raises(NotFound):
        ledger.sites.update("nowhere", region="emea")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param({}, ["s1", "s2", "s3"], id="all"),
        pytest.param({"tenant": "two"}, ["s3"], id="tenant"),
        pytest.param({"region": "emea"}, ["s1", "s3"], id="region"),
        pytest.param({"labels": {"line": "a"}}, ["s1", "s2"], id="label"),
        pytest.param({"labels": {"line": "a", "hall": "9"}}, ["s2"], id="two-labels"),
        pytest.param({"state": SiteState.CONNECTED}, ["s2"], id="state"),
        pytest.param({"region": "emea", "labels": {"hall": "9"}}, [], id="nothing"),
    ],
)
def test_sites_are_found_by_all_that_is_asked(ledger: Ledger, asked: dict[str, object], found: list[str]) -> None:
    ledger.sites.put(Site(name="s2", region="apac", labels={"line": "a", "hall": "9"}, state=SiteState.CONNECTED))
    ledger.sites.put(Site(name="s1", region="emea", labels={"line": "a"}))
    ledger.sites.put(Site(name="s3", tenant="two", region="emea"))
    assert [site.name for site in ledger.sites.list(**asked)] == found  # type: ignore[arg-type] - keywords from a table


def test_a_change_of_a_site_is_on_the_audit_trail(ledger: Ledger) -> None:
    ledger.sites.put(Site(name="s1"))
    ledger.sites.update("s1", state=SiteState.CONNECTED, arc_id="/subscriptions/1")
    assert ledger.sites.get("s1").state is SiteState.CONNECTED
    last = ledger.audit.entries()[-1]
    assert (last.action, last.subject) == ("site.changed", "s1")
    assert last.detail == {"state": "connected", "arc_id": "/subscriptions/1"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"name": "s2"}, "name", id="name"),
        pytest.param({"tenant": "other"}, "tenant", id="tenant"),
        pytest.param({"colour": "red"}, "colour", id="unknown"),
        pytest.param({"state": "lost"}, "state", id="not-a-state"),
    ],
)
def test_a_change_that_a_site_cannot_have_is_refused(ledger: Ledger, changes: dict[str, str], field: str) -> None:
    ledger.sites.put(Site(name="s1"))
    with pytest.raises(InvalidInput) as refused:
        ledger.sites.update("s1", **changes)
    assert refused.value.where["field"] == field
    assert ledger.sites.get("s1") == Site(name="s1")


def test_a_new_device_is_registered(ledger: Ledger) -> None:
    device = ledger.devices.register(registration(), at=AT)
    assert device.state is DeviceState.REGISTERED
    assert device.registered_at == AT
    assert ledger.devices.get("dev-1") == device
    assert ledger.devices.list() == (device,)
    assert actions(ledger) == ["device.registered"]


def test_a_newer_registration_with_the_same_key_replaces_the_facts_and_keeps_the_state(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    ledger.devices.move("dev-1", DeviceState.FAILED, reason="no network")
    newer = registration(issue=2, location="hall 9")
    device = ledger.devices.register(newer, at=LATER)
    assert (device.registration, device.registered_at) == (newer, LATER)
    assert (device.state, device.reason) == (DeviceState.FAILED, "no network")


def test_a_quarantined_device_that_registers_anew_is_looked_at_again(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    ledger.devices.move("dev-1", DeviceState.QUARANTINED, reason="expired")
    assert ledger.devices.register(registration(), at=AT).state is DeviceState.QUARANTINED
    device = ledger.devices.register(registration(issue=2), at=LATER)
    assert (device.state, device.reason) == (DeviceState.REGISTERED, "")
    assert actions(ledger)[-2:] == ["device.moved", "device.registered-again"]


def test_a_claim_makes_a_quarantined_device_be_looked_at_again_once(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    for at, state in ((LATER, DeviceState.REGISTERED), (LATER, DeviceState.QUARANTINED), (AT, DeviceState.QUARANTINED)):
        ledger.devices.move("dev-1", DeviceState.QUARANTINED, reason="foreign certificate")
        assert ledger.devices.register(registration("rival"), at=at).state is state
    later = LATER + timedelta(hours=1)
    assert ledger.devices.register(registration("rival", issue=2), at=later).state is DeviceState.REGISTERED
    (claim,) = ledger.devices.claims("dev-1")
    assert claim.registration == registration("rival", issue=2)


def test_an_older_registration_changes_nothing(ledger: Ledger) -> None:
    newest = ledger.devices.register(registration(location="hall 9"), at=LATER)
    assert ledger.devices.register(registration(location="hall 1"), at=AT) == newest
    assert actions(ledger) == ["device.registered"]


def test_another_key_never_replaces_the_one_on_record(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    rival = registration("rival")
    answer = ledger.devices.register(rival, at=LATER)
    ledger.devices.register(rival, at=LATER + timedelta(hours=1))
    assert answer.registration == registration()
    (claim,) = ledger.devices.claims("dev-1")
    assert claim.registration == rival
    assert (claim.first_at, claim.last_at) == (LATER, LATER + timedelta(hours=1))
    assert actions(ledger) == ["device.registered", "device.claimed"]


def test_a_certificate_that_cannot_be_read_is_only_another_claim(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    garbage = Registration(device_id="dev-1", certificate="garbage", facts=DeviceFacts(serial="SN-1"))
    assert ledger.devices.register(garbage, at=LATER).registration == registration()
    assert ledger.devices.claims("dev-1")[0].key.startswith("unreadable:")


def test_the_newest_claims_are_kept_and_there_is_an_end_to_them(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    ledger.devices.register(registration("rival"), at=LATER)
    for number in range(2 * MAX_CLAIMS):
        garbage = Registration(device_id="dev-1", certificate=f"{number}", facts=DeviceFacts(serial="SN-1"))
        ledger.devices.register(garbage, at=LATER + timedelta(seconds=number))
    kept = [claim.registration.certificate for claim in ledger.devices.claims("dev-1")]
    assert kept == [f"{number}" for number in range(MAX_CLAIMS, 2 * MAX_CLAIMS)]
    ledger.devices.register(registration("rival"), at=LATER + timedelta(hours=1))
    assert ledger.devices.claims("dev-1")[-1].registration == registration("rival"), "who asks again is heard"


def test_an_operators_word_is_not_replaced_by_who_proves_nothing(ledger: Ledger) -> None:
    imported = ledger.devices.register(registration(), at=AT, via=Origin.IMPORT)
    assert ledger.devices.register(registration(location="elsewhere"), at=LATER) == imported
    assert ledger.devices.claims("dev-1") == ()
    again = ledger.devices.register(registration(location="hall 2"), at=LATER, via=Origin.IMPORT)
    assert (again.registration.facts.location, again.via) == ("hall 2", Origin.IMPORT)


def test_a_claim_can_be_adopted_and_the_old_key_becomes_the_claim(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    ledger.devices.move("dev-1", DeviceState.QUARANTINED, reason="foreign certificate")
    ledger.devices.register(registration("rival"), at=LATER)
    (claim,) = ledger.devices.claims("dev-1")
    device = ledger.devices.adopt("dev-1", claim.key)
    assert device.registration == registration("rival")
    assert (device.state, device.reason) == (DeviceState.REGISTERED, "")
    assert [old.registration for old in ledger.devices.claims("dev-1")] == [registration()]


def test_a_connected_device_keeps_its_key(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    ledger.devices.register(registration("rival"), at=LATER)
    ledger.devices.move("dev-1", DeviceState.CONNECTED)
    with pytest.raises(IdentityRefused):
        ledger.devices.adopt("dev-1", ledger.devices.claims("dev-1")[0].key)
    with pytest.raises(NotFound):
        ledger.devices.adopt("dev-1", "0" * 64)


def test_a_device_moves_to_its_site(ledger: Ledger) -> None:
    ledger.sites.put(Site(name="s1", tenant="factory"))
    ledger.devices.register(registration(), at=AT)
    ledger.devices.move("dev-1", DeviceState.ONBOARDING, site="s1", tenant="factory")
    device = ledger.devices.move("dev-1", DeviceState.CONNECTED)
    assert (device.site, device.tenant) == ("s1", "factory")
    assert ledger.devices.of_site("s1") == device
    assert ledger.devices.of_site("s2") is None
    assert ledger.devices.list(state=DeviceState.ONBOARDING) == ()
    assert ledger.devices.list(tenant="factory") == (device,)


def test_a_move_from_an_unexpected_state_is_refused(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    with pytest.raises(WriteConflict) as refused:
        ledger.devices.move("dev-1", DeviceState.CONNECTED, expected=[DeviceState.ONBOARDING])
    assert refused.value.where["state"] == "registered"
    assert ledger.devices.get("dev-1").state is DeviceState.REGISTERED
    assert actions(ledger) == ["device.registered"]


def test_a_move_to_an_unknown_site_changes_nothing(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    with pytest.raises(NotFound):
        ledger.devices.move("dev-1", DeviceState.ONBOARDING, site="nowhere", tenant="new")
    assert ledger.devices.get("dev-1").state is DeviceState.REGISTERED
    assert ledger.tenants.list() == ()


def test_the_last_contact_never_goes_back(ledger: Ledger) -> None:
    ledger.devices.register(registration(), at=AT)
    assert ledger.devices.touch("dev-1", LATER)
    assert ledger.devices.touch("dev-1", AT)
    assert ledger.devices.get("dev-1").last_contact == LATER
    assert not ledger.devices.touch("stranger", AT)
