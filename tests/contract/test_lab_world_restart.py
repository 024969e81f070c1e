"""What a lab keeps when it ends and is started again, and how it ends in the foreground."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import SiteUnreachable
from edge.model.kube import ObjectRef

EDGE = (sys.executable, "-c", "from edge.cli.main import main; main()")
NOTE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "note", "namespace": "default"},
    "data": {"a": "1"},
}
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "web:1"}]}},
    },
}


def edge(*words: str) -> dict:
    done = subprocess.run([*EDGE, "lab", *words, "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def client(kubeconfig: str) -> SiteClient:
    return SiteClient(read_kubeconfig(Path(kubeconfig)), site="site-0001")


def available(site: SiteClient, replicas: int) -> bool:
    end = time.monotonic() + 20
    while site.get(ObjectRef.of(WEB)).get("status", {}).get("availableReplicas", 0) != replicas:
        assert time.monotonic() < end
        time.sleep(0.05)
    return True


@pytest.fixture
def state(tmp_path):
    yield str(tmp_path / "lab")
    edge("down", "--state", str(tmp_path / "lab"))


def test_objects_tokens_and_addresses_survive_a_restart_and_revisions_go_on(state):
    before = edge("up", "--sites", "2", "--state", state)
    with client(before["sites"][0]["kubeconfig"]) as site:
        old = site.apply(NOTE)
        site.apply(WEB)
        assert available(site, 1)
    kubeconfig = Path(before["sites"][0]["kubeconfig"]).read_text()
    edge("down", "--state", state)

    after = edge("up", "--sites", "2", "--state", state)

    assert after["url"] == before["url"]
    assert Path(after["sites"][0]["kubeconfig"]).read_text() == kubeconfig
    with client(after["sites"][0]["kubeconfig"]) as site:
        assert site.get(ObjectRef.of(NOTE)) == old
        changed = site.apply({**NOTE, "data": {"a": "2"}})
        assert int(changed["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
        site.apply({**WEB, "spec": {**WEB["spec"], "replicas": 2}})
        assert available(site, 2)


def test_what_was_written_a_while_before_a_kill_is_still_there(state):
    lab = edge("up", "--sites", "1", "--state", state)
    with client(lab["sites"][0]["kubeconfig"]) as site:
        site.apply(NOTE)
        file = Path(state, "objects", "site-0001.json")
        end = time.monotonic() + 30
        while not file.exists() or b'"note"' not in file.read_bytes():
            assert time.monotonic() < end
            time.sleep(0.1)
    subprocess.run(["/bin/kill", "-KILL", str(lab["pid"])], check=True)
    while Path(f"/proc/{lab['pid']}").exists() and "Z" not in Path(f"/proc/{lab['pid']}/stat").read_text().split()[2]:
        time.sleep(0.02)

    again = edge("up", "--sites", "1", "--state", state)

    with client(again["sites"][0]["kubeconfig"]) as site:
        assert site.get(ObjectRef.of(NOTE))["data"] == {"a": "1"}


def test_fresh_forgets_the_objects_and_keeps_the_authority(state):
    lab = edge("up", "--sites", "1", "--state", state)
    ca = Path(lab["ca_file"]).read_bytes()
    with client(lab["sites"][0]["kubeconfig"]) as site:
        site.apply(NOTE)
    edge("down", "--state", state)

    again = edge("up", "--sites", "1", "--state", state, "--fresh")

    with client(again["sites"][0]["kubeconfig"]) as site:
        assert "note" not in {one["metadata"]["name"] for one in site.list("v1", "ConfigMap", namespace="default")}
    assert Path(again["ca_file"]).read_bytes() == ca


def test_a_fast_clock_lets_a_day_pass(state):
    edge("up", "--sites", "1", "--state", state, "--clock-rate", "86400")
    time.sleep(1)

    found = edge("status", "--state", state)

    assert [site["name"] for site in found] == ["site-0001"]
    edge("down", "--state", state)
    kept = json.loads(Path(state, "clock.json").read_text())["now"]
    assert kept > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 43200))


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_lab_in_the_foreground_ends_cleanly_on_a_signal(tmp_path, word):
    command = [*EDGE, "lab", "up", "--foreground", "--sites", "1", "--state", str(tmp_path / "lab"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as lab:
        said = json.loads(read_object(lab))
        with client(said["sites"][0]["kubeconfig"]) as site:
            site.apply(NOTE)
        lab.send_signal(word)
        _, errors = lab.communicate(timeout=30)

    assert (lab.returncode, errors) == (0, "")
    assert not (tmp_path / "lab" / "lab.pid").exists()
    with pytest.raises(SiteUnreachable), client(said["sites"][0]["kubeconfig"]) as site:
        site.get(ObjectRef.of(NOTE))


def read_object(lab: subprocess.Popen[str]) -> str:
    """The JSON object on standard output; it ends with a brace at the start of a line."""
    lines = []
    assert lab.stdout is not None
    while not lines or lines[-1] != "}\n":
        lines.append(lab.stdout.readline())
        assert lines[-1], "the lab ended early"
    return "".join(lines)
