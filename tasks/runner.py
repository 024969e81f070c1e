"""How tasks of one flow run side by side: on threads, since they wait for sites most of the time."""

from __future__ import annotations

from typing import Any, cast

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner


def threads(width: int) -> TaskRunner[PrefectFuture[Any]]:
    """A task runner of at most `width` threads."""
    return cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=width))
