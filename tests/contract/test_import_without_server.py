"""`edge device import` where there is no Prefect server: the command checks the file and lets the devices in itself."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

from edge.lab.device import LabDevice
from edge.ledger import Ledger
from edge.model.device import DeviceState
from tests.conftest import EDGE, LabFactory, RunningLab

LAB = Path(__file__).parents[2] / "deployments" / "environments" / "lab"


class Operator:
    """A shell with a lab's settings and no PREFECT_API_URL."""

    def __init__(self, lab: RunningLab, home: Path) -> None:
        self.home = home
        self.ledger_url = f"sqlite:///{home / 'ledger.db'}"
        azure, maker = lab.said["azure"], lab.said["manufacturer"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "EDGE_"))}
        self.environment = kept | {
            "PREFECT_HOME": str(home / "prefect"),
            "EDGE_HOME": str(home),
            "EDGE_LEDGER_URL": self.ledger_url,
            "EDGE_CREDENTIALS": lab.said["kubeconfigs"],
            "EDGE_TRUST": maker["ca_file"],
            "EDGE_ADMISSION": str(LAB / "admission.yaml"),
            "EDGE_ASSIGNMENT": str(LAB / "assignment.yaml"),
            "EDGE_ARC_SUBSCRIPTION": azure["subscription_id"],
            "EDGE_ARC_RESOURCE_GROUP": azure["resource_group"],
            "EDGE_ARC_LOCATION": azure["location"],
            "EDGE_ARC_ENDPOINT": azure["endpoint"],
            "EDGE_ARC_CA_FILE": lab.said["ca_file"],
            "EDGE_ARC_KEY_BITS": "2048",
            **azure["env"],
        }

    def imports(self, file: Path) -> subprocess.CompletedProcess[str]:
        """`edge device import FILE --json`."""
        command = [*EDGE, "device", "import", str(file), "--json"]
        return subprocess.run(
            command, env=self.environment, cwd=self.home, capture_output=True, text=True, check=False, timeout=240
        )


def test_a_file_is_imported_whole_or_not_at_all_without_a_server(lab_factory: LabFactory, tmp_path: Path) -> None:
    lab = lab_factory("--sites", "1")
    operator = Operator(lab, tmp_path)
    device = LabDevice.of_lab(lab.said, lab.said["sites"][0])
    row = {"device_id": device.device_id, "certificate": device.certificate, "tenant": "factory"}
    row |= {"serial": device.facts.serial, "model": device.facts.model, "location": device.facts.location}
    refused = operator.imports(_written(tmp_path / "bad.csv", [row, {**row, "device_id": "no spaces"}]))
    assert refused.returncode == 2
    assert "no spaces" in refused.stderr
    with Ledger.open(operator.ledger_url) as ledger:
        assert not ledger.devices.list()
    done = operator.imports(_written(tmp_path / "good.csv", [row]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["connected"] == 1
    with Ledger.open(operator.ledger_url) as ledger:
        assert [one.state for one in ledger.devices.list()] == [DeviceState.CONNECTED]


def _written(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file
