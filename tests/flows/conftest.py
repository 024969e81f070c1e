"""What tests of runbooks ask with: the platform's ledger, its sites, its Azure and its Prefect server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge.clients.arc import ArcClient
from edge.clients.azure_identity import default_credential
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.ledger import Ledger
from tests.patient_http import prefect_client

SiteOf = Callable[[str], SiteClient]
WITHIN_S = 240.0
"""Longer than what the platform takes to send once more what Prefect lost, twice."""


@pytest.fixture
def ledger(platform: Any) -> Iterator[Ledger]:
    """The platform's ledger."""
    with Ledger.open(platform.addresses.ledger_url) as opened:
        yield opened


@pytest.fixture
def site_of(platform: Any) -> Iterator[SiteOf]:
    """A client for a site by its name, made from the lab's kubeconfig."""
    folder = Path(platform.addresses.lab["kubeconfigs"])
    with ExitStack() as opened:
        yield lambda name: opened.enter_context(SiteClient(read_kubeconfig(folder / f"{name}.kubeconfig"), site=name))


@pytest.fixture
def arc(platform: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArcClient]:
    """A client for the platform's Azure, logged in as a managed identity."""
    azure, ca_file = platform.addresses.lab["azure"], platform.addresses.lab["ca_file"]
    for name, value in azure["env"].items():
        monkeypatch.setenv(name, value)
    with ArcClient(azure["endpoint"], azure["subscription_id"], default_credential(ca_file), ca_file=ca_file) as client:
        yield client


class Prefect:
    """The platform's Prefect server, asked over HTTP, so that Prefect is not imported into the test's process."""

    def __init__(self, api: str) -> None:
        self._api = prefect_client(api)

    def __enter__(self) -> Prefect:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request; the answer's JSON, None without one."""
        answer = self._api.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """The runs of a flow."""
        wanted = {"flows": {"name": {"any_": [flow]}}}
        found: list[dict[str, Any]] = self.ask("POST", "/flow_runs/filter", wanted)
        return found

    def start(self, flow: str, parameters: dict[str, Any]) -> str:
        """Start a run of a flow's deployment by hand; its id."""
        deployment = self.ask("GET", f"/deployments/name/{flow}/default")["id"]
        started = self.ask("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})
        return str(started["id"])


@pytest.fixture
def prefect(platform: Any) -> Iterator[Prefect]:
    """The platform's Prefect server."""
    with Prefect(platform.addresses.prefect_api) as server:
        yield server


Await = Callable[[Callable[[], Any], str], Any]


@pytest.fixture
def until() -> Await:
    """Ask again and again until the answer is true, and return it; fails with `what` when that takes too long."""

    def wait(ask: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            found = ask()
            if found:
                return found
            time.sleep(0.2)
        return pytest.fail(f"not within {WITHIN_S:.0f} s: {what}")

    return wait
