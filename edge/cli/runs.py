"""Starting a flow from a command: on the work pool of the configured Prefect server, or in this process."""

from __future__ import annotations

import logging
import os
from typing import Any, cast
from uuid import UUID

from edge.errors import NotFound, OperationFailed


def keep_prefect_quiet() -> None:
    """The ledger and a bar say how it goes. Prefect reads this when it is imported, which comes later."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    for name in ("EventsWorker", "azure.identity"):  # what they warn of is in the error, or of no consequence
        logging.getLogger(name).setLevel(logging.ERROR)


def start_on_pool(deployment: str, parameters: dict[str, Any], *, wait: bool = False) -> str:
    """Start a run of the deployment; answers its id, or with `wait` what it said when it had ended.

    Raises NotFound without such a deployment, ServerFault when the server does not answer.
    """
    import httpx  # noqa: PLC0415 - with what follows it takes a second to import
    from prefect.client.schemas.objects import FlowRun  # noqa: PLC0415 - as above
    from prefect.deployments import run_deployment  # noqa: PLC0415 - as above
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415 - as above

    from blocks.load import server_fault  # noqa: PLC0415 - as above

    try:
        started = run_deployment(deployment, parameters=parameters, timeout=None if wait else 0, poll_interval=0.5)
    except ObjectNotFound as missing:
        remedy = "Apply the deployments with `python -m deployments.apply`"
        raise NotFound("The server has no such deployment", remedy=remedy, deployment=deployment) from missing
    except httpx.HTTPError as error:
        raise server_fault(error) from error
    run = cast(FlowRun, started)
    if not wait:
        return str(run.id)
    if run.state is None or run.state.type.value == "CRASHED":
        raise OperationFailed("The run died", run=run.id, said=run.state.message if run.state else None)
    return str(run.state.message)


def over(runs: list[str]) -> bool:
    """Whether all these runs have ended. Raises ServerFault when the server does not answer."""
    import httpx  # noqa: PLC0415 - with what follows it takes a second to import
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - as above

    from blocks.load import server_fault  # noqa: PLC0415 - as above

    try:
        with get_client(sync_client=True) as client:
            states = [client.read_flow_run(UUID(run)).state for run in runs]
    except httpx.HTTPError as error:
        raise server_fault(error) from error
    return all(state is not None and state.is_final() for state in states)
