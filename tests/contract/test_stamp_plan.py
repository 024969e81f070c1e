"""`edge stamp plan` against sites of the lab: what each would do, who cannot be seen, and that nothing changes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge.cli.stamp import app
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import NotFound
from edge.ledger import Ledger
from edge.model.kube import ObjectRef
from edge.model.placement import HoldKind, SiteHold
from edge.model.site import Site

Edge = Callable[..., Result]
SITES = ("site-0001", "site-0002", "site-0003")

STAMP = """
apiVersion: edge-platform.io/v1
kind: Stamp
metadata: {{name: planned}}
spec:
  version: 1.0.0
  namespaces: [{namespace}]
  parameters:
    level: {{default: info}}
    image: {{default: "ghcr.io/edge-platform/app:1.0.0"}}
  components:
    - {{name: base, path: base}}
"""

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {namespace}}}
data: {{level: "${{level}}"}}
---
apiVersion: v1
kind: Pod
metadata: {{name: once, namespace: {namespace}}}
spec:
  containers:
    - name: app
      image: "${{image}}"
      resources: {{limits: {{cpu: 10m, memory: 16Mi}}}}
      securityContext: {{allowPrivilegeEscalation: false}}
"""


@pytest.fixture
def namespace() -> str:
    return f"plan-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def stamp(tmp_path: Path, namespace: str) -> str:
    """A small stamp whose namespace nobody else has."""
    (tmp_path / "planned" / "base").mkdir(parents=True)
    (tmp_path / "planned" / "stamp.yaml").write_text(STAMP.format(namespace=namespace))
    (tmp_path / "planned" / "base" / "all.yaml").write_text(OBJECTS.format(namespace=namespace))
    return str(tmp_path / "planned")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with three sites, of which the third has no credential."""
    found = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger.open(found) as ledger:
        for name in SITES:
            ledger.sites.put(Site(name=name))
    return found


@pytest.fixture
def edge(url: str, lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs a command without a Prefect server, as `edge stamp …` does."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    for site, name in zip(lab.sites[:2], SITES[:2], strict=True):
        (folder / f"{name}.kubeconfig").write_text(Path(site.kubeconfig).read_text())
    monkeypatch.setenv("EDGE_LEDGER_URL", url)
    monkeypatch.setenv("EDGE_CREDENTIALS", str(folder))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["plan", *map(str, arguments)])


@pytest.fixture
def first(lab: Any, namespace: str) -> Iterator[SiteClient]:
    """The first site, which has the stamp's namespace already, with other settings."""
    with SiteClient(read_kubeconfig(lab.sites[0].kubeconfig), site=SITES[0]) as client:
        labels = {"app.kubernetes.io/managed-by": "edge-platform", "edge-platform.io/stamp": "planned"}
        meta = {"name": "settings", "namespace": namespace, "labels": labels}
        client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"level": "debug"}})
        yield client
        client.delete(ObjectRef(api_version="v1", kind="Namespace", name=namespace))


def test_each_site_says_what_it_would_create_and_change(
    edge: Edge, stamp: str, first: SiteClient, namespace: str
) -> None:
    said = json.loads(edge(stamp, "--json").stdout)
    sites = {one["site"]: one for one in said["sites"]}
    acts = {
        name: {change["ref"]["kind"]: change["action"] for change in sites[name]["look"]["changes"]}
        for name in SITES[:2]
    }
    assert acts == {
        "site-0001": {"Namespace": "change", "ConfigMap": "change", "Pod": "create"},
        "site-0002": {"Namespace": "create", "ConfigMap": "create", "Pod": "create"},
    }
    fields = {one["path"]: (one["before"], one["after"]) for one in sites["site-0001"]["look"]["changes"][1]["fields"]}
    assert fields["data.level"] == ("debug", "info")
    assert said["totals"] == {
        "create": 4, "change": 2, "remove": 0, "none": 0, "untried": 2,
        "sites": 3, "sites_refused": 0, "sites_not_seen": 1, "sites_skipped": 0,
    }  # fmt: skip
    assert sites["site-0003"]["cause"]["code"] == "not-found"
    with pytest.raises(NotFound):
        first.get(ObjectRef(api_version="v1", kind="Pod", name="once", namespace=namespace))


@pytest.mark.usefixtures("first")
def test_people_see_fields_waves_and_what_can_break(edge: Edge, stamp: str) -> None:
    shown = edge(stamp, "--diff")
    assert shown.exit_code == 0
    for words in (
        "3 sites in 3 waves",
        "data.level",
        "no history: by the deadline",
        "1 site of 3",
        "Not seen: site-0003",
    ):
        assert words in shown.stdout


def test_a_site_that_would_refuse_makes_the_plan_end_with_one(edge: Edge, stamp: str) -> None:
    refused = edge(stamp, "--site", "site-0002", "--set", "image=ghcr.io/edge-platform/app:latest", "--json")
    assert refused.exit_code == 1
    (site,) = json.loads(refused.stdout)["sites"]
    assert site["look"]["codes"] == ["no-latest-tag"]
    assert [one["code"] for one in site["look"]["violations"]] == ["no-latest-tag"]


def test_without_sites_a_plan_says_what_needs_none(edge: Edge, stamp: str) -> None:
    shown = json.loads(edge(stamp, "--offline", "--json").stdout)
    assert [one["cause"] for one in shown["sites"]] == [None, None, None]
    assert shown["totals"]["create"] == 0
    assert [wave["broken_at_most"] for wave in shown["prediction"]["waves"]] == [1, 1, 1]
    refused = edge(stamp, "--offline", "--set", "image=elsewhere.example/app:1", "--json")
    assert refused.exit_code == 1
    assert [one["look"]["codes"] for one in json.loads(refused.stdout)["sites"]] == [["image-source"]] * 3


def test_a_secret_that_is_not_there_is_found_before_any_site_is_asked(edge: Edge, stamp: str) -> None:
    header = Path(stamp) / "stamp.yaml"
    header.write_text(header.read_text().replace("    level: {default: info}", "    level: {secret: true}"))
    refused = edge(stamp, "--site", "site-0002", "--set", "level=line/none", "--json")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert json.loads(refused.stderr)["where"]["secret"] == "line/none"


def test_locked_sites_and_closed_windows_are_told(edge: Edge, stamp: str, url: str, tmp_path: Path) -> None:
    until = datetime.now(UTC) + timedelta(hours=2)
    with Ledger.open(url) as ledger:
        ledger.holds.put(SiteHold(site="site-0002", kind=HoldKind.ROLLOUTS, until=until, reason="inventory", by="ann"))
    strategy = tmp_path / "strategy.yaml"
    strategy.write_text("windows: [{cron: '0 3 1 1 *', duration_s: 3600}]\n")
    said = json.loads(edge(stamp, "--offline", "--strategy", strategy, "--json").stdout)
    skipped = {one["site"]: one["skipped"] for one in said["sites"]}
    assert skipped["site-0002"].endswith("inventory")
    assert [name for name, why in skipped.items() if why] == ["site-0002"]
    assert all(one["opens_at"].endswith("-01-01T03:00:00Z") for one in said["sites"])
    assert said["prediction"]["waves"][0]["starts_s"] > 0
