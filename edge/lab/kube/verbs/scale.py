"""The scale subresource: one number of a workload, whatever its kind."""

from __future__ import annotations

from typing import Any

from edge.lab.kube.bodies import decode_patch, media_type
from edge.lab.kube.call import Answer, Call, Target, answer
from edge.lab.kube.cells import selector_text
from edge.lab.kube.errors import cause, invalid, invalid_patch, method_not_allowed
from edge.lab.kube.jsonpath import first, names_of
from edge.lab.kube.patch import json_patch, merge_patch
from edge.lab.kube.resources import ScalePaths
from edge.lab.kube.site import Site
from edge.lab.kube.store import Obj
from edge.lab.kube.typed import SCALE, as_typed, read_typed
from edge.lab.kube.verbs.commit import clone, commit_change, review
from edge.lab.kube.verbs.write import current


def get_scale(site: Site, _call: Call, target: Target) -> Answer:
    """GET."""
    return answer(_scale_of(_paths(target), current(site, target)))


def put_scale(site: Site, call: Call, target: Target) -> Answer:
    """PUT of a whole Scale."""
    return _set(site, call, target, read_typed(call, SCALE))


def patch_scale(site: Site, call: Call, target: Target) -> Answer:
    """PATCH; the forms differ little on so small an object."""
    before = _scale_of(_paths(target), current(site, target))
    media = media_type(call.headers.get("content-type", ""))
    wish = decode_patch(call.body, media)
    try:
        after = json_patch(before, wish) if media == "application/json-patch+json" else merge_patch(before, wish)
    except (ValueError, TypeError, KeyError, IndexError) as bad:
        raise invalid_patch(target.resource, target.name, str(bad)) from bad
    if not isinstance(after, dict):
        raise invalid_patch(target.resource, target.name, "the patch does not leave an object")
    return _set(site, call, target, as_typed(after, SCALE))


def _paths(target: Target) -> ScalePaths:
    if target.resource.scale is None:
        raise method_not_allowed()
    return target.resource.scale


def _scale_of(paths: ScalePaths, obj: Obj) -> Obj:
    meta = obj["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: dict[str, Any] = {"replicas": first(obj, paths.status) or 0}
    selector = first(obj, paths.selector) if paths.selector else None
    if selector:
        status["selector"] = _text(selector)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {word: meta[word] for word in shown if word in meta},
        "spec": {"replicas": first(obj, paths.spec) or 0},
        "status": status,
    }


def _text(selector: Any) -> str:
    """A label selector as text: CRDs hold text already, a ReplicationController a plain map."""
    if isinstance(selector, str):
        return selector
    if "matchLabels" in selector or "matchExpressions" in selector:
        return selector_text(selector)
    return selector_text({"matchLabels": selector})


def _set(site: Site, call: Call, target: Target, scale: Obj) -> Answer:
    old = current(site, target)
    paths = _paths(target)
    wanted = (scale.get("spec") or {}).get("replicas", 0)
    if wanted < 0:
        text = f"Invalid value: {wanted}: must be greater than or equal to 0"
        raise invalid("Scale", "autoscaling", target.name, [cause("spec.replicas", "FieldValueInvalid", text)])
    new = clone(old)
    *path, last = names_of(paths.spec)
    place = new
    for word in path:
        place = place.setdefault(word, {})
    place[last] = wanted
    new["metadata"] |= {word: scale["metadata"][word] for word in ("resourceVersion", "uid") if _given(scale, word)}
    review(site, call, target, _scale_of(paths, new), _scale_of(paths, old))
    return answer(_scale_of(paths, commit_change(site, call, target, new, old)))


def _given(scale: Obj, word: str) -> bool:
    return bool((scale.get("metadata") or {}).get(word))
