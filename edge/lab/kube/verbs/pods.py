"""What pods answer beside the usual verbs: eviction, binding, logs."""

from __future__ import annotations

from typing import Any

from edge.lab.kube import disruption
from edge.lab.kube.call import Answer, Call, Target, answer
from edge.lab.kube.deletion import Deletion, delete
from edge.lab.kube.errors import bad_request, conflict, too_many
from edge.lab.kube.site import Site
from edge.lab.kube.typed import BINDING, EVICTION, read_typed
from edge.lab.kube.verbs.commit import review
from edge.lab.kube.verbs.write import current

LOG_ANNOTATION = "lab.edge-platform.io/log"
"""A pod's log in the lab is the text of this annotation."""
_CREATED: dict[str, Any] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}


def evict(site: Site, call: Call, target: Target) -> Answer:
    """POST pods/x/eviction: a deletion that disruption budgets may refuse (429)."""
    body = read_typed(call, EVICTION)
    options = body.get("deleteOptions") or {}
    pod = current(site, target)
    review(site, call, target, body, None)
    refusal = disruption.refusal(site.store, pod)
    if refusal:
        fault = {"reason": "DisruptionBudget", "message": refusal}
        raise too_many("Cannot evict pod as it would violate the pod's disruption budget.", [fault])
    if not (call.dry_run or "All" in (options.get("dryRun") or ())):
        disruption.charge(site.store, pod)
        delete(site.store, target.resource, pod, Deletion(grace=options.get("gracePeriodSeconds")))
    return answer(_CREATED, 201)


def bind(site: Site, call: Call, target: Target) -> Answer:
    """POST pods/x/binding: the scheduler's decision."""
    body = read_typed(call, BINDING)
    node = (body.get("target") or {}).get("name")
    if not node:
        raise bad_request("target.name: Required value")
    pod = current(site, target)
    if pod["spec"].get("nodeName"):
        taken = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise conflict(target.resource, target.name, taken)
    review(site, call, target, body, None)
    if not call.dry_run:
        call.check_room()
        condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": site.now()}
        before = pod.get("status") or {}
        conditions = [one for one in before.get("conditions") or () if one["type"] != "PodScheduled"]
        status = {**before, "conditions": [*conditions, condition]}
        site.store.replace(target.resource, {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status})
    return answer(_CREATED, 201)


def log(site: Site, _call: Call, target: Target) -> Answer:
    """GET pods/x/log."""
    pod = current(site, target)
    text = (pod["metadata"].get("annotations") or {}).get(LOG_ANNOTATION, "")
    return Answer(200, text.encode(), "text/plain")
