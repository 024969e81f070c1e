"""How many connects go on at once over all workers: a slot of a global concurrency limit on the Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
from prefect.concurrency.sync import concurrency
from prefect.settings import get_current_settings

from blocks.load import server_fault
from edge.errors import NotYet

LIMIT = "edge-arc-connect"
"""As in `deployments/limits.yaml`. A server that does not have it bounds nothing."""
WAIT_S = 1800.0


@contextmanager
def connect_slot(limit: str = LIMIT, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold a slot meanwhile; without a Prefect server there is nobody to share with, and none is taken.

    A slot is a lease: when renewing it fails the work goes on, so for a while there may be one connect more than the
    limit says. Raises NotYet when none was free for `wait_s` seconds, ServerFault when the server does not answer.
    """
    with ExitStack() as held:
        if get_current_settings().api.url is not None:
            _take(held, limit, wait_s)
        yield


def _take(held: ExitStack, limit: str, wait_s: float) -> None:
    try:
        held.enter_context(concurrency(limit, occupy=1, timeout_seconds=wait_s, strict=False))
    except TimeoutError as full:
        raise NotYet(f"No slot to connect a cluster was free for {wait_s:g} s", limit=limit) from full
    except httpx.HTTPError as error:
        raise server_fault(error) from error
