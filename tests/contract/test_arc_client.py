"""The Arc client against the pretend Azure, in this process, on a real TLS port."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from edge.clients.arc import ArcClient
from edge.clients.arc_connection import ArcPatience
from edge.clients.arc_keys import new_key
from edge.clients.azure_identity import default_credential
from edge.clients.retry import RetryPolicy
from edge.errors import (
    CredentialRejected,
    NotFound,
    NotYet,
    OperationFailed,
    Rejected,
    ServerFault,
    SiteSilent,
    SiteUnreachable,
    Throttled,
    WriteConflict,
)
from edge.lab.azure.agents import AgentsSeen
from edge.lab.azure.app import AzureApp
from edge.lab.azure.faults import AzureFault
from edge.lab.azure.options import AzureOptions
from edge.lab.ca import Authority
from edge.model.arc import ArcTarget, ClusterPlatform
from edge.policy.arc import public_key_of

KUBECONFIG = "apiVersion: v1\nkind: Config\n"
QUICK = RetryPolicy(attempts=3, within_s=20.0, first_s=0.01, longest_s=0.05)


@dataclass
class Clock:
    """Real time, moved forward by `ahead`."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Azure:
    """A pretend Azure that listens, and clients for it."""

    def __init__(self, folder: Path, options: AzureOptions) -> None:
        self.clock = Clock()
        self.folder = folder
        self.agents: AgentsSeen | None = None
        self.options = replace(options, agents=lambda _site: self.agents)
        authority = Authority.open(folder / "ca", "Test CA")
        self.ca_file = str(folder / "ca.crt")
        self._tls = authority.server(folder / "server")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self.start()

    def start(self) -> None:
        self.app = AzureApp(self.clock, self._kubeconfig, self.folder, self.options)
        cert, key = map(str, self._tls)
        config = uvicorn.Config(
            self.app,
            ssl_certfile=cert,
            ssl_keyfile=key,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self._socket.dup()],))
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        gc.collect()  # azure-core's errors are reference cycles that hold on to connections
        self.server.should_exit = True
        self.thread.join()
        self.app.close()

    def close(self) -> None:
        self.stop()
        self._socket.close()

    def _kubeconfig(self, name: str) -> str:
        if name != "site-0001":
            raise KeyError(name)
        return KUBECONFIG

    def client(self, **patience: Any) -> ArcClient:
        return ArcClient(
            self.url,
            self.options.subscription_id,
            default_credential(self.ca_file),
            self.ca_file,
            ArcPatience(**{"retry": QUICK, **patience}),
        )

    def target(self, name: str = "site-0001", group: str = "edge") -> ArcTarget:
        return ArcTarget(
            subscription_id=self.options.subscription_id, resource_group=group, name=name, location="westeurope"
        )

    def trouble(self, kind: str, **more: Any) -> None:
        self.app.faults.add(AzureFault.model_validate({"kind": kind, **more}))


@pytest.fixture(scope="module")
def key() -> str:
    return public_key_of(new_key(2048))


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    server = Azure(tmp_path, AzureOptions(provisioning_s=0.1, deleting_s=0.05, retry_after_s=0.12, page_size=3))
    for name, value in server.app.facts(server.url)["env"].items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture
def arc(azure: Azure) -> Iterator[ArcClient]:
    with azure.client() as client:
        yield client


def test_a_cluster_that_is_not_there_is_none(azure: Azure, arc: ArcClient) -> None:
    assert arc.get(azure.target()) is None
    assert arc.get(azure.target(group="no-such-group")) is None


def test_a_put_waits_until_azure_is_done_and_tells_progress(azure: Azure, arc: ArcClient, key: str) -> None:
    told: list[str] = []
    platform = ClusterPlatform(distribution="k3s", infrastructure="generic")
    cluster = arc.put(
        azure.target(), key, {"site": "one"}, platform=platform, progress=lambda _s, state: told.append(state)
    )
    assert (cluster.provisioning_state, cluster.connectivity) == ("Succeeded", "Connecting")
    assert cluster.public_key == key
    assert cluster.tags == {"site": "one"}
    assert cluster.resource_id == azure.target().resource_id
    assert told
    assert arc.get(azure.target()) == cluster


def test_a_put_with_the_registered_key_is_an_update(azure: Azure, arc: ArcClient, key: str) -> None:
    arc.put(azure.target(), key, {})
    assert arc.put(azure.target(), key, {"now": "tagged"}).tags == {"now": "tagged"}


def test_a_put_that_changes_nothing_starts_no_operation(azure: Azure, arc: ArcClient, key: str) -> None:
    azure.agents = AgentsSeen(azure.target().resource_id, key, ready=True)
    before = arc.put(azure.target(), key, {"a": "b"})
    azure.trouble("fail")
    assert arc.put(azure.target(), key, {"a": "b"}).tags == before.tags


