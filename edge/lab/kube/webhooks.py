"""Admission webhooks: which writes they are asked about, and what becomes of a write when they refuse or fail.

Nothing at a site of the lab runs, so what a webhook answers is data: the annotation `lab.edge-platform.io/webhook` of
its Service, else what the weather says of it, else that it allows. Without a ready pod behind the Service it fails, as
on a real cluster. A mutating webhook is asked too, but changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import yaml
from pydantic import ValidationError

from edge.lab.kube.admission_match import any_rule, selected
from edge.lab.kube.cel_functions import CelFault, compiled, conditions_hold, surroundings
from edge.lab.kube.errors import ApiError, bad_request, forbidden
from edge.lab.kube.resources import builtin
from edge.lab.kube.review import Review
from edge.lab.kube.store import Obj
from edge.lab.kube.webhook_answer import WebhookAnswer, WebhookMode

WEBHOOK_ANNOTATION = "lab.edge-platform.io/webhook"
_GROUP: Final = "admissionregistration.k8s.io"
_KINDS: Final = (
    builtin("mutatingwebhookconfigurations", _GROUP),
    builtin("validatingwebhookconfigurations", _GROUP),
)
_SLICES: Final = builtin("endpointslices", "discovery.k8s.io")
_SERVICES: Final = builtin("services")


class _Failure(NamedTuple):
    """A webhook that could not be asked, and the lab seconds it took to find out."""

    why: str
    took_s: float = 0.0


def check(review: Review) -> None:
    """Ask the site's webhooks about a write. Raises ApiError when one refuses, or fails and must not."""
    if review.exempt:
        return
    for kind in _KINDS:
        for config in review.store.list(kind):
            for hook in config.get("webhooks") or ():
                if _asked(review, hook):
                    _ask(review, hook)


def _asked(review: Review, hook: Mapping[str, Any]) -> bool:
    equivalent = hook.get("matchPolicy", "Equivalent") == "Equivalent"
    if not any_rule(review, hook.get("rules") or (), equivalent) or not selected(review, hook):
        return False
    conditions = hook.get("matchConditions") or ()
    if not conditions:
        return True
    values = {"object": review.obj, "oldObject": review.old, "request": review.request}
    try:
        around = surroundings(values, *(compiled(one["expression"]) for one in conditions))
        return conditions_hold(conditions, around)
    except CelFault as fault:
        if hook.get("failurePolicy") == "Ignore":
            return False
        raise forbidden(review.resource, review.name, str(fault)) from fault


def _ask(review: Review, hook: Mapping[str, Any]) -> None:
    found = _answer(review, hook)
    wait = found.took_s if isinstance(found, _Failure) else found.delay_s
    review.call.delay_s = max(review.call.delay_s, wait)
    if isinstance(found, _Failure):
        if hook.get("failurePolicy") != "Ignore":
            raise _failed(hook, f"failed to call webhook: {found.why}")
    elif found.mode is WebhookMode.REJECT:
        raise _denied(hook["name"], found)


def _answer(review: Review, hook: Mapping[str, Any]) -> WebhookAnswer | _Failure:
    """The webhook's answer, or why there is none."""
    post, where = f'Post "{_url(hook)}": ', hook["clientConfig"].get("service")
    if where is None:
        host = _url(hook).partition("//")[2].partition("/")[0].partition("?")[0].partition(":")[0]
        return _Failure(f"{post}dial tcp: lookup {host}: no such host")
    service = review.store.get(_SERVICES, where["namespace"], where["name"])
    if service is None:
        return _Failure(f'{post}service "{where["name"]}" not found')
    said = review.call.webhook(where["name"]) or _said(service)
    if said is None and not any(_ready(review, where)):
        return _Failure(f'{post}no endpoints available for service "{where["name"]}"')
    said = said or WebhookAnswer()
    return _trouble(said, post, service, float(hook.get("timeoutSeconds", 10))) or said


def _trouble(said: WebhookAnswer, post: str, service: Obj, patience: float) -> _Failure | None:
    """Why this answer is none."""
    if said.mode is WebhookMode.SILENT or said.delay_s > patience:
        return _Failure(f"{post}context deadline exceeded", patience)
    if said.mode is WebhookMode.REFUSED:
        return _Failure(f"{post}dial tcp {service['spec'].get('clusterIP')}:443: connect: connection refused")
    if said.mode is WebhookMode.ERROR:
        return _Failure(f'an error on the server ("{said.message}") has prevented the request from succeeding')
    return None


def _url(hook: Mapping[str, Any]) -> str:
    where, service = hook["clientConfig"], hook["clientConfig"].get("service")
    base = str(where.get("url") or "")
    if service is not None:
        path = str(service.get("path") or "").lstrip("/")
        base = f"https://{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}/{path}"
    return f"{base}?timeout={hook.get('timeoutSeconds', 10)}s"


def _said(service: Obj) -> WebhookAnswer | None:
    text = (service["metadata"].get("annotations") or {}).get(WEBHOOK_ANNOTATION)
    if not text:
        return None
    try:
        return WebhookAnswer.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as bad:
        name = service["metadata"]["name"]
        raise bad_request(f"the annotation {WEBHOOK_ANNOTATION} of Service {name} is not an answer: {bad}") from bad


def _ready(review: Review, service: Mapping[str, Any]) -> Iterator[bool]:
    labels = f"kubernetes.io/service-name={service['name']}"
    for piece in review.store.list(_SLICES, service["namespace"], labels):
        for one in piece.get("endpoints") or ():
            yield (one.get("conditions") or {}).get("ready", True)


def _failed(hook: Mapping[str, Any], why: str) -> ApiError:
    text = f'Internal error occurred: failed calling webhook "{hook["name"]}": {why}'
    return ApiError(500, "InternalError", text, {"causes": [{"message": text.partition(": ")[2]}]})


def _denied(name: str, found: WebhookAnswer) -> ApiError:
    said = f": {found.message}" if found.message else " without explanation"
    return ApiError(
        found.code, "Forbidden" if found.code == 403 else "", f'admission webhook "{name}" denied the request{said}'
    )
