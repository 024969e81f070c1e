"""GET: one object, a list, a watch."""

from __future__ import annotations

from edge.lab.kube.call import Answer, Call, Target, answer
from edge.lab.kube.convert import shown
from edge.lab.kube.errors import bad_request
from edge.lab.kube.selectors import Predicate, both, field_selector, label_selector
from edge.lab.kube.site import Site
from edge.lab.kube.table import shape_list, shape_one
from edge.lab.kube.verbs.write import current
from edge.lab.kube.watch import Watch

_MATCHES = ("Exact", "NotOlderThan")


def get(site: Site, call: Call, target: Target) -> Answer:
    """One object."""
    return answer(shape_one(call, target.resource, site.store.now())(current(site, target)))


def selection(call: Call, target: Target) -> Predicate | None:
    """What the query's selectors select; None is everything."""
    wanted = both(
        label_selector(call.query.get("labelSelector", "")),
        field_selector(call.query.get("fieldSelector", ""), target.resource.kind),
    )
    if target.name and wanted is None:
        return lambda obj: bool(obj["metadata"]["name"] == target.name)
    return wanted


def list_objects(site: Site, call: Call, target: Target) -> Answer:
    """A list, or a page of one."""
    resource, token = target.resource, call.query.get("continue", "")
    _check_match(call)
    found = [] if token else site.store.select(resource, target.namespace, selection(call, target))
    objects, revision, following = site.page(resource, found, call.number("limit") or 0, token)
    meta: dict[str, object] = {"resourceVersion": str(revision)}
    if following:
        meta["continue"] = following
        meta["remainingItemCount"] = len(site.pages[following][1])
    return answer(shape_list(call, resource, [shown(resource, obj) for obj in objects], meta, site.store.now()))


def _check_match(call: Call) -> None:
    match, revision = call.query.get("resourceVersionMatch", ""), call.revision
    if match not in {"", *_MATCHES}:
        known = ", ".join(f'"{word}"' for word in _MATCHES)
        raise bad_request(f'resourceVersionMatch: Unsupported value: "{match[:40]}": supported values: {known}')
    if match and revision is None and not call.flag("sendInitialEvents"):
        raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match == "Exact" and revision == 0:
        raise bad_request('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')


def watch(site: Site, call: Call, target: Target) -> Watch:
    """A stream of changes, from a revision on or from now."""
    return Watch(site.store, call, target, selection(call, target))
