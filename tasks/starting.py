"""Starts runs of other deployments on the Prefect server, without waiting for them."""

from __future__ import annotations

from enum import StrEnum
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


class Standing(StrEnum):
    """How a run stands that was asked for."""

    WAITING = "waiting"
    """No worker has taken it yet."""
    AT_WORK = "at-work"
    """Or so the server thinks: a run whose worker died looks like this for a while."""
    ENDED = "ended"
    BROKEN = "broken"
    """It crashed, failed, or somebody cancelled it."""


def standing(run: str) -> Standing:
    """How a run of `start_run` stands; one that the server does not know any more has ended. Raises ServerFault."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run)).state
    except ObjectNotFound:
        return Standing.ENDED
    except httpx.HTTPError as error:
        raise server_fault(error) from error
    if state is None or state.is_scheduled():
        return Standing.WAITING
    if not state.is_final():
        return Standing.AT_WORK
    return Standing.ENDED if state.is_completed() else Standing.BROKEN
