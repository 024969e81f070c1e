"""Devices come in by the front door: a registration at the gateway starts the run that lets them in, or does not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.admission import DeviceAdmission
from deployments.local.demo import register
from edge.clients.arc import ArcClient
from edge.clients.helm import agents_found
from edge.errors import NotFound
from edge.lab.ca import Authority
from edge.ledger import Ledger
from edge.model.arc import AgentsOnCluster, ArcTarget
from edge.model.device import DeviceState
from edge.model.kube import ObjectRef
from edge.model.outcome import Status
from edge.model.step import StepState
from edge.policy.arc_agents import AGENT_NAMESPACE, KEY_FIELD, KEY_SECRET
from edge.policy.arc_keys import public_key_of
from edge.policy.baseline import baseline_faults, baseline_objects
from edge.policy.onboarding import onboarding_work

ENDED = {DeviceState.CONNECTED, DeviceState.QUARANTINED, DeviceState.FAILED}
STEPS = ["identity", "assign", "connect", "baseline", "verify"]
GOOD, FAULTY, FOREIGN, UNPLACED = "dev-0001", "dev-0002", "dev-0003", "dev-0999"
BASELINE = DeviceAdmission().site_baseline()
AZURES_WORDS = "The lab's quota of connected clusters is used up."


def entry(platform: Any, device: str) -> dict[str, Any]:
    """The device as the lab describes it."""
    return next(dict(site) for site in platform.addresses.lab["sites"] if site["device_id"] == device)


def given_another_certificate(platform: Any, maker: Authority, device: str, folder: Path) -> Any:
    """The platform's addresses, with this device's certificate issued by `maker`."""
    maker.device(folder, device, "0815")
    lab = {**platform.addresses.lab, "manufacturer": {"devices": str(folder)}}
    return platform.addresses.model_copy(update={"lab": lab})


@pytest.fixture(scope="module")
def ended(platform: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Four devices have registered: one in order, one whose resource Azure fails, one of a foreign maker, and one that
    says it stands where nobody has a rule for."""
    folder = tmp_path_factory.mktemp("devices")
    foreign = given_another_certificate(platform, Authority.open(folder / "foreign", "Foreign"), FOREIGN, folder)
    known = Authority.open(Path(platform.addresses.lab["manufacturer"]["ca_file"]).with_suffix(""), "Lab")
    unplaced = given_another_certificate(platform, known, UNPLACED, folder)
    fault = {"kind": "fail", "path": "*/connectedClusters/site-0002", "code": "QuotaExceeded", "message": AZURES_WORDS}
    platform.lab.ask("POST", "/lab/azure/faults", fault)
    register(platform.addresses, [entry(platform, GOOD), entry(platform, FAULTY)])
    register(foreign, [entry(platform, FOREIGN)])
    register(unplaced, [{"device_id": UNPLACED, "region": "moon"}])
    with Ledger.open(platform.addresses.ledger_url) as ledger:
        yield ledger


@pytest.fixture
def settled(ended: Ledger, until: Any) -> Ledger:
    """The ledger when none of the four is on its way any more."""
    devices = (GOOD, FAULTY, FOREIGN, UNPLACED)
    until(lambda: all(ended.devices.get(device).state in ENDED for device in devices), "the four devices have ended")
    return ended


def target(platform: Any, site: str) -> ArcTarget:
    azure = platform.addresses.lab["azure"]
    return ArcTarget(
        subscription_id=azure["subscription_id"],
        resource_group=azure["resource_group"],
        name=site,
        location=azure["location"],
    )


def private_key(client: Any) -> str:
    """The agents' private key, from the cluster, where it belongs."""
    ref = ObjectRef(api_version="v1", kind="Secret", name=KEY_SECRET, namespace=AGENT_NAMESPACE)
    return base64.b64decode(client.get(ref)["data"][KEY_FIELD]).decode()


def check_untouched(client: Any, arc: ArcClient, place: ArcTarget) -> None:
    """Neither agents nor baseline on the cluster, and no resource in Azure."""
    names = {space["metadata"]["name"] for space in client.list("v1", "Namespace")}
    assert not {name for name in names if name.startswith(("tenant-", "azure-arc"))}
    assert agents_found(client).state is AgentsOnCluster.ABSENT
    assert arc.get(place) is None


def test_a_registered_device_gets_azure_agents_and_baseline(
    platform: Any, settled: Ledger, site_of: Any, arc: ArcClient
) -> None:
    device = settled.devices.get(GOOD)
    assert (device.state, device.site, device.tenant) == (DeviceState.CONNECTED, "site-0001", "factory"), device.reason
    site, client = settled.sites.get("site-0001"), site_of("site-0001")
    resource = arc.get(target(platform, "site-0001"))
    assert resource is not None
    assert (resource.resource_id.lower(), resource.connectivity) == ((site.arc_id or "").lower(), "Connected")
    agents = agents_found(client)
    assert (agents.state, agents.public_key) == (AgentsOnCluster.PRESENT, resource.public_key)
    assert public_key_of(private_key(client)) == resource.public_key
    wanted = baseline_objects(site, BASELINE)
    assert baseline_faults(wanted, [client.get(ObjectRef.of(obj)) for obj in wanted]) == []


