"""PodDisruptionBudgets: how many of their pods may go now."""

from __future__ import annotations

from edge.lab.controllers.home import Home
from edge.lab.kube.disruption import status_of
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import Obj

BUDGETS_TYPE = builtin("poddisruptionbudgets", "policy")


def budget(home: Home, obj: Obj) -> None:
    """Bring the counts and the DisruptionAllowed condition of a budget up to date."""
    status = status_of(home.store, obj)
    allowed = status["disruptionsAllowed"] > 0
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
        "observedGeneration": status["observedGeneration"],
    }
    home.set_status(BUDGETS_TYPE, obj, {**status, "conditions": [condition]})
