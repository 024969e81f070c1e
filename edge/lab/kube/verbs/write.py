"""POST, PUT and PATCH of objects and their status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.lab.kube.apply import ApplyConflict, ApplyRefused, server_side_apply
from edge.lab.kube.bodies import APPLY, PATCHES, decode_object, decode_patch, media_type
from edge.lab.kube.call import Answer, Call, Target, answer
from edge.lab.kube.convert import shown
from edge.lab.kube.errors import (
    ApiError,
    apply_conflict,
    bad_request,
    cause,
    invalid,
    invalid_patch,
    not_found,
    unsupported_media,
)
from edge.lab.kube.patch import json_patch, merge_patch, strategic_merge
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.site import Site
from edge.lab.kube.store import Obj
from edge.lab.kube.table import shape_one
from edge.lab.kube.verbs.commit import check_preconditions, clone, commit_change, commit_new, review


def create(site: Site, call: Call, target: Target) -> Answer:
    """POST to a collection."""
    obj = read_object(call, target)
    _check_fields(call, target.resource, obj, _strict_body)
    return _reply(site, call, target.resource, commit_new(site, call, target, obj, tracked=False), 201)


def update(site: Site, call: Call, target: Target) -> Answer:
    """PUT of an object or its status. As on a real server, only a few kinds can be created this way; here none."""
    obj = read_object(call, target)
    if not obj["metadata"].get("name"):
        raise bad_request(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        )
    if obj["metadata"]["name"] != target.name:
        raise _name_differs(obj["metadata"]["name"], target.name)
    if target.resource.custom and not obj["metadata"].get("resourceVersion"):
        raise _without_revision(target)
    _check_fields(call, target.resource, obj, _strict_body)
    return _reply(site, call, target.resource, commit_change(site, call, target, obj, current(site, target)))


def patch(site: Site, call: Call, target: Target) -> Answer:
    """PATCH of an object or its status, in any of the four forms."""
    media = media_type(call.headers.get("content-type", ""))
    if media == APPLY:
        return _apply(site, call, target)
    old = current(site, target)
    obj = patched(call, target, old, media)
    _check_fields(call, target.resource, obj, _strict_patch)
    return _reply(site, call, target.resource, commit_change(site, call, target, obj, old))


def current(site: Site, target: Target) -> Obj:
    """The stored object as the target's version shows it. ApiError 404 when it is not there."""
    found = site.store.get(target.resource, target.namespace, target.name)
    if found is None:
        raise not_found(target.resource, target.name)
    return shown(target.resource, found)


def _reply(site: Site, call: Call, resource: ResourceType, obj: Obj, status: int = 200) -> Answer:
    return answer(shape_one(call, resource, site.store.now())(obj), status)


# Reading what was sent


def read_object(call: Call, target: Target) -> Obj:
    """The object in the body, checked against the path: version, kind, namespace."""
    obj = decode_object(call.body, call.headers.get("content-type", ""))
    check_head(target.resource, obj)
    settle_metadata(obj, target)
    return obj


def check_head(resource: ResourceType, obj: Obj) -> None:
    """apiVersion and kind must be those of the path; left out they are filled in."""
    api_version = obj.setdefault("apiVersion", resource.api_version)
    kind = obj.setdefault("kind", resource.kind)
    if api_version != resource.api_version:
        text = f"the API version in the data ({api_version}) does not match the expected API version"
        raise bad_request(f"{text} ({resource.api_version})")
    if kind != resource.kind:
        raise bad_request(f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})")


def settle_metadata(obj: Obj, target: Target) -> None:
    """Make sure that metadata is there and names the namespace of the path."""
    meta = obj.setdefault("metadata", {})
    if meta is None:
        meta = obj["metadata"] = {}
    if not isinstance(meta, dict):
        raise bad_request("metadata is not an object")
    if not target.resource.namespaced:
        meta.pop("namespace", None)
    elif (meta.get("namespace") or target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    else:
        meta["namespace"] = target.namespace


def _without_revision(target: Target) -> ApiError:
    """Custom resources are never replaced blindly; most built-in kinds may be."""
    fault = cause("metadata.resourceVersion", "FieldValueInvalid", "Invalid value: 0: must be specified for an update")
    return invalid(target.resource.plural, target.resource.group, target.name, [fault])


def _name_differs(sent: str, wanted: str) -> ApiError:
    return bad_request(f"the name of the object ({sent}) does not match the name on the URL ({wanted})")


_Refuse = Callable[[ResourceType, Obj, str], ApiError]


def _check_fields(call: Call, resource: ResourceType, obj: Obj, refuse: _Refuse) -> None:
    """Drop unknown fields, and say so as `fieldValidation` asks: Strict, Warn (the default) or Ignore."""
    mode = call.query.get("fieldValidation") or "Warn"
    if mode not in {"Strict", "Warn", "Ignore"}:
        raise bad_request(f'fieldValidation: Unsupported value: "{mode}": supported values: "Ignore", "Strict", "Warn"')
    unknown = resource.schema.prune(obj)
    if not unknown or mode == "Ignore":
        return
    words = [f'unknown field "{path}"' for path in unknown]
    if mode == "Strict":
        raise refuse(resource, obj, f"strict decoding error: {', '.join(words)}")
    call.warnings += words


def _strict_body(resource: ResourceType, _obj: Obj, why: str) -> ApiError:
    kind = resource.kind
    return bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {why}')


def _strict_patch(resource: ResourceType, obj: Obj, why: str) -> ApiError:
    fault = cause("patch", "FieldValueInvalid", f"Invalid value: {why}")
    return invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), [fault])


