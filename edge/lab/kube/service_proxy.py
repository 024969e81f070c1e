"""`services/x/proxy`: the API server asks a Service on behalf of who asks, and a ready pod behind it answers.

No pod of the lab runs anything, so what it answers is data: the annotation `lab.edge-platform.io/http` of the pod, else
of the Service, else 200. It holds one answer or a list of them; the first whose path fits is given.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, NamedTuple

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from edge.lab.kube import monitoring
from edge.lab.kube.call import Answer, Call, Target
from edge.lab.kube.errors import ApiError, bad_request, not_found
from edge.lab.kube.resources import PODS, builtin
from edge.lab.kube.site import Site
from edge.lab.kube.store import Obj, SiteStore
from edge.model.base import Value

ANSWER_ANNOTATION = "lab.edge-platform.io/http"
_SLICES: Final = builtin("endpointslices", "discovery.k8s.io")
_SERVICES: Final = builtin("services")
_VERBS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class GivenAnswer(Value):
    """What is answered to requests whose path fits the glob, after `delay_s` lab seconds."""

    path: str = "*"
    status: Annotated[int, Field(ge=200, le=599)] = 200
    body: str = "ok\n"
    content_type: str = "text/plain; charset=utf-8"
    delay_s: Annotated[float, Field(ge=0, le=3600)] = 0.0


_ANSWERS: TypeAdapter[tuple[GivenAnswer, ...]] = TypeAdapter(tuple[GivenAnswer, ...])


class Asked(NamedTuple):
    """A path below a Service's proxy, taken apart."""

    namespace: str
    service: str
    port: str
    path: str

    @classmethod
    def by(cls, parts: list[str]) -> Asked | None:
        """The proxy that the parts of a path name; None when they name none. ApiError 400 for a malformed name."""
        if parts[:3] != ["api", "v1", "namespaces"] or parts[4:5] != ["services"] or parts[6:7] != ["proxy"]:
            return None
        words = parts[5].split(":")
        if len(words) > 3 or (len(words) == 3 and words[0] not in ("", "http", "https")):
            raise bad_request(f'invalid service request "{parts[5]}"')
        name, port = (words[0], "") if len(words) == 1 else words[-2:]
        return cls(parts[3], name, port, "/" + "/".join(parts[7:]))

    @property
    def target(self) -> Target:
        """What the request needs the right for."""
        return Target(_SERVICES, self.namespace, self.service, "proxy")


def verb_of(call: Call) -> str:
    """The verb in RBAC's words."""
    return _VERBS.get(call.method, "get")


def proxied(site: Site, call: Call, asked: Asked) -> Answer:
    """The answer of a ready pod. ApiError 404 without such a Service and 503 without a ready pod, as a real server."""
    service, pods = _endpoints(site.store, asked)
    for obj in (*pods[:1], service):
        given = _given(obj, asked.path)
        if given is not None:
            return Answer(given.status, given.body.encode(), given.content_type, delay_s=given.delay_s)
    if monitoring.serves(service, pods):
        return monitoring.answer_of(site.store, asked.path, call.query)
    return Answer(200, b"ok\n", "text/plain; charset=utf-8")


def _endpoints(store: SiteStore, asked: Asked) -> tuple[Obj, list[Obj]]:
    """The Service and the ready pods behind its port. An address in an EndpointSlice need not be a pod's."""
    service = store.get(_SERVICES, asked.namespace, asked.service)
    if service is None:
        raise not_found(_SERVICES if asked.port.isdigit() else builtin("endpoints"), asked.service)
    port = _port_name(service, asked)
    labels = f"kubernetes.io/service-name={asked.service}"
    ready = [
        one
        for piece in store.list(_SLICES, asked.namespace, labels)
        if any((known.get("name") or "") == port for known in piece.get("ports") or ())
        for one in piece.get("endpoints") or ()
        if (one.get("conditions") or {}).get("ready", True)
    ]
    if not ready:
        raise _unavailable(f'no endpoints available for service "{asked.service}"')
    found = (store.by_uid((one.get("targetRef") or {}).get("uid", "")) for one in ready)
    return service, [one[1] for one in found if one is not None and one[0].key == PODS]


def _port_name(service: Obj, asked: Asked) -> str:
    if not asked.port.isdigit():
        return asked.port
    for port in service["spec"].get("ports") or ():
        if port["port"] == int(asked.port):
            return str(port.get("name") or "")
    raise _unavailable(f'no service port {asked.port} found for service "{asked.service}"')


def _given(obj: Obj, path: str) -> GivenAnswer | None:
    text = (obj["metadata"].get("annotations") or {}).get(ANSWER_ANNOTATION)
    if not text:
        return None
    try:
        found: Any = yaml.safe_load(text)
        answers = _ANSWERS.validate_python(found if isinstance(found, list) else [found])
    except (yaml.YAMLError, ValidationError) as bad:
        where = f"{obj['kind']} {obj['metadata']['name']}"
        raise ApiError(502, "", f"the annotation {ANSWER_ANNOTATION} of {where} is not an answer: {bad}") from bad
    return next((one for one in answers if fnmatchcase(path, one.path)), None)


def _unavailable(why: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", why)
