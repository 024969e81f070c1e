"""Which failures a task tries again. Clients retry single requests; a task retries a whole site, later."""

from __future__ import annotations

from typing import Any

from edge.errors import EdgeError

RETRIES = 1
DELAY_S = 5


def only_transient(_task: Any, _run: Any, state: Any) -> bool:
    """Prefect's `retry_condition_fn`: true when trying again may help."""
    try:
        state.result()
    except EdgeError as error:
        return error.transient
    except Exception:  # noqa: BLE001 - whatever else went wrong is a defect, and a second try hides it
        return False
    return False