def test_a_put_with_another_key_is_a_conflict(azure: Azure, arc: ArcClient, key: str) -> None:
    arc.put(azure.target(), key, {})
    with pytest.raises(WriteConflict, match="AgentPublicKeyConflict"):
        arc.put(azure.target(), public_key_of(new_key(2048)), {})


def test_a_delete_waits_until_the_cluster_is_gone_and_may_be_repeated(azure: Azure, arc: ArcClient, key: str) -> None:
    arc.put(azure.target(), key, {})
    arc.delete(azure.target())
    assert arc.get(azure.target()) is None
    arc.delete(azure.target())


def test_a_list_goes_over_all_its_pages(azure: Azure, arc: ArcClient, key: str) -> None:
    names = [f"site-{number:04}" for number in range(7)]
    arc.ensure_group("other", "westeurope")
    for name in names:
        arc.put(azure.target(name), key, {})
    arc.put(azure.target("elsewhere", group="other"), key, {})
    in_group = [cluster.resource_id.rpartition("/")[2] for cluster in arc.list("edge")]
    assert in_group == names
    assert len(list(arc.list())) == 8


def test_the_user_credential_is_the_sites_kubeconfig(azure: Azure, arc: ArcClient, key: str) -> None:
    arc.put(azure.target(), key, {})
    assert arc.user_credential(azure.target()) == KUBECONFIG


def test_a_credential_for_a_cluster_that_does_not_exist_is_not_found(azure: Azure, arc: ArcClient) -> None:
    with pytest.raises(NotFound, match="ResourceNotFound"):
        arc.user_credential(azure.target())


def test_a_cluster_is_connected_when_its_own_agents_run(azure: Azure, arc: ArcClient, key: str) -> None:
    arc.put(azure.target(), key, {})
    with pytest.raises(NotYet, match="have not called in"):
        arc.wait_connected(azure.target(), within_s=0.2, every_s=0.1)
    azure.agents = AgentsSeen(azure.target().resource_id, key, ready=True, agent_version="1.31.0")
    cluster = arc.wait_connected(azure.target(), within_s=5)
    assert cluster.agent_version == "1.31.0"
    assert cluster.certificate_expires is not None


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param({"public_key": "another"}, id="another key"),
        pytest.param({"resource_id": "/another"}, id="another resource"),
        pytest.param({"ready": False}, id="not all ready"),
    ],
)
def test_agents_that_are_not_its_own_do_not_connect_a_cluster(
    azure: Azure, arc: ArcClient, key: str, strange: dict[str, Any]
) -> None:
    azure.agents = replace(AgentsSeen(azure.target().resource_id, key, ready=True), **strange)
    assert arc.put(azure.target(), key, {}).connectivity == "Connecting"


def test_a_cluster_goes_offline_and_its_identity_expires_in_the_dark(azure: Azure, arc: ArcClient, key: str) -> None:
    azure.agents = AgentsSeen(azure.target().resource_id, key, ready=True)
    assert arc.put(azure.target(), key, {}).connectivity == "Connected"
    azure.agents = None
    azure.clock.ahead = timedelta(minutes=20)
    assert getattr(arc.get(azure.target()), "connectivity", "") == "Offline"
    azure.clock.ahead = timedelta(days=91)
    with pytest.raises(OperationFailed, match="expired"):
        arc.wait_connected(azure.target(), within_s=5)


def test_the_identity_is_renewed_between_day_46_and_day_90(azure: Azure, arc: ArcClient, key: str) -> None:
    azure.agents = AgentsSeen(azure.target().resource_id, key, ready=True)
    first = arc.put(azure.target(), key, {}).certificate_expires
    azure.clock.ahead = timedelta(days=45)
    assert getattr(arc.get(azure.target()), "certificate_expires", None) == first
    azure.clock.ahead = timedelta(days=47)
    renewed = getattr(arc.get(azure.target()), "certificate_expires", None)
    assert first is not None
    assert renewed is not None
    assert renewed - first >= timedelta(days=46)


def test_a_failed_operation_carries_azures_code_and_message(azure: Azure, arc: ArcClient, key: str) -> None:
    azure.trouble("fail", code="AgentRegistrationFailed", message="No capacity in this region.")
    with pytest.raises(OperationFailed, match=r"AgentRegistrationFailed: No capacity in this region\.") as caught:
        arc.put(azure.target(), key, {})
    assert caught.value.where["azure_code"] == "AgentRegistrationFailed"
    assert caught.value.where["resource"] == azure.target().resource_id
    assert getattr(arc.get(azure.target()), "provisioning_state", "") == "Failed"


