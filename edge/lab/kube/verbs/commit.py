"""The way of every write: complete, check, account for who owns what, then keep it, or with a dry run not."""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from edge.lab.kube import admission, checks, policies, webhooks
from edge.lab.kube.apply import track_update
from edge.lab.kube.call import Call, Target
from edge.lab.kube.convert import shown, stored
from edge.lab.kube.errors import ApiError, already_exists, conflict
from edge.lab.kube.resources import CRDS, NAMESPACES, ResourceType
from edge.lab.kube.review import Review
from edge.lab.kube.site import Site
from edge.lab.kube.store import Obj, asks_otherwise

# Set by the server alone; what a caller sends there is ignored.
_SYSTEM = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
_DATA = frozenset({("", "configmaps"), ("", "secrets")})
"""Kinds whose maps are left out when they are empty, as Go does with any map of a built-in kind."""
_KEEP_STATUS = frozenset({"Node", "APIService", "CertificateSigningRequest", "ResourceQuota"})
"""Kinds whose status may come with the object, as the ones that report themselves do."""


def clone(obj: Obj) -> Obj:
    """A deep copy."""
    copy: Obj = orjson.loads(orjson.dumps(obj))
    return copy


def commit_new(site: Site, call: Call, target: Target, obj: Obj, *, tracked: bool) -> Obj:
    """Keep a new object; `tracked` says that its managedFields are settled already (server-side apply)."""
    resource, meta = target.resource, obj["metadata"]
    checks.check_types(resource, obj)
    if meta.get("resourceVersion"):
        raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
    for word in (*_SYSTEM, "resourceVersion", *(() if tracked else ("managedFields",))):
        meta.pop(word, None)
    name = _settle_name(meta)
    if resource.namespaced:
        admission.namespace_is_open(site.store, resource, meta["namespace"], name)
    if site.store.get(resource, meta.get("namespace", ""), name) is not None:
        raise already_exists(resource, name)
    if resource.has_status and resource.kind not in _KEEP_STATUS:
        obj.pop("status", None)
    obj = _completed(site, call, target, obj, None)
    if not tracked:
        obj = track_update(resource.schema, None, obj, manager=call.manager, now=site.now())
    review(site, call, target, obj, None)
    if call.dry_run:
        return _as_if_created(site, resource, obj)
    call.check_room()
    return shown(resource, site.store.create(resource, stored(resource, obj)))


def _settle_name(meta: dict[str, Any]) -> str:
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = meta["generateName"][:58] + uuid.uuid4().hex[:5]
    name: str = meta.get("name") or ""
    return name


def _completed(site: Site, call: Call, target: Target, obj: Obj, old: Obj | None) -> Obj:
    resource = target.resource
    _drop_empty(obj["metadata"])
    if resource.key in _DATA:
        for word in ("data", "binaryData"):
            if word in obj and not obj[word]:
                del obj[word]
    resource.schema.default(obj)
    # What a namespace asks of its pods stands in its labels.
    if old is None or resource.key == NAMESPACES or asks_otherwise(resource, old, obj):
        call.warnings += _admit(site, resource, obj, old)
    checks.check(resource, obj, old)
    return obj


def _admit(site: Site, resource: ResourceType, obj: Obj, old: Obj | None) -> list[str]:
    try:
        return admission.admit(site.store, resource, obj, old)
    except (KeyError, TypeError, AttributeError):
        # Admission reads fields that must be there. When one is missing, validation has the better words.
        checks.check(resource, obj, old)
        raise


def _drop_empty(meta: dict[str, Any]) -> None:
    """Metadata that says nothing is not kept, as Go leaves it out."""
    for word in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
        if word in meta and not meta[word]:
            del meta[word]


def _as_if_created(site: Site, resource: ResourceType, obj: Obj) -> Obj:
    meta = {"uid": str(uuid.uuid4()), **obj["metadata"], "creationTimestamp": site.now()}
    if resource.counts_generation:
        meta["generation"] = 1
    return {**obj, "metadata": meta}


def commit_change(site: Site, call: Call, target: Target, obj: Obj, old: Obj) -> Obj:
    """Keep a changed object. `old` is the stored one as `target.resource` shows it; the result likewise.

    Nothing is written, and no revision used, when nothing differs.
    """
    resource, sub = target.resource, target.subresource
    checks.check_types(resource, obj)
    check_preconditions(resource, obj, old)
    obj = _only_what_may_change(resource, sub, obj, old)
    _inherit(obj["metadata"], old["metadata"])
    obj = _completed(site, call, target, obj, old)
    tracked = call.method == "PATCH" and "apply-patch" in call.headers.get("content-type", "")
    same = obj == old if tracked else _same(obj, old)
    if not (tracked or same):
        obj = track_update(resource.schema, old, obj, manager=call.manager, now=site.now(), subresource=sub)
    if sub != "scale":  # judged as a Scale, by the verb that reads one
        review(site, call, target, obj, old)
    if same:
        return old
    if call.dry_run:
        return obj
    call.check_room()
    return shown(resource, site.store.replace(resource, stored(resource, obj)))


def review(site: Site, call: Call, target: Target, obj: Obj | None, old: Obj | None) -> None:
    """Let the site's own admission judge a write that is complete and valid. Raises ApiError when it is refused."""
    asked = Review(site.store, call, target, obj, old)
    policies.check(asked)
    webhooks.check(asked)


def check_preconditions(resource: ResourceType, obj: Obj, old: Obj) -> None:
    """Refuse (409) a write that was made for another revision, or for another object of this name."""
    wanted, present = obj["metadata"], old["metadata"]
    if wanted.get("uid") and wanted["uid"] != present["uid"]:
        why = f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {present['uid']}"
        raise conflict(resource, present["name"], why)
    version = wanted.get("resourceVersion")
    if version and version not in {"0", present["resourceVersion"]}:
        raise conflict(resource, present["name"])


def _only_what_may_change(resource: ResourceType, sub: str, obj: Obj, old: Obj) -> Obj:
    if sub in {"status", "approval"}:
        fields = obj["metadata"].get("managedFields", old["metadata"].get("managedFields"))
        kept = {**old, "metadata": {**old["metadata"], "managedFields": fields}, "status": obj.get("status")}
        if fields is None:
            del kept["metadata"]["managedFields"]
        if kept["status"] is None:
            del kept["status"]
        return clone(kept)
    if sub == "finalize":
        return clone({**old, "spec": obj.get("spec") or {}})
    if (resource.has_status and resource.key != CRDS) or resource.key == NAMESPACES:
        obj.pop("status", None)
        if "status" in old:
            obj["status"] = clone(old["status"])
    if resource.key == NAMESPACES:
        obj["spec"] = dict(old.get("spec") or {})
    return obj


def _inherit(meta: dict[str, Any], old: dict[str, Any]) -> None:
    for word in (*_SYSTEM, "resourceVersion", "name", "namespace", "generateName"):
        if word in old:
            meta[word] = old[word]
        else:
            meta.pop(word, None)


def _same(obj: Obj, old: Obj) -> bool:
    """Whether two objects ask for the same; who manages which field is left out."""
    for word in obj.keys() | old.keys():
        if word != "metadata" and obj.get(word) != old.get(word):
            return False
    one, other = dict(obj["metadata"]), dict(old["metadata"])
    fields, before = one.pop("managedFields", None), other.pop("managedFields", None)
    return one == other and (fields is None or fields == before)
