"""Flux at the lab's sites: what its objects do, what they say of themselves, and the registry that they pull from."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from edge.cli.main import app
from edge.clients.flux_source import RevisionStore
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import NotFound
from edge.lab.flux.install import flux_objects
from edge.model.gitops import Revision
from edge.model.kube import ObjectRef

WITHIN_S, SOON = 20.0, 0.05
NAMESPACE = "pulled"
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "crds"


@pytest.fixture(scope="module")
def flux_lab(lab_factory: Callable[..., Any]) -> Any:
    return lab_factory("--sites", "2", "--clock-rate", "20")


@pytest.fixture(scope="module")
def store(flux_lab: Any) -> RevisionStore:
    facts = flux_lab.gitops
    login = (facts.username, Path(facts.password_file).read_text())
    return RevisionStore(facts.url, ca_file=facts.ca_file, login=login)


@pytest.fixture(scope="module")
def site(flux_lab: Any) -> Iterator[SiteClient]:
    one = flux_lab.sites[0]
    flux_lab.ask("PUT", f"/lab/sites/{one.name}/flux")
    with SiteClient(read_kubeconfig(Path(one.kubeconfig)), site=one.name) as client:
        client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield client


@pytest.fixture
def flux(site: SiteClient, request: pytest.FixtureRequest) -> Flux:
    """Flux objects of this test's own name."""
    number: list[int] = site.__dict__.setdefault("numbers", [])
    number.append(len(number))
    return Flux(site, f"t{len(number)}")