def test_the_run_was_started_by_the_trigger(settled: Ledger, prefect: Any) -> None:
    runs = [run for run in prefect.runs("onboard-device") if GOOD in run["parameters"]["devices"]]
    assert {run["created_by"]["type"] for run in runs} == {"AUTOMATION"}
    assert all(run["parameters"]["batch"] for run in runs)


def test_each_step_of_an_onboarding_is_remembered(settled: Ledger) -> None:
    records = settled.steps.records(onboarding_work(settled.devices.get(GOOD)))
    assert [record.key.step for record in sorted(records, key=lambda record: record.started_at)] == STEPS
    assert {(record.state, record.tries) for record in records} == {(StepState.DONE, 1)}


def test_the_private_key_is_nowhere_but_on_the_cluster(platform: Any, settled: Ledger, site_of: Any) -> None:
    pem = private_key(site_of("site-0001"))
    parts = [line for line in pem.splitlines() if not line.startswith("-")]
    parts += [base64.b64encode(pem.encode()).decode()[start : start + 64] for start in (400, 1200)]
    assert len(parts) > 20
    lab = Path(platform.addresses.lab["state"])
    files = [file for file in platform.home.rglob("*") if file.is_file() and lab not in file.parents]
    assert {"ledger.db", "prefect.db", "worker.log", "gateway.log"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        assert not [part for part in parts if part.encode() in content], file


@pytest.mark.parametrize(
    ("device", "words", "identity"),
    [
        pytest.param(FOREIGN, "is not trusted", StepState.FAILED, id="foreign-manufacturer"),
        pytest.param(UNPLACED, "reason no-rule", StepState.DONE, id="no-rule"),
    ],
)
def test_a_device_that_may_not_come_in_is_quarantined_with_the_reason(
    settled: Ledger, device: str, words: str, identity: StepState
) -> None:
    found = settled.devices.get(device)
    assert (found.state, found.site) == (DeviceState.QUARANTINED, None)
    assert words in found.reason
    steps = {record.key.step: record.state for record in settled.steps.records(onboarding_work(found))}
    assert steps == {"identity": identity}, "no step runs after the refusal"


def test_a_refused_device_leaves_its_cluster_and_azure_alone(
    platform: Any, settled: Ledger, site_of: Any, arc: ArcClient
) -> None:
    check_untouched(site_of("site-0003"), arc, target(platform, "site-0003"))
    with pytest.raises(NotFound):
        settled.sites.get("site-0999")


def test_a_failure_of_azure_is_told_undone_and_mended_by_the_next_run(
    platform: Any, settled: Ledger, site_of: Any, arc: ArcClient, prefect: Any, until: Any
) -> None:
    client, place = site_of("site-0002"), target(platform, "site-0002")
    failed = settled.devices.get(FAULTY)
    assert failed.state is DeviceState.FAILED
    assert AZURES_WORDS in failed.reason
    check_untouched(client, arc, place)
    run = prefect.start("onboard-device", {"devices": [FAULTY]})
    until(lambda: settled.devices.get(FAULTY).state in ENDED - {DeviceState.FAILED}, "the second run lets it in")
    assert settled.devices.get(FAULTY).state is DeviceState.CONNECTED
    resource = arc.get(place)
    assert resource is not None
    assert agents_found(client).public_key == resource.public_key
    tries = {record.key.step: record.tries for record in settled.steps.records(onboarding_work(failed))}
    assert tries == {step: 2 if step == "connect" else 1 for step in STEPS}
    state = until(lambda: _final(prefect.ask("GET", f"/flow_runs/{run}")), "the run has ended")
    assert state["type"] == "COMPLETED"
    assert str(Status.SUCCEEDED) in state["message"]


def test_the_same_registration_again_changes_nothing(
    platform: Any, settled: Ledger, site_of: Any, arc: ArcClient, prefect: Any, until: Any
) -> None:
    def seen() -> list[object]:
        site, client = settled.sites.get("site-0001"), site_of("site-0001")
        wanted = baseline_objects(site, BASELINE)
        versions = [client.get(ObjectRef.of(obj))["metadata"]["resourceVersion"] for obj in wanted]
        steps = settled.steps.records(onboarding_work(settled.devices.get(GOOD)))
        resource = arc.get(target(platform, "site-0001"))
        assert resource is not None
        still = resource.model_copy(update={"last_connected": None})  # which moves whenever somebody looks
        return [site, versions, steps, private_key(client), still]

    until(lambda: all(_final(run) for run in prefect.runs("onboard-device")), "earlier runs have ended")
    before, known = seen(), {run["id"] for run in prefect.runs("onboard-device")}
    register(platform.addresses, [entry(platform, GOOD)])
    fresh = until(
        lambda: [run for run in prefect.runs("onboard-device") if run["id"] not in known],
        "the registration starts a run",
    )
    state = until(lambda: _final(prefect.ask("GET", f"/flow_runs/{fresh[0]['id']}")), "the run has ended")
    assert state["type"] == "COMPLETED", state["message"]
    assert seen() == before


def _final(run: dict[str, Any]) -> dict[str, Any] | None:
    """The state of a run that has ended."""
    state: dict[str, Any] = run["state"]
    return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None
