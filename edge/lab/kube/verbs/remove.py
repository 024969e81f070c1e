"""DELETE: one object or a selection."""

from __future__ import annotations

from typing import Any

from edge.lab.kube.call import Answer, Call, Target, answer
from edge.lab.kube.convert import shown
from edge.lab.kube.deletion import BACKGROUND, FOREGROUND, ORPHAN, Deletion, delete
from edge.lab.kube.errors import bad_request, cause, conflict, forbidden, invalid, success
from edge.lab.kube.resources import NAMESPACES
from edge.lab.kube.site import Site
from edge.lab.kube.store import Obj
from edge.lab.kube.table import shape_list
from edge.lab.kube.typed import DELETE_OPTIONS, read_typed
from edge.lab.kube.verbs.commit import review
from edge.lab.kube.verbs.read import selection
from edge.lab.kube.verbs.write import current

_LASTING = frozenset({"default", "kube-system", "kube-public"})


def delete_one(site: Site, call: Call, target: Target) -> Answer:
    """DELETE of one object: answers with a Status, or with the object where that is custom or where it lingers."""
    options = _options(call)
    how = _how(call, options)
    obj = current(site, target)
    _check(target, obj, options)
    review(site, call, target, None, obj)
    if call.dry_run:
        return answer(success(target.resource, target.name, obj["metadata"]["uid"]))
    last = delete(site.store, target.resource, _stored(site, target), how)
    lingers = site.store.get(target.resource, target.namespace, target.name) is not None
    if lingers or target.resource.returns_deleted:
        return answer(shown(target.resource, last))
    return answer(success(target.resource, target.name, obj["metadata"]["uid"]))


def delete_collection(site: Site, call: Call, target: Target) -> Answer:
    """DELETE of a selection: answers with the list of what it took."""
    options = _options(call)
    how = _how(call, options)
    taken = site.store.select(target.resource, target.namespace, selection(call, target))
    for obj in taken:
        one = Target(target.resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        review(site, call, one, None, shown(target.resource, obj))
    if not call.dry_run:
        for obj in taken:
            meta = obj["metadata"]
            # Deleting one may have taken another with it.
            present = site.store.get(target.resource, meta.get("namespace", ""), meta["name"])
            if present is not None:
                delete(site.store, target.resource, present, how)
    meta = {"resourceVersion": str(site.store.revision)}
    objects = [shown(target.resource, obj) for obj in taken]
    return answer(shape_list(call, target.resource, objects, meta, site.store.now()))


def _stored(site: Site, target: Target) -> Obj:
    found = site.store.get(target.resource, target.namespace, target.name)
    return found if found is not None else current(site, target)


def _check(target: Target, obj: Obj, options: dict[str, Any]) -> None:
    wanted = options.get("preconditions") or {}
    meta = obj["metadata"]
    for word, field, label in (("uid", "uid", "UID"), ("resourceVersion", "resourceVersion", "ResourceVersion")):
        if wanted.get(word) and wanted[word] != meta[field]:
            why = f"Precondition failed: {label} in precondition: {wanted[word]}, {label} in object meta: {meta[field]}"
            raise conflict(target.resource, target.name, why)
    if target.resource.key == NAMESPACES and target.name in _LASTING:
        raise forbidden(target.resource, target.name, "this namespace may not be deleted")


def _options(call: Call) -> dict[str, Any]:
    options = read_typed(call, DELETE_OPTIONS) if call.body.strip() else {}
    if "All" in (options.get("dryRun") or ()):
        call.dry_run = True
    return options


def _how(call: Call, options: dict[str, Any]) -> Deletion:
    policy = options.get("propagationPolicy") or call.query.get("propagationPolicy") or ""
    if policy and options.get("orphanDependents") is not None:
        text = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        raise invalid("DeleteOptions", "meta.k8s.io", "", [cause("propagationPolicy", "FieldValueInvalid", text)])
    if not policy:
        policy = ORPHAN if options.get("orphanDependents") else BACKGROUND
    if policy not in {BACKGROUND, FOREGROUND, ORPHAN}:
        text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        fault = cause("propagationPolicy", "FieldValueNotSupported", text)
        raise invalid("DeleteOptions", "meta.k8s.io", "", [fault])
    grace = options.get("gracePeriodSeconds")
    if grace is None:
        grace = call.number("gracePeriodSeconds")
    if grace is not None and grace < 0:
        raise bad_request(f"gracePeriodSeconds: Invalid value: {grace}")
    return Deletion(policy, grace)