# Patches


def patched(call: Call, target: Target, old: Obj, media: str) -> Obj:
    """`old` after a JSON, merge or strategic merge patch."""
    known = [one for one in PATCHES if not (target.resource.custom and "strategic" in one)]
    if media not in known:
        raise unsupported_media(media, known)
    wish = decode_patch(call.body, media)
    try:
        obj = clone(_patched(target.resource, media, old, wish))
    except (ValueError, TypeError, KeyError, IndexError) as bad:
        raise invalid_patch(target.resource, target.name, str(bad)) from bad
    if not isinstance(obj.get("metadata"), dict):
        raise invalid_patch(target.resource, target.name, "metadata is not an object")
    if obj["metadata"].get("name") != target.name:
        raise _name_differs(str(obj["metadata"].get("name", "")), target.name)
    check_head(target.resource, obj)
    settle_metadata(obj, target)
    return obj


def _patched(resource: ResourceType, media: str, old: Obj, wish: Any) -> Obj:
    if media == PATCHES[0]:
        return _as_object(json_patch(old, wish))
    if not isinstance(wish, dict):
        raise TypeError("a patch of this type is an object")
    if media == PATCHES[1]:
        return _as_object(merge_patch(old, wish))
    return strategic_merge(resource.schema, old, wish)


def _as_object(value: Any) -> Obj:
    if not isinstance(value, dict):
        raise TypeError("the patch does not leave an object")
    return value


# Server-side apply


def _apply(site: Site, call: Call, target: Target) -> Answer:
    resource = target.resource
    wish = _wish(call, target)
    found = site.store.get(resource, target.namespace, target.name)
    old = None if found is None else shown(resource, found)
    if old is None and target.subresource:
        raise not_found(resource, target.name)
    if old is not None:
        check_preconditions(resource, wish, old)
    for word in ("resourceVersion", "uid"):
        wish["metadata"].pop(word, None)
    merged = merge_applied(site, call, target, old, wish)
    if old is None:
        return _reply(site, call, resource, commit_new(site, call, target, clone(merged), tracked=True), 201)
    if merged == old:
        review(site, call, target, old, old)
        return _reply(site, call, resource, old)
    return _reply(site, call, resource, commit_change(site, call, target, clone(merged), old))


def _wish(call: Call, target: Target) -> Obj:
    wish = decode_patch(call.body, APPLY)
    if not isinstance(wish, dict):
        raise bad_request("the body of an apply patch is not an object")
    if not wish.get("apiVersion") or not wish.get("kind"):
        raise bad_request("Object 'Kind' is missing in the applied configuration")
    check_head(target.resource, wish)
    settle_metadata(wish, target)
    meta = wish["metadata"]
    if meta.setdefault("name", target.name) != target.name:
        raise _name_differs(meta["name"], target.name)
    if meta.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    for word in ("creationTimestamp", "generation", "selfLink", "managedFields"):
        meta.pop(word, None)
    return wish


def merge_applied(site: Site, call: Call, target: Target, old: Obj | None, wish: Obj) -> Obj:
    """The object after a server-side apply, managedFields included. 409 on foreign fields without force."""
    resource, sub = target.resource, target.subresource
    _reset(resource, sub, wish)
    try:
        return server_side_apply(
            resource.schema,
            old,
            wish,
            manager=call.query["fieldManager"],
            force=call.flag("force"),
            now=site.now(),
            subresource=sub,
        )
    except ApplyRefused as bad:
        place = f"{target.namespace}/{target.name}; {resource.group}/{resource.version}, Kind={resource.kind}"
        raise ApiError(500, "", f"failed to create typed patch object ({place}): {bad}") from bad
    except ApplyConflict as clash:
        causes = [cause(path, "FieldManagerConflict", message) for path, message in clash.causes()]
        raise apply_conflict(str(clash), causes) from clash


def _reset(resource: ResourceType, sub: str, wish: Obj) -> None:
    """Leave only what this endpoint writes: the rest without status, or status alone."""
    if sub == "status":
        for word in set(wish) - {"apiVersion", "kind", "metadata", "status"}:
            del wish[word]
        wish["metadata"] = {word: wish["metadata"][word] for word in ("name", "namespace") if word in wish["metadata"]}
    elif resource.has_status:
        wish.pop("status", None)
