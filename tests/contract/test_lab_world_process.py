"""Starting, finding and ending a lab as a user does it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.lab.layout import LabConfig
from edge.model.kube import ObjectRef

EDGE = (sys.executable, "-c", "from edge.cli.main import main; main()")


def edge(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EDGE, "lab", *words], capture_output=True, text=True, check=False)


def test_two_labs_with_their_own_folders_run_at_once(lab_factory):
    first, second = lab_factory("--sites", "1"), lab_factory("--sites", "2")

    assert first.url != second.url
    assert [len(one.ask("GET", "/lab/sites")["sites"]) for one in (first, second)] == [1, 2]


def test_a_second_lab_in_the_same_folder_is_refused_and_the_first_stays(lab):
    done = edge("up", "--state", lab.state, "--json")

    assert done.returncode == 2
    assert "already runs" in json.loads(done.stderr)["error"]
    assert lab.ask("GET", "/lab/sites")["sites"]


def test_sites_sleep_until_they_are_asked_something(lab_factory):
    lab = lab_factory("--sites", "200")
    before = lab.ask("GET", "/lab/health")
    with SiteClient(read_kubeconfig(Path(lab.sites[199].kubeconfig)), site="site-0200") as site:
        site.version()

    assert (before["sites"], before["awake"], before["timers"]) == (200, 0, 0)
    assert lab.ask("GET", "/lab/health")["awake"] == 1
    assert len(list(Path(lab.manufacturer.devices).glob("*.crt"))) == 200


def test_a_scenario_of_ones_own_may_bring_stages(lab_factory, tmp_path):
    unseen = "when: [{path: data.seen, exists: false}]"
    stage = f"stages: [{{name: see, {unseen}, then: {{patch: {{data: {{seen: 'yes'}}}}}}}}]"
    (tmp_path / "touch.yaml").write_text(f"resource: ConfigMap\n{stage}\n")
    (tmp_path / "mine.yaml").write_text("name: mine\nnodes: {count: 2}\nstages: [touch.yaml]\n")
    lab = lab_factory("--sites", "1", "--scenario", str(tmp_path / "mine.yaml"))
    note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": "default"}}

    with SiteClient(read_kubeconfig(Path(lab.sites[0].kubeconfig)), site="site-0001") as site:
        site.apply(note)
        while "data" not in (found := site.get(ObjectRef.of(note))):
            pass
        nodes = [node["metadata"]["name"] for node in site.list("v1", "Node")]

    assert found["data"] == {"seen": "yes"}
    assert nodes == ["site-0001-1", "site-0001-2"]


def test_a_port_that_is_taken_is_named_and_exits_with_2(lab, tmp_path):
    port = lab.url.rpartition(":")[2]

    done = edge("up", "--state", str(tmp_path / "state"), "--port", port, "--json")

    assert done.returncode == 2
    assert json.loads(done.stderr)["where"]["port"] == port


def test_a_folder_that_is_no_labs_is_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")

    done = edge("up", "--state", str(tmp_path), "--json")

    assert done.returncode == 2
    assert [file.name for file in tmp_path.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize("place", ["/dev/null/lab", "/proc/lab"])
def test_a_folder_that_cannot_be_made_is_refused_in_words(place):
    done = edge("up", "--state", place, "--json")

    assert done.returncode == 2
    assert json.loads(done.stderr)["where"]["state"] == place


@pytest.mark.parametrize(
    ("file", "content"),
    [
        pytest.param("objects/site-0001.json", '{"half', id="objects"),
        pytest.param("objects/site-0001.json", "[]", id="other objects"),
        pytest.param("ca.key", "", id="authority"),
        pytest.param("secret", "", id="secret"),
        pytest.param("admin.token", "short", id="admin token"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_file(tmp_path, file, content):
    state = tmp_path / "state"
    assert edge("up", "--state", str(state), "--sites", "1", "--json").returncode == 0
    edge("down", "--state", str(state), "--json")
    (state / file).write_text(content)

    done = edge("up", "--state", str(state), "--sites", "1", "--json")

    assert done.returncode == 2
    assert json.loads(done.stderr)["where"]["file"] in {str(state / file), str(state / "ca.crt")}


def test_a_smaller_lab_takes_away_the_kubeconfigs_of_sites_it_has_not(lab_factory):
    lab = lab_factory("--sites", "3")
    edge("down", "--state", lab.state, "--json")

    assert edge("up", "--state", lab.state, "--sites", "1", "--json").returncode == 0

    assert [file.name for file in Path(lab.kubeconfigs).iterdir()] == ["site-0001.kubeconfig"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        pytest.param("name: x\nwether: []\n", "wether", id="unknown field"),
        pytest.param("name: x\nweather:\n  - fault: {kind: hail}\n", "weather.0.fault.kind", id="unknown kind"),
        pytest.param("name: x\nweather:\n  - fault: {mode: silent}\n", "weather.0.fault.kind", id="no kind"),
        pytest.param("name: x\nweather:\n  - fault: {kind: lossy, share: 2}\n", "weather.0.fault.share", id="share"),
        pytest.param("name: x\nnodes: {cpu: lots}\n", "nodes.cpu", id="no quantity"),
        pytest.param("name: x\nnodes: {memory: -1Gi}\n", "nodes.memory", id="less than nothing"),
    ],
)
def test_a_wrong_scenario_is_refused_with_file_and_field(tmp_path, text, field):
    file = tmp_path / "storm.yaml"
    file.write_text(text)

    done = edge("up", "--state", str(tmp_path / "state"), "--scenario", str(file), "--json")

    where = json.loads(done.stderr)["where"]
    assert done.returncode == 2
    assert (where["file"], where["field"]) == (str(file), field)
    assert not (tmp_path / "state").exists()


def test_an_unknown_scenario_is_refused_with_the_known_ones(tmp_path):
    done = edge("up", "--state", str(tmp_path / "state"), "--scenario", "hurricane", "--json")

    assert done.returncode == 2
    assert "demo" in json.loads(done.stderr)["remedy"]


def test_a_fault_is_set_shown_and_lifted(lab):
    site, state = lab.sites[0].name, lab.state

    set_ = edge("fault", site, "slow", "--for", "60s", "--set", "latency_s=0", "--state", state, "--json")
    shown = edge("status", "--state", state, "--json")
    lifted = edge("fault", site, "none", "--state", state, "--json")

    assert json.loads(set_.stdout)["faults"] == [{"kind": "slow", "latency_s": 0.0, "jitter_s": 0.1, "bytes_per_s": 0}]
    assert [fault["kind"] for one in json.loads(shown.stdout) for fault in one["faults"]] == ["slow"]
    assert (lifted.returncode, json.loads(lifted.stdout)["spells"]) == (0, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("site-0001", "hail"), "hail", id="unknown kind"),
        pytest.param(("site-9999", "slow"), "site-9999", id="unknown site"),
        pytest.param(("site-0001", "slow", "--for", "soon"), "soon", id="no length of time"),
        pytest.param(("site-0001", "slow", "--set", "latency"), "latency", id="no setting"),
        pytest.param(("../lab", "slow"), "../lab", id="no name"),
        pytest.param(("site-0001", "hail"), "known kinds: offline, slow", id="kinds there are"),
        pytest.param(("site-0001", "slow", "--set", "for_s=nan"), "for_s", id="no number of seconds"),
        pytest.param(("site-0001", "slow", "--set", "for_s=-1"), "for_s", id="less than no time"),
    ],
)
def test_a_fault_that_makes_no_sense_exits_with_2_and_names_what_is_wrong(lab, words, said):
    done = edge("fault", *words, "--state", lab.state, "--json")

    assert done.returncode == 2
    assert said in done.stderr


def test_a_fault_without_a_lab_exits_with_1(tmp_path):
    done = edge("fault", "site-0001", "slow", "--state", str(tmp_path / "none"), "--json")

    assert (done.returncode, json.loads(done.stderr)["code"]) == (1, "not-found")


def test_down_ends_only_the_process_it_started(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "lab.lock").touch()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (state / "lab.pid").write_text(json.dumps({"pid": stranger.pid, "started": "1"}))

        done = edge("down", "--state", str(state), "--json")

        assert (done.returncode, json.loads(done.stdout)["ended"]) == (0, False)
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_killed_lab_can_be_started_again_on_its_folder(lab_factory):
    first = lab_factory("--sites", "1")
    os.kill(first.pid, signal.SIGKILL)
    wait_until_gone(first.pid)

    done = edge("up", "--state", first.state, "--sites", "1", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pid"] != first.pid


def test_secrets_are_readable_by_their_owner_alone(lab):
    files = [lab.admin_token_file, *(site.kubeconfig for site in lab.sites)]
    files += [str(Path(lab.manufacturer.devices) / f"{site.device_id}.key") for site in lab.sites]

    assert {oct(Path(file).stat().st_mode & 0o777) for file in files} == {"0o600"}


def test_head_and_body_of_an_answer_arrive_together(lab):
    context = ssl.create_default_context(cafile=lab.ca_file)
    host, port = lab.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        secured.sendall(b"GET /lab/health HTTP/1.1\r\nHost: lab\r\n\r\n")
        record = secured.recv(65536)

    head, _, body = record.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["status"] == "ok"


def test_the_admin_api_wants_its_token(lab):
    context = ssl.create_default_context(cafile=lab.ca_file)

    with pytest.raises(OSError, match="401"):
        urlopen(Request(f"{lab.url}/lab/sites"), context=context)

    with urlopen(Request(f"{lab.url}/lab/health"), context=context) as health:
        assert json.loads(health.read())["status"] == "ok"


def wait_until_gone(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        pass


def test_a_lab_that_nobody_waits_for_ends_by_itself(tmp_path):
    config = LabConfig(state=tmp_path / "lab", sites=1)
    reads, writes = os.pipe()
    os.close(reads)

    command = [sys.executable, "-m", "edge.lab", config.model_dump_json(), str(writes)]
    ended = subprocess.run(command, pass_fds=(writes,), capture_output=True, text=True, timeout=60, check=True)
    os.close(writes)

    assert "whoever started this lab is gone" in ended.stderr
    assert edge("status", "--state", str(config.state)).returncode == 1
