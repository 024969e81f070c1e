"""A decommissioning that is killed between any two of its effects is finished by the next run."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.site import Site, SiteState
from edge.policy.decommission import leave_work, leaving_life, proof_of
from tasks.wipe import footprints

SITE, DEVICE = "site-0004", "dev-0004"
NOW = datetime(2026, 5, 4, tzinfo=UTC)
LABELS = {"app.kubernetes.io/managed-by": "edge-platform"}


def put(client: SiteClient, api: str, kind: str, name: str, **rest: Any) -> None:
    meta = {"name": name, "labels": LABELS, **rest.pop("meta", {})}
    client.apply({"apiVersion": api, "kind": kind, "metadata": meta, **rest})


def test_killed_at_any_commit_it_still_ends_with_everything_proven(lab: Any, tmp_path: Path) -> None:
    text = next(Path(site["kubeconfig"]).read_text() for site in lab.said["sites"] if site["name"] == SITE)
    (tmp_path / f"{SITE}.kubeconfig").write_text(text)
    mine = tmp_path / "mine.kubeconfig"
    mine.write_text(text)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    registration = Registration(device_id=DEVICE, certificate="", facts=DeviceFacts(serial="SN-4"))
    with SiteClient(read_kubeconfig(mine), site=SITE) as client, Ledger.open(url) as ledger:
        put(client, "v1", "Namespace", "tenant-kill")
        put(client, "v1", "ServiceAccount", "tenant", meta={"namespace": "tenant-kill"})
        put(client, "v1", "ConfigMap", "ours", data={"a": "b"}, meta={"namespace": "default"})
        client.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "annotations": {"edge/x": "1"}}}
        )
        ledger.sites.put(Site(name=SITE, tenant="kill", state=SiteState.CONNECTED))
        ledger.devices.register(registration, at=NOW)
        ledger.devices.move(DEVICE, DeviceState.CONNECTED, site=SITE, tenant="kill")

        script = Path(__file__).with_name("leave_killed.py")
        command = [sys.executable, str(script), url, str(tmp_path), DEVICE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert int(done.stdout) >= 4, "it was killed in most of its steps"

        device = ledger.devices.get(DEVICE)
        assert (device.state, device.generation, device.site) == (DeviceState.DECOMMISSIONED, 2, None)
        left = leaving_life(device)
        assert proof_of(left, ledger.steps.records(leave_work(left))).owed == ()
        assert footprints(client)[0] == ()
        assert client.clock() is not None, "what is the cluster's own is still there"
        assert ledger.sites.get(SITE).state is SiteState.DECOMMISSIONED
        assert not (tmp_path / f"{SITE}.kubeconfig").exists()
        moves = [entry for entry in ledger.audit.entries(limit=1000) if entry.action == "device.released"]
        assert len(moves) == 1, "it was let go once"
        ledger.audit.verify()