def test_an_operation_that_does_not_end_in_time_is_not_yet(azure: Azure, key: str) -> None:
    with azure.client(operation_s=0.05) as arc, pytest.raises(NotYet, match="has not ended"):
        arc.put(azure.target(), key, {})


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 429, "code": "TooManyRequests", "retry_after": 0}, id="429"),
        pytest.param({"status": 503, "code": "ServiceUnavailable"}, id="503"),
    ],
)
def test_a_short_trouble_is_tried_again(azure: Azure, arc: ArcClient, key: str, fault: dict[str, Any]) -> None:
    azure.trouble("refuse", times=2, **fault)
    assert arc.put(azure.target(), key, {}).provisioning_state == "Succeeded"
    assert azure.app.faults.all() == []


def test_trouble_while_polling_is_tried_again(azure: Azure, arc: ArcClient, key: str) -> None:
    azure.trouble("refuse", method="GET", path="*/operationStatuses/*", times=2, status=500)
    assert arc.put(azure.target(), key, {}).provisioning_state == "Succeeded"
    assert azure.app.faults.all() == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"status": 429}, Throttled, id="429"),
        pytest.param({"status": 500}, ServerFault, id="500"),
    ],
)
def test_lasting_trouble_is_transient_and_was_tried_three_times(
    azure: Azure, key: str, fault: dict[str, Any], error: type[Exception]
) -> None:
    azure.trouble("refuse", times=100, method="GET", path="*/connectedClusters/*", retry_after=0, **fault)
    with azure.client() as arc, pytest.raises(error):
        arc.get(azure.target())
    assert azure.app.faults.all()[0].times == 97


def test_throttling_for_longer_than_we_wait_says_how_long(azure: Azure, arc: ArcClient) -> None:
    azure.trouble("refuse", times=100, method="GET", status=429, retry_after=600)
    with pytest.raises(Throttled) as caught:
        arc.get(azure.target())
    assert caught.value.retry_after == 600
    assert azure.app.faults.all()[0].times == 99


def test_azure_that_says_nothing_is_silent(azure: Azure, key: str) -> None:
    azure.trouble("silent", times=100, method="GET", path="*/connectedClusters/*")
    with azure.client(read_s=0.3, retry=RetryPolicy.none()) as arc, pytest.raises(SiteSilent):
        arc.get(azure.target())


def test_azure_that_is_not_there_is_unreachable(azure: Azure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    credential = default_credential(azure.ca_file)
    patience = ArcPatience(retry=RetryPolicy.none())
    with (
        ArcClient(f"https://127.0.0.1:{port}", "s", credential, azure.ca_file, patience) as arc,
        pytest.raises(SiteUnreachable),
    ):
        arc.get(azure.target())


def test_a_wrong_identity_header_is_a_rejected_credential(
    azure: Azure, arc: ArcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with azure.client() as arc, pytest.raises(CredentialRejected, match="No token for Azure"):
        arc.get(azure.target())


def test_a_token_service_that_is_away_is_unreachable(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"https://127.0.0.1:{port}/azure/identity")
    with azure.client() as arc, pytest.raises(SiteUnreachable, match="token service"):
        arc.get(azure.target())


@pytest.mark.parametrize(
    ("status", "error"),
    [pytest.param(401, CredentialRejected, id="401"), pytest.param(403, CredentialRejected, id="403")],
)
def test_a_refused_identity_is_a_rejected_credential(
    azure: Azure, arc: ArcClient, status: int, error: type[Exception]
) -> None:
    azure.trouble("refuse", method="GET", status=status, code="AuthorizationFailed")
    with pytest.raises(error, match="AuthorizationFailed"):
        arc.get(azure.target())


def test_a_move_to_another_location_is_refused(azure: Azure, arc: ArcClient, key: str) -> None:
    arc.put(azure.target(), key, {})
    moved = azure.target().model_copy(update={"location": "eastus"})
    with pytest.raises(WriteConflict, match="InvalidResourceLocation"):
        arc.put(moved, key, {})


def test_a_key_that_is_none_is_rejected(azure: Azure, arc: ArcClient) -> None:
    with pytest.raises(Rejected, match="agentPublicKeyCertificate"):
        arc.put(azure.target(), "bm90IGEga2V5", {})


def test_a_missing_group_is_made_and_an_unregistered_provider_registered(
    azure: Azure, arc: ArcClient, key: str
) -> None:
    target = azure.target(group="new-group")
    with pytest.raises(NotFound, match="ResourceGroupNotFound"):
        arc.put(target, key, {})
    arc.ensure_group("new-group", "westeurope")
    arc.ensure_group("new-group", "eastus")
    arc.ensure_provider()
    assert arc.put(target, key, {}).provisioning_state == "Succeeded"


def test_azure_remembers_over_a_restart(azure: Azure, key: str) -> None:
    with azure.client() as arc:
        arc.put(azure.target(), key, {"kept": "yes"})
    azure.stop()
    azure.start()
    with azure.client() as again:
        assert getattr(again.get(azure.target()), "tags", None) == {"kept": "yes"}
