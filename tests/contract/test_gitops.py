"""Delivery by GitOps, end to end: a registry, sites that pull, Azure Arc between, and the platform that judges."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.arc import ArcSubscription
from blocks.gitops import GitopsSource, flux_client
from edge.clients.arc import ArcClient
from edge.clients.arc_connection import ArcPatience
from edge.clients.arc_flux import ArcFlux
from edge.clients.arc_keys import new_key
from edge.clients.azure_identity import default_credential
from edge.clients.flux_source import RevisionStore
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.clients.retry import RetryPolicy
from edge.errors import (
    CredentialRejected,
    InvalidInput,
    NotFound,
    NotYet,
    OperationFailed,
    ServerFault,
    SiteSilent,
    SiteUnfit,
)
from edge.model.gitops import FluxWish
from edge.model.kube import ObjectRef
from edge.model.site import Site
from edge.model.stamp import StampSource
from edge.policy.arc_keys import public_key_of
from edge.policy.stamp import parse_stamp
from edge.processes import free_port
from tasks.gitops import Publisher, await_revision, deliver, point, remember, take_back
from tasks.gitops_ways import ArcWay, SiteWay
from tasks.rendering import Renderer

SOON, WITHIN_S = 0.05, 20.0
AGENTS = "azure-arc"


def stamp_files(version: str, *, greeting: str = "hello", image: str = "registry.local/till:1") -> dict[str, str]:
    """A stamp with two objects that differ by site, and a workload."""
    return {
        "stamp.yaml": (
            f"apiVersion: edge-platform.io/v1\nkind: Stamp\nmetadata: {{name: till}}\n"
            f"spec:\n  version: {version}\n  namespaces: [till]\n  components:\n    - {{name: base, path: base}}\n"
        ),
        "base/objects.yaml": (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: till}\n---\n"
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: till, namespace: till}\n"
            f"data: {{greeting: {greeting}, site: '${{site_name}}'}}\n---\n"
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: till, namespace: till}\n"
            "spec:\n  selector: {matchLabels: {app: till}}\n  template:\n    metadata: {labels: {app: till}}\n"
            f"    spec: {{containers: [{{name: till, image: {image}}}]}}\n"
        ),
    }


@pytest.fixture(scope="module")
def pulling(lab_factory: Callable[..., Any]) -> Any:
    """A lab whose clock runs fast, so that retries and deadlines of sites are short."""
    return lab_factory("--sites", "6", "--clock-rate", "20")


@pytest.fixture(scope="module")
def source(pulling: Any) -> GitopsSource:
    facts = pulling.gitops
    password = SecretStr(Path(facts.password_file).read_text())
    return GitopsSource(
        url=facts.url, ca_file=Path(facts.ca_file), username=facts.username, password=password, interval_s=60
    )


@pytest.fixture(scope="module")
def store(source: GitopsSource) -> RevisionStore:
    return source.store()


@pytest.fixture(scope="module")
def wish(source: GitopsSource, store: RevisionStore) -> Callable[..., FluxWish]:
    """Publishes a version of the stamp for a site."""

    def published(site: str, version: str, *, within_s: float = 300, **content: str) -> FluxWish:
        stamp = parse_stamp(StampSource(origin="test", files=stamp_files(version, **content)))
        publisher = Publisher(source, store, stamp, Renderer(stamp))
        return publisher.wish(Site(name=site), {}, within_s=within_s)

    return published


def client_of(lab: Any, site: str) -> SiteClient:
    return SiteClient(read_kubeconfig(Path(lab.site(site).kubeconfig)), site=site)


@pytest.fixture
def site(pulling: Any, request: pytest.FixtureRequest) -> Iterator[SiteClient]:
    """A site of its own for each test, with Flux."""
    used: list[str] = pulling.__dict__.setdefault("used", [])
    name = pulling.sites[len(used)].name
    used.append(name)
    pulling.ask("PUT", f"/lab/sites/{name}/flux")
    with client_of(pulling, name) as client:
        yield client


def data(site: SiteClient) -> Mapping[str, str]:
    found: Mapping[str, str] = site.get(ObjectRef(api_version="v1", kind="ConfigMap", name="till", namespace="till"))[
        "data"
    ]
    return found


def test_a_site_pulls_a_revision_an_upgrade_and_the_one_before_again(site: SiteClient, wish: Any) -> None:
    way, first, second = SiteWay(site), wish(site.site, "1.0.0"), wish(site.site, "1.1.0", greeting="good-day")
    told = deliver(way, first, WITHIN_S, every_s=SOON)
    assert told["revision"] == str(first.revision)
    assert not told["before"]
    assert data(site) == {"greeting": "hello", "site": site.site}
    upgraded = deliver(way, second, WITHIN_S, every_s=SOON)
    assert upgraded["stages"] == 1
    assert data(site) == {"greeting": "good-day", "site": site.site}
    back = take_back(way, second, upgraded, WITHIN_S, every_s=SOON)
    assert back["revision"] == str(first.revision)
    assert data(site)["greeting"] == "hello"
    assert take_back(way, first, {"before": ""}, WITHIN_S, every_s=SOON)["before"] == str(first.revision)
    with pytest.raises(NotFound):
        data(site)


def test_sites_that_differ_in_their_own_values_share_one_revision(wish: Any) -> None:
    one, other = wish("site-0001", "2.0.0"), wish("site-0002", "2.0.0")
    assert one.revision == other.revision
    assert one.variables == {"edge_site_name": "site-0001"}
    assert other.variables == {"edge_site_name": "site-0002"}


def test_a_revision_whose_pods_never_run_is_judged_failed_by_what_the_site_says(site: SiteClient, wish: Any) -> None:
    broken = wish(site.site, "3.0.0", within_s=20, image="registry.local/crash:1")
    with pytest.raises(OperationFailed, match="health check failed") as failed:
        deliver(SiteWay(site), broken, WITHIN_S, every_s=SOON)
    assert failed.value.where["reason"] == "HealthCheckFailed"
    assert broken.revision.digest in failed.value.where["revision"]


def test_what_the_site_refuses_is_judged_failed_at_once(site: SiteClient, wish: Any, store: RevisionStore) -> None:
    bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not A Name, namespace: default}\n"
    revision = store.publish("till", {"s1/objects.yaml": bad}, {})
    refused = wish(site.site, "1.0.0").model_copy(update={"revision": revision})
    with pytest.raises(OperationFailed, match="Not A Name") as failed:
        deliver(SiteWay(site), refused, WITHIN_S, every_s=SOON)
    assert failed.value.where["reason"] == "ReconciliationFailed"


def test_a_revision_that_the_registry_does_not_have_is_waited_for(site: SiteClient, wish: Any) -> None:
    known = wish(site.site, "1.0.0")
    absent = known.model_copy(update={"revision": known.revision.model_copy(update={"digest": "sha256:" + "0" * 64})})
    with pytest.raises(NotYet, match="manifest unknown"):
        deliver(SiteWay(site), absent, 1.0, every_s=SOON)
    assert deliver(SiteWay(site), known, WITHIN_S, every_s=SOON)["stages"] == 1


def test_a_site_without_flux_is_unfit(pulling: Any, wish: Any) -> None:
    with client_of(pulling, pulling.sites[-1].name) as bare, pytest.raises(SiteUnfit, match="no Flux"):
        deliver(SiteWay(bare), wish(bare.site, "1.0.0"), WITHIN_S, every_s=SOON)


def test_a_push_without_the_password_is_refused_by_name(source: GitopsSource) -> None:
    stranger = source.model_copy(update={"username": "", "password": SecretStr("")})
    with pytest.raises(CredentialRejected, match="EDGE_GITOPS_USERNAME"):
        stranger.store().publish("till", {"s1/objects.yaml": "new"}, {})


def test_without_a_repository_nothing_can_be_published() -> None:
    with pytest.raises(InvalidInput, match="no repository"):
        GitopsSource().store()


# Through Azure Arc


@pytest.fixture
def arc(pulling: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ArcSubscription, ArcClient, ArcFlux]]:
    for name, value in vars(pulling.azure.env).items():
        monkeypatch.setenv(name, value)
    azure = pulling.azure
    subscription = ArcSubscription(
        subscription_id=azure.subscription_id,
        resource_group=azure.resource_group,
        location=azure.location,
        endpoint=azure.endpoint,
        ca_file=Path(pulling.ca_file),
    )
    with subscription.client() as clusters, flux_client(subscription) as flux:
        yield subscription, clusters, flux


def connect(site: SiteClient, subscription: ArcSubscription, clusters: ArcClient) -> None:
    """What the agents' chart leaves at a site, as far as Azure hears of it."""
    key, target = new_key(2048), subscription.target(Site(name=site.site))
    clusters.put(target, public_key_of(key), {})
    place = {
        "AZURE_SUBSCRIPTION_ID": target.subscription_id,
        "AZURE_RESOURCE_GROUP": target.resource_group,
        "AZURE_RESOURCE_NAME": target.name,
    }
    pod = {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "a", "image": "mcr.local/a:1"}]}}
    agent = {"selector": {"matchLabels": {"app": "agent"}}, "template": pod}
    for kind, name, content in (
        ("ConfigMap", "azure-clusterconfig", {"data": place}),
        ("Secret", "azure-arc-connect-privatekey", {"data": {"privateKey": base64.b64encode(key.encode()).decode()}}),
    ):
        meta = {"name": name, "namespace": AGENTS}
        if kind == "ConfigMap":
            site.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENTS}})
        site.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, **content})
    site.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "agent", "namespace": AGENTS},
            "spec": agent,
        }
    )
    clusters.wait_connected(target, within_s=WITHIN_S, every_s=SOON)