class Flux:
    """One source and its Kustomizations at the site."""

    def __init__(self, site: SiteClient, name: str) -> None:
        self.site, self.name = site, name

    def source(self, revision: Revision, **spec: Any) -> None:
        wanted = {"url": revision.url, "interval": "1h", "ref": {"digest": revision.digest}, **spec}
        self.site.apply(self._object("source.toolkit.fluxcd.io/v1", "OCIRepository", self.name, wanted))

    def kustomization(self, part: str = "", **spec: Any) -> None:
        wanted = {
            "sourceRef": {"kind": "OCIRepository", "name": self.name},
            "path": "./",
            "interval": "1h",
            "retryInterval": "2s",
            "timeout": "5s",
            "prune": True,
            **spec,
        }
        name = self.name + part
        self.site.apply(self._object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", name, wanted))

    def _object(self, version: str, kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}

    def ready(self, kind: str, part: str = "", *, reason: str) -> dict[str, Any]:
        """The object once its Ready condition has this reason and is about what is asked for now."""
        group = "source" if kind == "OCIRepository" else "kustomize"
        ref = ObjectRef(
            api_version=f"{group}.toolkit.fluxcd.io/v1", kind=kind, name=self.name + part, namespace=NAMESPACE
        )
        end = time.monotonic() + WITHIN_S
        while True:
            obj = self.site.get(ref)
            conditions = {one["type"]: one for one in (obj.get("status") or {}).get("conditions") or ()}
            ready = conditions.get("Ready", {})
            if ready.get("reason") == reason and ready["observedGeneration"] == obj["metadata"]["generation"]:
                return {**obj, "conditions": conditions}
            assert time.monotonic() < end, f"{kind} says {ready}"
            time.sleep(SOON)

    def applied(self, part: str = "") -> dict[str, Any]:
        return self.ready("Kustomization", part, reason="ReconciliationSucceeded")

    def config_map(self, name: str) -> dict[str, Any]:
        return self.site.get(ObjectRef(api_version="v1", kind="ConfigMap", name=name, namespace=NAMESPACE))


def config_map(name: str, **data: str) -> str:
    meta = {"name": name, "namespace": NAMESPACE}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def test_what_is_applied_is_labelled_owned_and_listed_in_the_inventory(flux: Flux, store: RevisionStore) -> None:
    revision = store.publish("one", {"a.yaml": config_map("a", x="1")}, {})
    flux.source(revision)
    flux.kustomization()
    found = flux.applied()
    status = found["status"]
    assert status["inventory"] == {"entries": [{"id": f"{NAMESPACE}_a__ConfigMap", "v": "v1"}]}
    assert status["lastAppliedRevision"] == status["lastAttemptedRevision"] == revision.digest
    assert status["observedGeneration"] == found["metadata"]["generation"]
    assert found["conditions"]["Ready"]["message"] == f"Applied revision: {revision.digest}"
    meta = flux.config_map("a")["metadata"]
    assert meta["labels"] == {
        "kustomize.toolkit.fluxcd.io/name": flux.name,
        "kustomize.toolkit.fluxcd.io/namespace": NAMESPACE,
    }
    assert [one["manager"] for one in meta["managedFields"]] == ["kustomize-controller"]


def test_a_new_revision_prunes_what_it_no_longer_has(flux: Flux, store: RevisionStore) -> None:
    flux.source(store.publish("two", {"a.yaml": config_map("p-a"), "b.yaml": config_map("p-b")}, {}))
    flux.kustomization()
    flux.applied()
    second = store.publish("two", {"b.yaml": config_map("p-b", now="yes")}, {})
    flux.source(second)
    _until(lambda: flux.applied()["status"]["lastAppliedRevision"] == second.digest)
    with pytest.raises(NotFound):
        flux.config_map("p-a")
    assert flux.config_map("p-b")["data"] == {"now": "yes"}


def test_a_kustomization_that_is_deleted_takes_along_what_it_brought(flux: Flux, store: RevisionStore) -> None:
    flux.source(store.publish("gone", {"a.yaml": config_map("g-a")}, {}))
    flux.kustomization()
    flux.applied()
    ref = ObjectRef(
        api_version="kustomize.toolkit.fluxcd.io/v1", kind="Kustomization", name=flux.name, namespace=NAMESPACE
    )
    flux.site.delete(ref)
    _until(lambda: _absent(flux.site, ref))
    with pytest.raises(NotFound):
        flux.config_map("g-a")


def test_values_are_substituted_and_stages_wait_for_each_other(flux: Flux, store: RevisionStore) -> None:
    files = {
        "s1/a.yaml": config_map("v-a", shop="${shop}", tier="${tier:=small}"),
        "s2/b.yaml": config_map("v-b", literal="$${shop}"),
    }
    flux.source(store.publish("stages", files, {}))
    build = {"postBuild": {"substitute": {"shop": "north"}}}
    flux.kustomization("-2", path="./s2", dependsOn=[{"name": f"{flux.name}-1"}], **build)
    waiting = flux.ready("Kustomization", "-2", reason="DependencyNotReady")
    assert waiting["conditions"]["Ready"]["status"] == "False"
    flux.kustomization("-1", path="./s1", **build)
    flux.applied("-2")
    assert flux.config_map("v-a")["data"] == {"shop": "north", "tier": "small"}
    assert flux.config_map("v-b")["data"] == {"literal": "${shop}"}


def test_a_suspended_kustomization_leaves_things_as_they_are(flux: Flux, store: RevisionStore) -> None:
    first = store.publish("rest", {"a.yaml": config_map("s-a", x="1")}, {})
    flux.source(first)
    flux.kustomization()
    flux.applied()
    flux.kustomization(suspend=True)
    second = store.publish("rest", {"a.yaml": config_map("s-a", x="2")}, {})
    flux.source(second)
    _until(lambda: flux.ready("OCIRepository", reason="Succeeded")["status"]["artifact"]["revision"] == second.digest)
    assert flux.config_map("s-a")["data"] == {"x": "1"}
    flux.kustomization(suspend=False)
    _until(lambda: flux.applied()["status"]["lastAppliedRevision"] == second.digest)
    assert flux.config_map("s-a")["data"] == {"x": "2"}


@pytest.mark.parametrize(
    ("files", "spec", "reason", "said"),
    [
        ({"a.yaml": "a: ["}, {}, "BuildFailed", "MalformedYAMLError"),
        ({"a.yaml": config_map("ok")}, {"path": "./none"}, "BuildFailed", "path not found"),
        ({"a.yaml": "apiVersion: no/v1\nkind: Such\nmetadata: {name: x}\n"}, {}, "ReconciliationFailed", "no matches"),
        (
            {"a.yaml": config_map("h-a")},
            {"healthChecks": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "h-none", "namespace": NAMESPACE}]},
            "HealthCheckFailed",
            "timeout waiting for",
        ),
    ],
    ids=["no YAML", "no such folder", "no such kind", "never healthy"],
)
def test_what_goes_wrong_stands_in_the_condition_with_fluxs_reason(
    flux: Flux, store: RevisionStore, files: dict[str, str], spec: dict[str, Any], reason: str, said: str
) -> None:
    revision = store.publish("wrong", files, {})
    flux.source(revision)
    flux.kustomization(**spec)
    found = flux.ready("Kustomization", reason=reason)
    assert said in found["conditions"]["Ready"]["message"]
    assert found["conditions"]["Ready"]["status"] == "False"
    assert found["conditions"]["Reconciling"]["reason"] == "ProgressingWithRetry"
    assert found["status"].get("lastAppliedRevision") is None


def test_what_somebody_changes_by_hand_is_put_right_when_asked(flux: Flux, store: RevisionStore) -> None:
    flux.source(store.publish("drift", {"a.yaml": config_map("d-a", x="1")}, {}))
    flux.kustomization(interval="2s")
    flux.applied()
    meta = {"name": "d-a", "namespace": NAMESPACE}
    flux.site.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"x": "2"}}, force=True)
    _until(lambda: flux.config_map("d-a")["data"] == {"x": "1"})


def test_flux_is_installed_from_the_command_line(flux_lab: Any) -> None:
    name = flux_lab.sites[1].name
    done = CliRunner().invoke(app, ["lab", "flux", name, "--state", flux_lab.said["state"], "--json"])
    assert json.loads(done.stdout) == {"sites": [name]}
    with SiteClient(read_kubeconfig(Path(flux_lab.sites[1].kubeconfig))) as client:
        definitions = client.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        assert {one["spec"]["names"]["kind"] for one in definitions} == {"OCIRepository", "Kustomization"}


