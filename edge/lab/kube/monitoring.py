"""What a Prometheus at a site answers, for the instant queries that checks ask: its series come from the objects.

A Service is a Prometheus when the annotation `lab.edge-platform.io/serves: prometheus` says so, on it or on its pods,
or when a pod behind it runs an image named `prometheus`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from edge.lab.kube.call import Answer
from edge.lab.kube.promql import PromqlFault, evaluated
from edge.lab.kube.series import series_of
from edge.lab.kube.store import Obj, SiteStore

SERVES_ANNOTATION = "lab.edge-platform.io/serves"
_HEALTH: Final = {"/-/ready": b"Prometheus Server is Ready.\n", "/-/healthy": b"Prometheus Server is Healthy.\n"}


def serves(service: Obj, pods: Iterable[Obj]) -> bool:
    """Whether it is Prometheus that answers."""
    return _says_so(service) or any(_says_so(pod) or _runs_it(pod) for pod in pods)


def answer_of(store: SiteStore, path: str, query: Mapping[str, str]) -> Answer:
    """The answer to one request."""
    if path in _HEALTH:
        return Answer(200, _HEALTH[path], "text/plain; charset=utf-8")
    if path != "/api/v1/query":
        return Answer(404, b"404 page not found\n", "text/plain; charset=utf-8")
    moment = store.now().timestamp()
    try:
        kind, found = evaluated(query.get("query", ""), series_of(store))
    except PromqlFault as fault:
        text = f'invalid parameter "query": {fault}'
        return _json(400, {"status": "error", "errorType": "bad_data", "error": text})
    if kind == "scalar":
        result: Any = [moment, _number(found[0].value)]
    else:
        result = [{"metric": dict(one.labels), "value": [moment, _number(one.value)]} for one in found]
    return _json(200, {"status": "success", "data": {"resultType": kind, "result": result}})


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 and value == round(value, 4) else repr(value)


def _json(status: int, body: Any) -> Answer:
    return Answer(status, orjson.dumps(body))


def _says_so(obj: Obj) -> bool:
    return bool((obj["metadata"].get("annotations") or {}).get(SERVES_ANNOTATION) == "prometheus")


def _runs_it(pod: Obj) -> bool:
    images = (str(one.get("image", "")) for one in pod["spec"].get("containers") or ())
    return any(image.rpartition("/")[2].partition(":")[0].partition("@")[0] == "prometheus" for image in images)
