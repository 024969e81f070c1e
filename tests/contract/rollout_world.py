"""A fleet of lab sites with a ledger, on which rollouts are carried out in the test's own process, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from prefect.logging import disable_run_logger

from blocks.credentials import SiteCredentials
from edge.clients.kubernetes import SiteClient
from edge.ledger import Ledger
from edge.model.kube import ObjectRef
from edge.model.order import Blocks, RolloutOrder
from edge.model.rollout import Rollout, Strategy
from edge.model.site import OfflinePolicy, Site, SiteSelector, SiteState
from edge.policy.rollout_leases import rollout_lease
from edge.settings import Settings
from tasks.aftermath import look_after
from tasks.driving import Acts, drive
from tasks.holding import free_dead_sites, holding
from tasks.precaching import precache_sites
from tasks.rolling_back import roll_back_sites
from tasks.rollout import RolloutJob, open_begun, open_rollout
from tasks.site_rollout import stamp_sites

DIGEST = "sha256:" + "ab" * 32
GOOD, MISSING = f"ghcr.io/edge/app:1@{DIGEST}", f"ghcr.io/edge/app:missing@{DIGEST}"


class Quiet:
    """A report that tells nobody."""

    def follow(self, _what: str, futures: Sequence[Any]) -> None:
        for future in futures:
            future.result()

    def waiting(self, _act: Any) -> None:
        pass


class RolloutWorld:
    """`lab` is a running lab; the environment's EDGE_HOME is the test's own."""

    def __init__(self, lab: Any, ledger: Ledger) -> None:
        self.lab = lab
        self.ledger = ledger
        self.credentials = SiteCredentials.from_settings(Settings())
        self._pool = ThreadPoolExecutor(16)

    @classmethod
    @contextmanager
    def at(cls, lab: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Self]:
        """A world that keeps everything in `home`."""
        monkeypatch.setenv("EDGE_HOME", str(home))
        monkeypatch.delenv("PREFECT_API_URL", raising=False)
        monkeypatch.setenv("PREFECT__RUNTIME__TASK_RUN__RUN_COUNT", "2")  # no task is tried again after five seconds
        with Ledger.open(Settings().ledger) as ledger:
            yield cls(lab, ledger)

    def add(self, *names: str, when_offline: OfflinePolicy = OfflinePolicy.NORMAL, **fields: Any) -> None:
        """Import sites of the lab."""
        for name in names:
            self.credentials.keep(name, Path(self.lab.site(name).kubeconfig).read_text())
            self.ledger.sites.put(Site(name=name, when_offline=when_offline, state=SiteState.CONNECTED, **fields))

    def client(self, site: str) -> SiteClient:
        """A client of the site, in the tester's own name."""
        return self.credentials.client(site)

    def order(self, stamp: Path | str, strategy: Strategy, sites: Sequence[str] = (), **more: Any) -> RolloutOrder:
        """An order for these sites; none means all."""
        return RolloutOrder(stamp=str(stamp), sites=SiteSelector(names=tuple(sites)), strategy=strategy, **more)

    def roll_out(self, order: RolloutOrder, patience_s: float = float("inf")) -> Rollout:
        """Carry an order out, as its runbook does."""
        with open_rollout(order, Blocks()) as job:
            return self._carry_out(job, patience_s)

    def go_on(self, rollout_id: str, patience_s: float = float("inf")) -> Rollout:
        """Take a rollout up again."""
        with open_begun(rollout_id, Blocks()) as job:
            return self._carry_out(job, patience_s)

    def _carry_out(self, job: RolloutJob, patience_s: float) -> Rollout:
        acts = Acts(
            work=lambda group: self._submit(stamp_sites.fn, job, group),
            roll_back=lambda group: self._submit(roll_back_sites.fn, job, group),
            precache=lambda group: self._submit(precache_sites.fn, job, group),
            look_after=partial(look_after, job),
        )
        with disable_run_logger(), holding(job, rollout_lease(job.plan.rollout_id)):
            free_dead_sites(job)
            drive(job, acts, Quiet(), patience_s)
            return job.ledger.rollouts.get(job.plan.rollout_id)

    def _submit(self, task: Any, job: RolloutJob, group: Sequence[str]) -> Any:
        def quietly() -> Any:
            with disable_run_logger():
                return task(job, group)

        return self._pool.submit(quietly)


def write_stamp(folder: Path, name: str, version: str, image: str = GOOD, **data: str) -> Path:
    """A stamp with a namespace of its own name, a ConfigMap and a Deployment that keeps the baseline's rules."""
    (folder / "all").mkdir(parents=True, exist_ok=True)
    header = {
        "apiVersion": "edge-platform.io/v1",
        "kind": "Stamp",
        "metadata": {"name": name},
        "spec": {"version": version, "namespaces": [name], "components": [{"name": "all", "path": "all"}]},
    }
    (folder / "stamp.yaml").write_text(yaml.safe_dump(header))
    text = "\n---\n".join(json.dumps(obj) for obj in _objects(name, image, data))
    (folder / "all" / "objects.yaml").write_text(text)
    return folder


def _objects(name: str, image: str, data: dict[str, str]) -> list[dict[str, Any]]:
    container = {
        "name": "app",
        "image": image,
        "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "privileged": False, "runAsNonRoot": True},
        "readinessProbe": {"tcpSocket": {"port": 80}},
        "livenessProbe": {"tcpSocket": {"port": 80}},
    }
    labels = {"app": "app"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": name}, "data": data},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "app", "namespace": name},
            "spec": spec,
        },
    ]


def refs(name: str) -> tuple[ObjectRef, ...]:
    """The objects of `write_stamp`."""
    return (
        ObjectRef(api_version="v1", kind="Namespace", name=name),
        ObjectRef(api_version="v1", kind="ConfigMap", name="settings", namespace=name),
        ObjectRef(api_version="apps/v1", kind="Deployment", name="app", namespace=name),
    )


def as_bytes(client: SiteClient, name: str) -> dict[str, bytes]:
    """The stamp's objects as they are, without what the server sets by itself."""
    return {str(ref): _bytes(obj) for ref, obj in client.look(refs(name)).items()}


def _bytes(obj: Any) -> bytes:
    plain = json.loads(json.dumps(obj))
    plain.pop("status", None)
    for field in ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp"):
        plain["metadata"].pop(field, None)
    plain["metadata"].get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
    return json.dumps(plain, sort_keys=True).encode()
