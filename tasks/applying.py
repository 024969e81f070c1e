"""Puts objects on a site and waits until they work."""

from __future__ import annotations

from collections.abc import Sequence

from edge.clients.kubernetes import SiteClient
from edge.model.kube import KubeObject
from edge.model.step import Detail
from edge.policy.apply_order import phases
from edge.policy.health import health_of

SERVED_WITHIN_S = 30.0
"""How long a custom resource definition may take until its objects are served."""


def apply_objects(client: SiteClient, objects: Sequence[KubeObject], answers: list[KubeObject]) -> Detail:
    """Apply in phases: a custom resource definition is served before its objects come. The site's answers are added."""
    for phase in phases(objects):
        applied: list[KubeObject] = []
        for obj in phase:
            applied.append(client.apply(obj))
            answers.append(applied[-1])
        definitions = [obj for obj in applied if obj["kind"] == "CustomResourceDefinition"]
        if definitions:
            client.wait_for(definitions, health_of, within_s=SERVED_WITHIN_S)
    return {"objects": len(objects)}


def await_health(client: SiteClient, objects: Sequence[KubeObject], within_s: float) -> Detail:
    """Wait until every object is Current; what the site answered to an apply may show that it is already.

    Raises NotYet in the end, OperationFailed when one has failed.
    """
    client.wait_for(objects, health_of, within_s=max(within_s, 1.0))
    return {"objects": len(objects)}