def test_through_azure_a_site_pulls_and_one_that_was_away_pulls_by_itself_later(
    pulling: Any, site: SiteClient, wish: Any, arc: tuple[ArcSubscription, ArcClient, ArcFlux]
) -> None:
    subscription, clusters, flux = arc
    connect(site, subscription, clusters)
    way = ArcWay(clusters, flux, subscription.target(Site(name=site.site)))
    first, second = wish(site.site, "1.0.0"), wish(site.site, "1.2.0", greeting="welcome")
    told = deliver(way, first, WITHIN_S, every_s=SOON)
    assert told["before"] == ""
    assert data(site) == {"greeting": "hello", "site": site.site}

    pulling.fault(site.site, "offline")
    known, told = remember(way, second), point(way, second)
    with pytest.raises(SiteSilent, match="pulls it by itself once it is back"):
        await_revision(way, second, told, 0.3, every_s=SOON)
    pulling.lift(site.site)
    _until(lambda: data(site)["greeting"] == "welcome")
    assert await_revision(way, second, told, WITHIN_S, every_s=SOON)["revision"] == str(second.revision)
    report = flux.get(subscription.target(Site(name=site.site)), "till")
    assert report is not None
    assert report["complianceState"] == "Compliant"
    assert report["sourceSyncedCommitId"] == second.revision.digest

    assert take_back(way, second, known, WITHIN_S, every_s=SOON)["revision"] == str(first.revision)
    assert data(site)["greeting"] == "hello"
    broken = wish(site.site, "3.0.0", within_s=20, image="registry.local/crash:1")
    with pytest.raises(OperationFailed, match="health check failed"):
        deliver(way, broken, WITHIN_S, every_s=SOON)


def test_a_registry_or_an_azure_that_is_away_is_not_taken_for_an_absent_site(
    pulling: Any, source: GitopsSource, wish: Any, arc: tuple[ArcSubscription, ArcClient, ArcFlux]
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    once = RetryPolicy(attempts=1)
    store = RevisionStore(f"oci://{nowhere}/x", ca_file=pulling.ca_file, retry=once)
    with pytest.raises(ServerFault, match="registry cannot be reached"):
        store.publish("till", {"a.yaml": "x"}, {})
    subscription, clusters, _ = arc
    credential, patience = default_credential(pulling.ca_file), ArcPatience(retry=once)
    with ArcFlux(f"https://{nowhere}", subscription.subscription_id, credential, pulling.ca_file, patience) as flux:
        way = ArcWay(clusters, flux, subscription.target(Site(name="site-0001")))
        with pytest.raises(ServerFault):
            way.current(wish("site-0001", "1.0.0"))


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(SOON)
