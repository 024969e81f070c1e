"""Paths: which resource, object and subresource they name, and which verb serves them."""

from __future__ import annotations

from collections.abc import Callable

from edge.lab.kube.call import Answer, Call, Target
from edge.lab.kube.errors import ApiError, method_not_allowed, no_such_path
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.site import Site
from edge.lab.kube.types import SiteTypes
from edge.lab.kube.verbs import pods, read, remove, reviews, scale, write
from edge.lab.kube.watch import Watch

Verb = Callable[[Site, Call, Target], Answer | Watch]

_COLLECTION: dict[str, tuple[str, Verb]] = {
    "GET": ("list", read.list_objects),
    "POST": ("create", write.create),
    "DELETE": ("deletecollection", remove.delete_collection),
}
_OBJECT: dict[str, tuple[str, Verb]] = {
    "GET": ("get", read.get),
    "PUT": ("update", write.update),
    "PATCH": ("patch", write.patch),
    "DELETE": ("delete", remove.delete_one),
}
_STATUS = {method: _OBJECT[method] for method in ("GET", "PUT", "PATCH")}
_SUBRESOURCES: dict[str, dict[str, tuple[str, Verb]]] = {
    "status": _STATUS,
    "approval": _STATUS,
    "finalize": {"PUT": ("update", write.update)},
    "scale": {
        "GET": ("get", scale.get_scale),
        "PUT": ("update", scale.put_scale),
        "PATCH": ("patch", scale.patch_scale),
    },
    "eviction": {"POST": ("create", pods.evict)},
    "binding": {"POST": ("create", pods.bind)},
    "log": {"GET": ("get", pods.log)},
    "token": {"POST": ("create", reviews.token_for)},
}
_QUESTIONS: dict[str, Verb] = {
    "selfsubjectaccessreviews": reviews.may_i,
    "subjectaccessreviews": reviews.may_they,
    "localsubjectaccessreviews": reviews.may_they,
    "selfsubjectrulesreviews": reviews.what_may_i,
    "selfsubjectreviews": reviews.who_am_i,
    "tokenreviews": reviews.whose_token,
}


def target_of(types: SiteTypes, parts: list[str]) -> Target:
    """What the parts of a path under /api or /apis name. ApiError 404 when the site does not serve that."""
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and rest[2] in {"status", "finalize"}):
        namespace, rest = rest[1], rest[2:]
    resource = types.find(group, version, rest[0])
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    sub = rest[2] if len(rest) > 2 else ""
    if (sub and sub not in resource.subresources) or (name and resource.namespaced and not namespace):
        raise no_such_path()
    return Target(resource, namespace, name, sub)


def verb_of(call: Call, target: Target) -> tuple[str, Verb]:
    """(the verb in RBAC's words, the function that serves it). ApiError 405 when there is none."""
    if call.method == "GET" and not target.subresource and call.flag("watch"):
        return "watch", read.watch
    table = _SUBRESOURCES.get(target.subresource) if target.subresource else _OBJECT if target.name else _COLLECTION
    found = (table or {}).get(call.method)
    if found is None:
        raise method_not_allowed()
    word, verb = found
    if not target.subresource and word not in target.resource.verbs:
        raise method_not_allowed()
    if word == "create" and target.resource.namespaced and not target.namespace:
        raise _needs_namespace(target.resource)
    return word, _QUESTIONS.get(target.resource.plural, verb) if word == "create" else verb


def _needs_namespace(resource: ResourceType) -> ApiError:
    return ApiError(405, "MethodNotAllowed", f"{resource.plural} must be created in a namespace", {})
