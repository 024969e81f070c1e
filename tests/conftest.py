"""Fixtures every tier may use: a real lab in a process of its own, driven as a user drives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from deployments.local.platform import Addresses, LocalPlatform
from edge.lab import process
from edge.lab.layout import Layout

# No time is asserted, and where nobody watches the same examples are tried each time.
settings.register_profile(
    "untimed",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--every`, which `make soak` gives."""
    parser.addoption("--every", action="store_true", help="Kill at every boundary instead of a few of them")


@pytest.fixture
def sampled(request: pytest.FixtureRequest) -> Callable[[int], list[int]]:
    """Which of so many boundaries to try, from 1 on: each of them with `--every`, else three that are far apart."""
    every = request.config.getoption("--every")
    return lambda count: sorted({*range(1, count + 1, 1 if every else max(1, count // 2)), count})


EDGE = (sys.executable, "-c", "from edge.cli.main import main; main()")


class RunningLab:
    """A lab that is up. What `edge lab up --json` printed is found as attributes, and as `said`."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self._shown = json.loads(json.dumps(said), object_hook=lambda data: SimpleNamespace(**data))
        self.layout = Layout(Path(said["state"]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)

    def site(self, name: str) -> Any:
        """One site's entry."""
        return next(site for site in self._shown.sites if site.name == name)

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One request to the lab's admin API."""
        return process.ask(self.layout, method, path, body)

    def fault(self, site: str, kind: str, **settings: object) -> None:
        """Set a fault at a site."""
        self.ask("PUT", f"/lab/sites/{site}/faults", {"kind": kind, **settings})

    def lift(self, site: str) -> None:
        """Lift all faults from a site."""
        self.ask("DELETE", f"/lab/sites/{site}/faults")

    def requests(self, site: str) -> list[dict[str, Any]]:
        """What a site was asked since it woke up or since its log was cleared, oldest first."""
        found: list[dict[str, Any]] = self.ask("GET", f"/lab/sites/{site}/requests")["requests"]
        return found


SOON_AGAIN = {"EDGE_GATEWAY_RESEND_AFTER_S": "25", "EDGE_CLAIM_S": "30", "EDGE_POLICY": "warn"}
LabFactory = Callable[..., RunningLab]


def lab_up(state: Path, *options: str) -> RunningLab:
    """Start a lab as a user would."""
    done = subprocess.run(
        [*EDGE, "lab", "up", "--state", str(state), "--json", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return RunningLab(json.loads(done.stdout))


def lab_down(state: Path) -> None:
    """End the lab of this state folder."""
    process.stop(Layout(state))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    """One lab of four sites for the whole run. Leave its sites' weather fair and its clock alone."""
    state = tmp_path_factory.mktemp("lab") / "state"
    yield lab_up(state, "--sites", "4")
    lab_down(state)


@pytest.fixture(scope="session")
def lab_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabFactory]:
    """Starts labs of other sizes and scenarios: `lab_factory("--sites", "12", "--scenario", "demo")`."""
    states: list[Path] = []

    def start(*options: str) -> RunningLab:
        states.append(tmp_path_factory.mktemp("lab") / "state")
        return lab_up(states[-1], *options)

    yield start
    for state in states:
        lab_down(state)


class RunningPlatform:
    """Lab, Prefect server, worker and gateway, with their state in `home`."""

    def __init__(self, home: Path, addresses: Addresses) -> None:
        self.home = home
        self.addresses = addresses
        self.lab = RunningLab(addresses.lab)
        self.environment = {**os.environ, **addresses.environment}

    def edge(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """An `edge` command, as a user of this platform would run it."""
        return subprocess.run(
            [*EDGE, *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        return subprocess.Popen(
            [*EDGE, *arguments],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """The whole platform with fourteen sites in fair weather. Each test takes sites of its own.

    On a busy machine Prefect's SQLite server may drop an event or a run that it has no lock for: what the platform does
    then, it does here within seconds, so that a test need not wait for minutes.
    """
    home = tmp_path_factory.mktemp("platform")
    running = LocalPlatform(home)
    try:
        yield RunningPlatform(home, running.start(sites=14, scenario=None, settings=SOON_AGAIN))
    finally:
        running.stop()
