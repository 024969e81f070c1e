"""Starts runs of other deployments on the Prefect server, without waiting for them."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from blocks.load import server_fault
from edge.errors import InvalidInput, NotFound


def start_run(deployment: str, parameters: dict[str, Any]) -> str:
    """Start a run of `<flow>/<deployment>`; answers its id.

    Raises InvalidInput without a server, NotFound without such a deployment, ServerFault when there is no answer.
    """
    if get_current_settings().api.url is None:
        remedy = "Set PREFECT_API_URL, or carry the rollout out by one run"
        raise InvalidInput("Runs of their own need a Prefect server", remedy=remedy, field="runs", value=deployment)
    try:
        run = run_deployment(deployment, parameters=parameters, timeout=0, as_subflow=False)
    except ObjectNotFound as missing:
        remedy = "Apply the deployments with `python -m deployments.apply`"
        raise NotFound("The server has no such deployment", remedy=remedy, deployment=deployment) from missing
    except httpx.HTTPError as error:
        raise server_fault(error) from error
    return str(cast(FlowRun, run).id)


def is_waiting(run: str) -> bool:
    """Whether no worker has taken this run yet. Raises ServerFault when there is no answer."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run)).state
    except ObjectNotFound:
        return False
    except httpx.HTTPError as error:
        raise server_fault(error) from error
    return state is not None and state.is_scheduled()
