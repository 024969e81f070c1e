"""The Prefect server that our pins install: it takes what we tell it, however often, and its scheduler works.

With some versions of fastapi `prefect deploy` fails, and with SQLAlchemy 2.1 no scheduled run is ever created.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.patient_http import prefect_client


@pytest.fixture
def api(platform: Any) -> Iterator[httpx.Client]:
    with prefect_client(platform.addresses.prefect_api) as client:
        yield client


def ask(api: httpx.Client, path: str, body: object = None) -> Any:
    answer = api.post(path, json=body or {})
    assert answer.is_success, answer.text
    return answer.json()


def told(api: httpx.Client) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that `deployments.apply` brings to a server, by its parts that stay the same."""
    types = ask(api, "/block_types/filter")
    ours = {found["id"]: found["slug"] for found in types if found["slug"].startswith("edge-")}
    automations = ask(api, "/automations/filter")
    return {
        "deployments": sorted(
            (found["id"], found["name"], found["entrypoint"], found["work_pool_name"])
            for found in ask(api, "/deployments/filter")
        ),
        "automations": sorted((found["name"], found["enabled"]) for found in automations),
        "blocks": sorted(
            (found["id"], ours[found["block_type_id"]], found["name"], str(found["data"]))
            for found in ask(api, "/block_documents/filter", {"include_secrets": True})
            if found["block_type_id"] in ours
        ),
        "limits": sorted(
            (found["id"], found["name"], found["limit"]) for found in ask(api, "/v2/concurrency_limits/filter")
        ),
        "pools": sorted((found["id"], found["name"], found["type"]) for found in ask(api, "/work_pools/filter")),
    }


def test_telling_the_server_again_changes_nothing(platform: Any, api: httpx.Client) -> None:
    before = told(api)
    entrypoints = {entrypoint for _, _, entrypoint, _ in before["deployments"]}
    assert entrypoints >= {"flows.onboard_device.onboard_device", "flows.roll_out_stamp.roll_out_stamp"}
    assert set(before["automations"]) >= {("devices registered", True), ("edge crashed runs", True)}
    assert "edge-arc-connect" in {name for _, name, _ in before["limits"]}
    assert {kind for _, kind, _, _ in before["blocks"]} >= {"edge-ledger", "edge-site-credentials"}
    again = subprocess.run(
        [sys.executable, "-m", "deployments.apply"],
        env=platform.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert again.returncode == 0, again.stderr
    assert told(api) == before


def test_a_cron_schedule_makes_runs(api: httpx.Client, until: Any) -> None:
    flow = ask(api, "/flows/", {"name": f"scheduled-{uuid4().hex}"})["id"]
    schedule = {"schedule": {"cron": "30 4 * * *", "timezone": "Europe/Berlin"}, "active": True}
    deployment = ask(api, "/deployments/", {"name": "nightly", "flow_id": flow, "schedules": [schedule]})["id"]
    try:
        wanted = {"deployments": {"id": {"any_": [deployment]}}}
        runs = until(lambda: ask(api, "/flow_runs/filter", wanted), "the scheduler has planned runs")
    finally:
        assert api.delete(f"/deployments/{deployment}").is_success
    assert {run["state"]["type"] for run in runs} == {"SCHEDULED"}
    assert all(":30:00" in run["expected_start_time"] for run in runs)
