"""Starting a flow from a command on the work pool of the configured Prefect server, and watching how far it is."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from rich.text import Text

from edge.cli.output import errors, progress
from edge.errors import EdgeError, NotFound, OperationFailed
from edge.model.rollout import Rollout

if TYPE_CHECKING:
    from edge.ledger import Ledger

POLL_S = 0.5

FindRollout = Callable[[], Rollout | None]
"""The rollout that is under way, once there is one."""

_NO_WORKERS_NEEDED = (":push", ":managed")
"""How the types of work pools end whose runs start by themselves."""


def keep_prefect_quiet() -> None:
    """The ledger and a bar say how it goes. Prefect reads this when it is imported, which comes later."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault(
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"
    )  # on a busy machine 20 are not enough
    for name in ("EventsWorker", "azure.identity"):  # what they warn of is in the error, or of no consequence
        logging.getLogger(name).setLevel(logging.ERROR)


def start_on_pool(deployment: str, parameters: dict[str, Any], *, wait: bool = False) -> str:
    """Start a run of the deployment; answers its id, or with `wait` what it said when it had ended.

    When no worker of its pool is online that is told on standard error, and the run waits for one. Raises NotFound
    without such a deployment, ServerFault when the server does not answer, OperationFailed when the run died.
    """
    from prefect.client.schemas.objects import FlowRun  # noqa: PLC0415 - it takes a second to import
    from prefect.deployments import run_deployment  # noqa: PLC0415 - as above

    with _understood(deployment):
        _tell_without_worker(_server(), deployment)
        started = run_deployment(deployment, parameters=parameters, timeout=None if wait else 0, poll_interval=POLL_S)
    run = cast(FlowRun, started)
    if not wait:
        return str(run.id)
    if run.state is None or run.state.type.value == "CRASHED":
        raise OperationFailed("The run died", run=run.id, said=run.state.message if run.state else None)
    return str(run.state.message)


def over(runs: list[str]) -> bool:
    """Whether all these runs have ended. Raises ServerFault when the server does not answer."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - it takes a second to import

    with _understood(), get_client(sync_client=True) as client:
        states = [client.read_flow_run(UUID(run)).state for run in runs]
    return all(state is not None and state.is_final() for state in states)


@contextmanager
def watching(ledger: Ledger, title: str, total: int, find: FindRollout) -> Iterator[None]:
    """Show on a bar, from the ledger, how many sites have ended."""
    ended = threading.Event()
    with progress(title, total) as bar:
        watcher = threading.Thread(target=_show, args=(ledger, find, bar, ended), daemon=True)
        if errors.is_terminal:
            watcher.start()
        try:
            yield
        finally:
            ended.set()
            if watcher.is_alive():
                watcher.join()


def _server() -> str:
    from prefect.settings import get_current_settings  # noqa: PLC0415 - it takes a second to import

    return str(get_current_settings().api.url)


@cache
def _tell_without_worker(_server: str, deployment: str) -> None:
    """Once for each deployment of a server: a command that starts many runs says it once."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - it takes a second to import

    with get_client(sync_client=True) as client:
        name = client.read_deployment_by_name(deployment).work_pool_name
        if name is None or client.read_work_pool(name).type.endswith(_NO_WORKERS_NEEDED):
            return
        online = any(worker.status.value == "ONLINE" for worker in client.read_workers_for_work_pool(name))
    if not online:
        start = f"prefect worker start --pool {name}"
        errors.print(Text(f"No worker of the work pool {name!r} is online; the run waits until one is: `{start}`"))


@contextmanager
def _understood(deployment: str = "") -> Iterator[None]:
    """Errors of Prefect's client as ours."""
    import httpx  # noqa: PLC0415 - with what follows it takes a second to import
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415 - as above

    from blocks.load import server_fault  # noqa: PLC0415 - as above

    try:
        yield
    except ObjectNotFound as missing:
        raise _missing(deployment) from missing
    except httpx.HTTPError as error:
        raise server_fault(error) from error


def _missing(deployment: str) -> EdgeError:
    if not deployment:
        return OperationFailed("A run was deleted on the server")
    remedy = "Apply the deployments with `python -m deployments.apply`"
    return NotFound("The server has no such deployment", remedy=remedy, deployment=deployment)


def _show(ledger: Ledger, find: FindRollout, bar: Callable[[int], None], ended: threading.Event) -> None:
    while not ended.wait(POLL_S):
        rollout = find()
        if rollout is not None:
            tally = ledger.rollouts.tally(rollout.plan.rollout_id)
            bar(sum(count for status, count in tally.items() if status is not None))
