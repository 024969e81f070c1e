"""Starting a flow from a command, on the server's work pool, and watching from the ledger how far its rollout is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from edge.cli.output import errors, progress
from edge.errors import NotFound
from edge.model.rollout import Rollout

if TYPE_CHECKING:
    from edge.ledger import Ledger

POLL_S = 0.5

FindRollout = Callable[[], Rollout | None]
"""The rollout that is under way, once there is one."""


def keep_prefect_quiet() -> None:
    """The ledger and the bar say how it goes. Prefect reads this when it is imported, which comes later."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def start_on_pool(deployment: str, parameters: dict[str, Any]) -> str:
    """Start a run of the deployment and wait until it has ended. Raises ServerFault when the server goes away."""
    import httpx  # noqa: PLC0415 - with what follows it takes a second to import
    from prefect.client.schemas.objects import FlowRun  # noqa: PLC0415 - as above
    from prefect.deployments import run_deployment  # noqa: PLC0415 - as above
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415 - as above

    from blocks.load import server_fault  # noqa: PLC0415 - as above

    try:
        started = run_deployment(deployment, parameters=parameters, timeout=None, poll_interval=POLL_S)
    except ObjectNotFound as missing:
        remedy = "Apply the deployments with `python -m deployments.apply`"
        raise NotFound("The server has no such deployment", remedy=remedy, deployment=deployment) from missing
    except httpx.HTTPError as error:
        raise server_fault(error) from error
    state = cast(FlowRun, started).state
    return str(state.message if state else "")


@contextmanager
def watching(ledger: Ledger, title: str, total: int, find: FindRollout) -> Iterator[None]:
    """Show on a bar, from the ledger, how many sites have ended."""
    over = threading.Event()
    with progress(title, total) as bar:
        watcher = threading.Thread(target=_show, args=(ledger, find, bar, over), daemon=True)
        if errors.is_terminal:
            watcher.start()
        try:
            yield
        finally:
            over.set()
            if watcher.is_alive():
                watcher.join()


def _show(ledger: Ledger, find: FindRollout, bar: Callable[[int], None], over: threading.Event) -> None:
    while not over.wait(POLL_S):
        rollout = find()
        if rollout is not None:
            tally = ledger.rollouts.tally(rollout.plan.rollout_id)
            bar(sum(count for status, count in tally.items() if status is not None))
