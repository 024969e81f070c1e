"""Each way to be bad, from the gateway's door to the record: refused with its own reason, and nothing lets it in later.

All devices are registered and onboarded once, at one ledger; each case then looks at its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks.admission import DeviceAdmission
from blocks.credentials import SiteCredentials
from edge.lab import belongings
from edge.lab.ca import Authority
from edge.lab.device import LabDevice, send
from edge.ledger import Ledger
from edge.model.device import Device, DeviceState
from edge.model.outcome import Outcome, Status
from edge.model.step import StepState
from edge.policy.onboarding import life_prefix
from edge.policy.revocation import read_crl
from edge.policy.tpm import quoted
from edge.policy.tpm_pcrs import as_reference
from tasks.onboarding import onboard_devices
from tasks.onboarding_job import OnboardingJob
from tests.bad_devices import BAD_WAYS, OTHER_TENANT, TENANT, Maker, events_of, refusal_of, registers
from tests.contract.served_gateway import Served, served

RULES = f"rules: [{{name: all, when: 'true', site: 'site-${{device.id}}', tenant: {TENANT}}}]"
GOOD, WITH_TPM, FIRST, SECOND = "dev-good", "dev-tpm", "dev-first", "dev-second"
IDS = {way: f"dev-{way.replace(' ', '-').replace(chr(39), '').lower()}" for way in BAD_WAYS}
_TRUSTED = {"trusted": "ca_file", "voucher_trusted": "voucher_ca_file", "tpm_trusted": "tpm_ca_file"}
AFTER_ADMISSION = {"connect", "baseline", "verify"}


def a_lab(folder: Path) -> dict[str, Any]:
    """What `edge lab up` would print of its manufacturer, with a certificate for each device."""
    made = {stem: Authority.open(folder / stem, f"{stem} of the lab") for stem in ("maker", "owners", "tpms")}
    files = {file: str(one.cert_file) for file, one in zip(_TRUSTED.values(), made.values(), strict=True)}
    for device_id in (*IDS.values(), GOOD, WITH_TPM, FIRST, SECOND):
        made["maker"].device(folder / "devices", device_id, f"SN-{device_id}")
    return {"manufacturer": {**files, "devices": f"{folder / 'devices'}", "vouchers": f"{folder / 'vouchers'}"}}


def site(device_id: str) -> dict[str, str]:
    return {"device_id": device_id, "serial": f"SN-{device_id}", "region": "here", "name": f"site-{device_id}"}


@dataclass(frozen=True)
class World:
    """A gateway with its ledger, and whom the operator trusts."""

    gateway: Served
    admission: DeviceAdmission
    folder: Path

    @property
    def ledger(self) -> Ledger:
        return self.gateway.ledger

    def onboard(self, *device_ids: str) -> list[Outcome]:
        """Let them in, as far as their clusters: nobody has a credential for these."""
        job = OnboardingJob(self.ledger, SiteCredentials(folder=self.folder), self.admission, None)
        with disable_run_logger():
            return onboard_devices.fn(job, device_ids)

    def steps(self, device: Device) -> Mapping[str, StepState]:
        found = self.ledger.steps.fleet(life_prefix(device))
        return {record.key.step: record.state for record in found if record.key.step != "attempt"}


def whom_to_trust(lab: Mapping[str, Any], boot: LabDevice) -> DeviceAdmission:
    """The lab's authorities, and the boot of this device as the only good one."""
    assert boot.tpm is not None
    boot.tpm.boot(belongings.BOOT)
    _, pcrs = quoted(boot.tpm.attest("a-nonce-of-nobody", activation=""))
    reference = as_reference("good", "", pcrs).model_dump_json()
    maker = lab["manufacturer"]
    texts = {field: Path(maker[file]).read_text() for field, file in _TRUSTED.items()}
    return DeviceAdmission(**texts, policy=f"bootReferences: [{reference}]", rules=RULES)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("refusals")
    lab = a_lab(folder / "lab")
    maker = Maker(lab, folder)
    attested = belongings.equipped(lab, site(WITH_TPM), tpm=True)
    first = belongings.equipped(lab, site(FIRST), tenant=TENANT)
    good = [belongings.equipped(lab, site(GOOD), tenant=TENANT), attested, first, maker.double(site(SECOND), first)]
    bad = {way: maker.device(site(device_id), way) for way, device_id in IDS.items()}
    with served(folder, max_body=1 << 20) as gateway, closing(gateway.client):
        made = World(gateway, whom_to_trust(lab, attested), folder)
        crl = read_crl(maker.revocation_list(), anchors=maker.anchors(), now=datetime.now(UTC))
        gateway.ledger.revocations.put_list(crl)
        for device in good:
            send(gateway.client, registers(gateway.client, device))
        for way, device in bad.items():
            send(gateway.client, events_of(maker, way)(gateway.client, device))
        made.onboard(*(device.device_id for device in good), *IDS.values())
        yield made


