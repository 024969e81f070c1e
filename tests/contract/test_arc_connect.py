"""Connecting a lab site to the pretend Azure from end to end, with the real Helm, and after tries that failed."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.clients.arc import ArcClient
from edge.clients.arc_keys import new_key
from edge.clients.azure_identity import default_credential
from edge.clients.helm import agents_found, install_arc_agents, uninstall_arc_agents, wait_agents_ready
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.clients.oci import ChartRef, pull_chart
from edge.errors import InvalidInput, NotFound, NotYet, OperationFailed, ServerFault
from edge.model.arc import AgentsOnCluster, ArcTarget, ConnectAction, ConnectedCluster
from edge.model.kube import ObjectRef
from edge.policy.arc import Traces, decide_connect, home_elsewhere, is_unfinished, onboarding_tags
from edge.policy.arc_agents import agent_values, cloud_of
from edge.policy.arc_keys import public_key_of
from edge.policy.arc_precheck import platform_of, precheck


@dataclass
class Connect:
    """The steps that connect one site, in the order in which a runbook takes them."""

    lab: Any
    arc: ArcClient
    site: SiteClient
    kubeconfig: str
    target: ArcTarget
    work: str = "onboarding:dev"

    def decide(self) -> ConnectAction:
        agents = agents_found(self.site)
        resource = self.arc.get(self.target)
        home = home_elsewhere(agents, self.target)
        return decide_connect(
            agents.state,
            agents.public_key,
            resource,
            Traces(
                elsewhere=home is not None and self.arc.get(home) is not None,
                unfinished=is_unfinished(resource, self.work),
            ),
        )

    def put(self, private_key: str) -> ConnectedCluster:
        nodes = list(self.site.list("v1", "Node"))
        assert precheck(nodes, self.site.version()["gitVersion"]) == ()
        self.arc.ensure_provider()
        self.arc.ensure_group(self.target.resource_group, self.target.location)
        tags = onboarding_tags(self.work)
        return self.arc.put(self.target, public_key_of(private_key), tags, platform=platform_of(nodes))

    def agents(self, private_key: str, cluster: ConnectedCluster, *, within_s: float = 60, image_tag: str = "") -> str:
        platform = platform_of(list(self.site.list("v1", "Node")))
        values = agent_values(self.target, cluster, private_key, platform, cloud_of(self.arc.endpoint))
        values["systemDefaultValues"]["image"] = {"tag": image_tag}
        archive = pull_chart(self.arc.agents_chart(self.target.location), ca_file=self.lab.ca_file)
        version = install_arc_agents(self.kubeconfig, archive, values)
        wait_agents_ready(self.site, within_s=within_s)
        return version

    def whole(self) -> ConnectedCluster:
        key = new_key(2048)
        self.agents(key, self.put(key))
        return self.arc.wait_connected(self.target, within_s=30, every_s=0.3)

    def roll_back(self) -> None:
        uninstall_arc_agents(self.kubeconfig)
        self.arc.delete(self.target)


@pytest.fixture(scope="module")
def arc_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "12")


@pytest.fixture
def arc(arc_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArcClient]:
    for name, value in vars(arc_lab.azure.env).items():
        monkeypatch.setenv(name, value)
    credential = default_credential(arc_lab.ca_file)
    with ArcClient(arc_lab.azure.endpoint, arc_lab.azure.subscription_id, credential, arc_lab.ca_file) as client:
        yield client


@pytest.fixture
def connect(arc_lab: Any, arc: ArcClient, request: pytest.FixtureRequest) -> Iterator[Connect]:
    """A site of its own for each test."""
    used: set[str] = arc_lab.__dict__.setdefault("used", set())
    name = next(site.name for site in arc_lab.sites if site.name not in used)
    used.add(name)
    kubeconfig = Path(arc_lab.site(name).kubeconfig).read_text()
    azure = arc_lab.azure
    target = ArcTarget(
        subscription_id=azure.subscription_id, resource_group=azure.resource_group, name=name, location=azure.location
    )
    with SiteClient(read_kubeconfig(kubeconfig), site=name) as site:
        yield Connect(arc_lab, arc, site, kubeconfig, target)


def test_a_new_site_is_connected_and_connecting_it_again_reuses_its_key(connect: Connect) -> None:
    assert connect.decide() is ConnectAction.NEW
    cluster = connect.whole()
    assert cluster.connectivity == "Connected"
    assert cluster.agent_version
    found = agents_found(connect.site)
    assert (found.state, found.public_key) == (AgentsOnCluster.PRESENT, cluster.public_key)
    assert connect.decide() is ConnectAction.REUSE_KEY
    again = connect.arc.put(connect.target, cluster.public_key, onboarding_tags(connect.work))
    assert (again.public_key, again.connectivity) == (cluster.public_key, "Connected")
    with SiteClient(read_kubeconfig(connect.arc.user_credential(connect.target))) as through_azure:
        assert through_azure.version() == connect.site.version()


def test_the_agents_are_upgraded_in_place(connect: Connect) -> None:
    key = new_key(2048)
    cluster = connect.put(key)
    version = connect.agents(key, cluster)
    assert connect.agents(key, cluster) == version
    releases = connect.site.list("v1", "Secret", namespace="azure-arc-release", labels="owner=helm")
    assert sorted(release["metadata"]["labels"]["version"] for release in releases) == ["1", "2"]


def test_a_put_that_failed_is_rolled_back_and_the_next_try_succeeds(connect: Connect) -> None:
    fault = {"kind": "fail", "path": connect.target.resource_id, "code": "Quota", "message": "Too many clusters."}
    connect.lab.ask("POST", "/lab/azure/faults", fault)
    with pytest.raises(OperationFailed, match="Quota"):
        connect.put(new_key(2048))
    connect.roll_back()
    assert connect.decide() is ConnectAction.NEW
    assert connect.whole().connectivity == "Connected"


def test_agents_that_never_get_ready_are_rolled_back_and_the_next_try_succeeds(connect: Connect) -> None:
    key = new_key(2048)
    cluster = connect.put(key)
    with pytest.raises(NotYet) as caught:
        connect.agents(key, cluster, within_s=4, image_tag="missing")
    assert "PRIVATE KEY" not in str(caught.value)
    assert connect.arc.get(connect.target) is not None
    with pytest.raises(NotYet, match="have not called in"):
        connect.arc.wait_connected(connect.target, within_s=0.5, every_s=0.2)
    connect.roll_back()
    assert_nothing_is_left(connect)
    assert connect.decide() is ConnectAction.NEW
    assert connect.whole().connectivity == "Connected"


def assert_nothing_is_left(connect: Connect) -> None:
    assert connect.arc.get(connect.target) is None
    for name in ("azure-arc", "azure-arc-release"):
        with pytest.raises(NotFound):
            connect.site.get(ObjectRef(api_version="v1", kind="Namespace", name=name))
    kinds = connect.site.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert [kind for kind in kinds if kind["spec"]["group"].endswith("azure.com")] == []


def test_a_try_that_was_cut_off_after_the_put_does_not_block_the_next(connect: Connect) -> None:
    connect.put(new_key(2048))
    assert connect.decide() is ConnectAction.CLEAN_THEN_NEW
    connect.work = "onboarding:another"
    assert connect.decide() is ConnectAction.REFUSE_NAME_TAKEN
    connect.work = "onboarding:dev"
    connect.roll_back()
    assert connect.whole().connectivity == "Connected"


def test_agents_left_over_from_a_resource_that_is_gone_are_cleaned_up(connect: Connect) -> None:
    connect.whole()
    connect.arc.delete(connect.target)
    assert connect.decide() is ConnectAction.CLEAN_THEN_NEW
    connect.roll_back()
    assert_nothing_is_left(connect)


def test_a_cluster_that_is_connected_under_another_name_is_left_alone(connect: Connect) -> None:
    connect.whole()
    connect.target = connect.target.model_copy(update={"name": "another-name"})
    connect.work = "onboarding:another"
    assert connect.decide() is ConnectAction.REFUSE_ELSEWHERE


def test_agents_without_their_config_are_broken(connect: Connect) -> None:
    connect.whole()
    config = ObjectRef(api_version="v1", kind="ConfigMap", namespace="azure-arc", name="azure-clusterconfig")
    connect.site.delete(config)
    found = agents_found(connect.site)
    assert (found.state, found.public_key) == (AgentsOnCluster.PRESENT_WITHOUT_CONFIG, None)
    connect.work = "onboarding:another"
    assert connect.decide() is ConnectAction.REFUSE_BROKEN


def test_taking_away_agents_that_are_not_there_is_fine(arc_lab: Any) -> None:
    uninstall_arc_agents(Path(arc_lab.sites[-1].kubeconfig).read_text())


PULL = "import sys, helm_python; helm_python.pull(sys.argv[1], version=sys.argv[2], destination=sys.argv[3])"


def test_helms_own_puller_takes_the_chart_from_the_labs_registry(arc: ArcClient, arc_lab: Any, tmp_path: Path) -> None:
    where = arc.agents_chart("westeurope")
    ref = ChartRef.parse(where)
    # Go takes a CA from the environment only, so Helm pulls in a process of its own.
    subprocess.run(
        [sys.executable, "-c", PULL, f"oci://{ref.host}/{ref.path}", ref.reference, tmp_path],
        env={**os.environ, "SSL_CERT_FILE": arc_lab.ca_file, "HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    (archive,) = tmp_path.glob("*.tgz")
    assert archive.read_bytes() == pull_chart(where, ca_file=arc_lab.ca_file)


def test_a_chart_that_is_not_there_is_not_found(arc: ArcClient, arc_lab: Any) -> None:
    ref = ChartRef.parse(arc.agents_chart("westeurope"))
    with pytest.raises(NotFound):
        pull_chart(f"{ref.host}/{ref.path}:9.9.9", ca_file=arc_lab.ca_file)


def test_a_registry_whose_certificate_is_unknown_is_unreachable(arc: ArcClient) -> None:
    with pytest.raises(ServerFault, match="certificate"):
        pull_chart(arc.agents_chart("westeurope"))


def test_a_chart_without_a_key_is_refused_before_anything_is_installed(connect: Connect) -> None:
    cluster = connect.put(new_key(2048))
    with pytest.raises(InvalidInput, match="onboardingPrivateKey"):
        connect.agents("", cluster)
    assert agents_found(connect.site).state is AgentsOnCluster.ABSENT


def test_the_private_key_is_in_the_cluster_and_in_no_file_of_azures(connect: Connect) -> None:
    key = new_key(2048)
    connect.agents(key, connect.put(key))
    secret = connect.site.get(
        ObjectRef(api_version="v1", kind="Secret", namespace="azure-arc", name="azure-arc-connect-privatekey")
    )
    assert base64.b64decode(secret["data"]["privateKey"]).decode() == key
    middle = key[200:260]
    kept = Path(connect.lab.state) / "azure" / "azure.json"
    assert middle not in kept.read_text()
