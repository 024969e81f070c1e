"""The parameters of a policy: the objects that a binding points at, which the expressions see as `params`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.lab.kube.convert import shown
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.review import Review
from edge.lab.kube.selectors import labels_of, matches
from edge.lab.kube.store import Obj


class ParamsFault(Exception):
    """A binding without usable parameters; the text is made for an error message."""


def params_of(review: Review, spec: Mapping[str, Any], binding: Mapping[str, Any]) -> list[Obj | None]:
    """The parameter objects, each to be judged with; [None] for a policy without any.

    Empty when none is found and the binding allows that. Raises ParamsFault when it does not.
    """
    kind, ref = spec.get("paramKind"), binding.get("paramRef")
    if not kind or not ref:
        return [None]
    resource = review.store.types.of_kind(kind["apiVersion"], kind["kind"])
    if resource is None:
        raise ParamsFault(
            f"failed to find resource referenced by paramKind: '{kind['apiVersion']}, Kind={kind['kind']}'"
        )
    found = _found(review, resource, ref)
    if not found and ref.get("parameterNotFoundAction") == "Deny":
        raise ParamsFault("no params found for policy binding with `Deny` parameterNotFoundAction")
    return list(found)


def _found(review: Review, resource: ResourceType, ref: Mapping[str, Any]) -> list[Obj]:
    namespace = ""
    if resource.namespaced:
        namespace = ref.get("namespace") or review.target.namespace
        if not namespace:
            raise ParamsFault("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    if ref.get("name"):
        one = review.store.get(resource, namespace, ref["name"])
        return [] if one is None else [shown(resource, one)]
    wanted = ref.get("selector") or {}
    return [shown(resource, one) for one in review.store.list(resource, namespace) if matches(wanted, labels_of(one))]