@pytest.mark.parametrize("way", BAD_WAYS)
def test_a_bad_device_is_quarantined_with_its_own_reason_and_stays_out(world: World, way: str) -> None:
    device = world.ledger.devices.get(IDS[way])
    assert (device.state, device.site, device.tenant) == (DeviceState.QUARANTINED, None, None)
    assert device.reason
    assert not AFTER_ADMISSION & world.steps(device).keys(), "no later step ran"
    assert StepState.DONE not in {state for step, state in world.steps(device).items() if step == "assign"}
    world.ledger.devices.move(device.device_id, DeviceState.REGISTERED)  # as `edge device retry` does
    (again,) = world.onboard(device.device_id)
    assert again.status is Status.QUARANTINED
    assert again.cause is not None
    assert (again.cause.code, again.cause.reason) == ("identity-refused", refusal_of(way))
    assert again.cause.remedy


@pytest.mark.parametrize("way", [way for way in BAD_WAYS if way != "voucher for another tenant"])
def test_a_bad_device_takes_nobodys_word_for_itself(world: World, way: str) -> None:
    assert not world.ledger.ownerships.of_serial(f"SN-{IDS[way]}")


def test_a_voucher_for_another_tenant_gives_the_device_to_no_one_else(world: World) -> None:
    device_id = IDS["voucher for another tenant"]
    (owned,) = world.ledger.ownerships.of_serial(f"SN-{device_id}")
    assert (owned.tenant, owned.used_by) == (OTHER_TENANT, device_id)


def test_only_good_devices_get_a_site(world: World) -> None:
    assert {one.name for one in world.ledger.sites.list()} == {f"site-{one}" for one in (GOOD, WITH_TPM, FIRST)}


def test_a_voucher_lets_in_one_device_and_not_a_second_one(world: World) -> None:
    (owned,) = world.ledger.ownerships.of_serial(f"SN-{FIRST}")
    assert (owned.used_by, owned.tenant) == (FIRST, TENANT)
    second = world.ledger.devices.get(SECOND)
    assert (second.state, second.site) == (DeviceState.QUARANTINED, None)
    world.ledger.devices.move(SECOND, DeviceState.REGISTERED)
    (again,) = world.onboard(SECOND)
    assert again.cause is not None
    assert again.cause.reason == "voucher-used"


@pytest.mark.parametrize("device_id", [GOOD, WITH_TPM, FIRST])
def test_a_good_device_passes_where_the_bad_ones_stop(world: World, device_id: str) -> None:
    device = world.ledger.devices.get(device_id)
    done = {step for step, state in world.steps(device).items() if state is StepState.DONE}
    assert {"identity", "assign"} <= done
    assert (device.state, device.site, device.tenant) == (DeviceState.FAILED, f"site-{device_id}", TENANT)
    assert "kubeconfig" in device.reason, "what it lacks is its cluster's"
