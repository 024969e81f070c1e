"""Two processes and one site: the one that was paused and thought dead writes nothing over its successor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.model.kube import ObjectRef

COUNT = 40

# Applies object after object and says how each write ended; `go` on its input lets it write the next ones.
WRITER = """
import json, sys
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError
from tasks.fencing import fenced
from pathlib import Path

kubeconfig, site, namespace, name, count, pause_after = sys.argv[1:]

def say(**said):
    print(json.dumps(said), flush=True)

with SiteClient(read_kubeconfig(Path(kubeconfig)), site=site) as plain:
    with fenced(plain, site, "rollout:one") as client:
        say(token=client.fence.token, guard=client.fence.guard)
        for number in range(int(count)):
            if number == int(pause_after):
                say(paused=True)
                sys.stdin.readline()
            meta = {"name": f"c{number}", "namespace": namespace}
            obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"by": name}}
            try:
                client.apply(obj, force=True)
                say(wrote=number)
            except EdgeError as error:
                say(refused=number, code=error.code)
"""


class Writer:
    """A process that writes to the site, and what it said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []

    def hear(self, word: str) -> dict[str, Any]:
        """The next thing it says that has this word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if word in self.said[-1]:
                return self.said[-1]
        return pytest.fail(f"it ended without saying {word!r}: {self.said}")

    def go(self) -> None:
        """Let it write on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def rest(self) -> None:
        """Hear it to its end."""
        assert self.process.stdout is not None
        self.said += [json.loads(line) for line in self.process.stdout]
        assert self.process.wait(60) == 0

    def each(self, word: str) -> list[int]:
        """The numbers that it said with this word."""
        return [said[word] for said in self.said if word in said]


@contextmanager
def writer(*words: str) -> Iterator[Writer]:
    command = [sys.executable, "-c", WRITER, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Writer(process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()


def stopped(pid: int) -> bool:
    """Whether the process stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def place(lab: Any) -> Iterator[tuple[str, str, SiteClient, str]]:
    site, namespace = lab.sites[2], f"fence-{os.getpid()}"
    with SiteClient(read_kubeconfig(Path(site.kubeconfig)), site=site.name) as client:
        made = client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        yield str(site.kubeconfig), site.name, client, namespace
        client.delete(ObjectRef.of(made))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc to see that a process stands still")
def test_a_paused_run_that_wakes_up_writes_nothing_over_its_successor(
    place: tuple[str, str, SiteClient, str],
) -> None:
    kubeconfig, site, client, namespace = place
    middle = COUNT // 2
    with writer(kubeconfig, site, namespace, "first", str(COUNT), str(middle)) as first:
        assert first.hear("token")["guard"] == "site"
        first.hear("paused")
        first.process.send_signal(signal.SIGSTOP)
        while not stopped(first.process.pid):
            time.sleep(0.01)

        with writer(kubeconfig, site, namespace, "second", str(COUNT), str(COUNT - 1)) as second:
            second.hear("paused")
            first.go()
            first.process.send_signal(signal.SIGCONT)
            first.rest()
            second.go()
            second.rest()

    assert second.said[0]["token"] == first.said[0]["token"] + 1
    assert first.each("wrote") == list(range(middle))
    assert first.each("refused") == list(range(middle, COUNT))
    assert {said["code"] for said in first.said if "refused" in said} == {"fenced-off"}
    assert second.each("wrote") == list(range(COUNT))
    found = [one for one in client.list("v1", "ConfigMap", namespace=namespace) if "by" in one["data"]]
    assert {one["metadata"]["name"]: one["data"]["by"] for one in found} == {f"c{n}": "second" for n in range(COUNT)}