@pytest.mark.parametrize(
    ("arguments", "said"), [((), "Name the sites"), (("site-9",), "no such site")], ids=["none named", "unknown"]
)
def test_flux_is_not_installed_at_a_site_that_is_not_there(
    flux_lab: Any, arguments: tuple[str, ...], said: str
) -> None:
    done = CliRunner().invoke(app, ["lab", "flux", *arguments, "--state", flux_lab.said["state"]])
    assert done.exit_code != 0
    assert said in done.stderr


# The registry


@pytest.fixture
def registry(flux_lab: Any) -> Iterator[httpx.Client]:
    login = (flux_lab.gitops.username, Path(flux_lab.gitops.password_file).read_text())
    trust = ssl.create_default_context(cafile=flux_lab.ca_file)
    with httpx.Client(base_url=flux_lab.url, verify=trust, auth=login) as client:
        yield client


def test_a_tag_is_found_again_and_listed(registry: httpx.Client, store: RevisionStore) -> None:
    revision = store.publish("tags", {"a.yaml": "x"}, {})
    manifest = registry.get(f"/v2/revisions/tags/manifests/{revision.digest}")
    pushed = registry.put(
        "/v2/revisions/tags/manifests/v1", content=manifest.content, headers={"content-type": "application/json"}
    )
    assert pushed.status_code == 201
    again = registry.get("/v2/revisions/tags/manifests/v1")
    assert again.headers["docker-content-digest"] == revision.digest
    assert registry.get("/v2/revisions/tags/tags/list").json()["tags"] == ["v1"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/v2/revisions/x/manifests/none", b"", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/revisions/x/blobs/sha256:00", b"", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/revisions/%2e%2e/%2e%2e/etc/manifests/x", b"", 404, "NAME_UNKNOWN"),
        ("PUT", "/v2/revisions/x/manifests/v1", b"{}", 400, "MANIFEST_INVALID"),
        ("POST", "/v2/revisions/x/blobs/uploads/?digest=sha256:00", b"abc", 400, "DIGEST_INVALID"),
        ("DELETE", "/v2/revisions/x/manifests/v1", b"", 405, "UNSUPPORTED"),
    ],
    ids=["no tag", "no blob", "no path of a file", "no manifest", "another digest", "no deleting"],
)
def test_the_registry_refuses_in_the_words_of_the_protocol(
    registry: httpx.Client, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    answer = registry.request(method, path, content=content)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)


def test_the_agents_chart_is_still_where_it_was(registry: httpx.Client) -> None:
    tags = registry.get("/v2/azurearck8s/batch1/stable/azure-arc-k8sagents/tags/list", auth=None)
    assert tags.status_code == 200


def test_a_manifest_whose_blob_is_missing_is_refused(registry: httpx.Client) -> None:
    layer = {"digest": "sha256:" + "0" * 64}
    answer = registry.put("/v2/revisions/x/manifests/v1", json={"config": layer, "layers": []})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_an_upload_in_pieces_is_kept_whole(registry: httpx.Client) -> None:
    place = registry.post("/v2/revisions/x/blobs/uploads/").headers["location"]
    registry.patch(place, content=b"one ")
    digest = "sha256:" + hashlib.sha256(b"one two").hexdigest()
    assert registry.put(f"{place}?digest={digest}", content=b"two").status_code == 201
    assert registry.get(f"/v2/revisions/x/blobs/{digest}", auth=None).content == b"one two"


# The definitions


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the definitions that Flux publishes are not here")
@pytest.mark.parametrize(
    "name", ["source.toolkit.fluxcd.io_ocirepositories", "kustomize.toolkit.fluxcd.io_kustomizations"]
)
def test_every_field_of_the_labs_definitions_is_one_of_fluxs(name: str) -> None:
    published = next(one for one in yaml.safe_load_all((PUBLISHED / f"{name}.yaml").read_text()) if one)
    ours = next(one for one in flux_objects() if one["metadata"]["name"] == published["metadata"]["name"])
    mine, theirs = (_schema(one)["spec"] for one in (ours, published))
    assert mine.get("required") == theirs.get("required")
    assert _beyond(mine, theirs, "spec") == []


def _schema(crd: Mapping[str, Any]) -> dict[str, Any]:
    version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1")
    properties: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return properties


def _beyond(mine: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> list[str]:
    found = [path] if mine.get("type") != theirs.get("type") else []
    for name, child in (mine.get("properties") or {}).items():
        other = (theirs.get("properties") or {}).get(name)
        found += [f"{path}.{name}"] if other is None else _beyond(child, other, f"{path}.{name}")
    return found + (_beyond(mine["items"], theirs["items"], f"{path}[]") if "items" in mine else [])


def _absent(site: SiteClient, ref: ObjectRef) -> bool:
    try:
        site.get(ref)
    except NotFound:
        return True
    return False


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(SOON)
