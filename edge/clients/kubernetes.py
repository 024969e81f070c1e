"""The platform's Kubernetes client: one `SiteClient` per site.

Stamps are written by server-side apply only, under one field manager, so a second apply changes nothing and drift can
be told from what `managedFields` says is ours. `create`, `replace` and `set_managers` are for the lease and for going
back to a snapshot, where a write must fail when somebody else was there first. All calls may be repeated and have
time-outs; retries are in `edge.clients.retry`. Every error is one of `edge.errors` and names the site and the object.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import orjson

from edge.clients.access import SiteAccess
from edge.clients.http_date import moment
from edge.clients.kube_discovery import Discovery, DiscoveryCache, Resource, SiteDiscovery
from edge.clients.kube_errors import Gone, PathUnknown
from edge.clients.kube_page import Page, read_page
from edge.clients.kube_transport import Answer, Call, Header, Timeouts, Transport
from edge.clients.kube_wait import Judge, Poll, first_look, wait_until_current
from edge.clients.kube_watch import WatchEvent, Watching
from edge.clients.retry import RetryPolicy
from edge.errors import InvalidInput, NotFound, NotYet, WriteConflict
from edge.model.fence import Fence
from edge.model.kube import KubeObject, ObjectHealth, ObjectRef

FIELD_MANAGER = "edge-platform"

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
_PAGE = 500
_SOME = 50
"""Up to so many objects of one kind are looked up one by one where a namespace does not fit into one page."""
_RESTARTS = 3
_DEFAULT_TIMEOUTS = Timeouts()
_DEFAULT_RETRY = RetryPolicy()

T = TypeVar("T")
Send = Callable[[Call], Answer]


class SiteClient:
    """One site's API server. Safe to share between threads; close it when the site is done.

    `cache` should be one for all clients of a fleet; `site` is its name in errors.
    """

    def __init__(
        self,
        access: SiteAccess,
        *,
        site: str = "",
        timeouts: Timeouts = _DEFAULT_TIMEOUTS,
        retry: RetryPolicy = _DEFAULT_RETRY,
        cache: DiscoveryCache | None = None,
    ) -> None:
        self.site = site
        self.timeouts = timeouts
        self.fence: Fence | None = None
        self._transport = Transport(access, site, timeouts, retry)
        self._discovery = SiteDiscovery(self._transport.send, DiscoveryCache() if cache is None else cache)

    def __enter__(self) -> SiteClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    @property
    def transport(self) -> Transport:
        """The connection, for what is no object: see `edge.clients.service_proxy`."""
        return self._transport

    def acting_as(self, user: str) -> SiteClient:
        """The same site over the same connections, asked in another user's name. Takes the right to impersonate.

        A service account is `system:serviceaccount:<namespace>:<name>`. What the site serves is still asked for in our
        own name. Close the client that this was made from.
        """
        other = copy.copy(self)
        other._transport = self._transport.acting_as(user)
        return other

    def guarded(self, fence: Fence, headers: Sequence[Header], before: Callable[[str], None]) -> SiteClient:
        """The same site over the same connections; each write carries `headers`, and `before` sees each call first.

        `before` gets the method (GET, PATCH, ...) and may raise. Close the client that this was made from.
        """
        other = copy.copy(self)
        other.fence = fence
        other._transport = self._transport.guarded(headers, before)
        return other

    def version(self) -> dict[str, Any]:
        """The server's version, as `/version` gives it: `gitVersion`, `major`, `minor`, `platform`."""
        return self._transport.send(Call("GET", "/version", about="version")).json

    def clock(self) -> datetime | None:
        """What the API server takes for the time, to the second; None when it does not say."""
        return moment(self._transport.send(Call("GET", "/version", about="version")).date)

    def clock_off(self) -> timedelta | None:
        """How far the API server's clock is ahead of ours, to the second, by its latest answer that says the time.

        Asks only when there was none yet; None when it does not say.
        """
        if self._transport.heard.latest is None:
            self.version()
        latest = self._transport.heard.latest
        theirs = moment(latest[0]) if latest else None
        return theirs - latest[1] if latest and theirs else None

    def discovery(self, *, refresh: bool = False) -> Discovery:
        """What this site serves; fetched once unless `refresh`."""
        return self._discovery.own(refresh=refresh)

    def apply(self, obj: KubeObject, *, force: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply; the object as it is on the site afterwards.

        A field that was applied before and is left out now is removed. Unknown fields are an error. `force` takes
        fields over from other managers; without it their ownership is an OwnershipConflict that names them.
        `dry_run` does everything, admission included, but for storing.
        """
        ref = ref_of(obj)
        query = f"?fieldManager={FIELD_MANAGER}&fieldValidation=Strict&force={'true' if force else 'false'}"
        query += "&dryRun=All" if dry_run else ""
        body = orjson.dumps(obj, default=_plain)

        def patch(resource: Resource) -> dict[str, Any]:
            path = _object_path(resource, ref) + query
            return self._transport.send(Call("PATCH", path, body, content_type=_APPLY, about=str(ref))).json

        return self._on(ref.api_version, ref.kind, patch)

    def try_create(self, obj: KubeObject) -> dict[str, Any]:
        """Create the object as a dry run: all is checked as for a real one, and nothing is kept."""
        return self._post(obj, "&dryRun=All")

    def create(self, obj: KubeObject) -> dict[str, Any]:
        """The new object. WriteConflict when one of that name is there already."""
        return self._post(obj, "")

    def replace(self, obj: KubeObject, *, dry_run: bool = False) -> dict[str, Any]:
        """Put the object in place of the one whose `resourceVersion` it has; WriteConflict when that has changed."""
        ref = ref_of(obj)
        return self._send("PUT", ref, obj, _JSON, "&dryRun=All" if dry_run else "")

    def set_managers(self, live: KubeObject, managers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Say who owns which field, and change nothing else. WriteConflict when `live` is not the newest any more."""
        meta = {"managedFields": list(managers), "resourceVersion": live["metadata"]["resourceVersion"]}
        return self._send("PATCH", ref_of(live), {"metadata": meta}, _MERGE)

    def who_am_i(self) -> dict[str, Any]:
        """`username` and `groups` that the server knows us under. NotFound where it does not say (before 1.28)."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        call = Call("POST", path, review, content_type=_JSON, about="SelfSubjectReview")
        found: dict[str, Any] = (self._transport.send(call).json.get("status") or {}).get("userInfo") or {}
        return found

    def get(self, ref: ObjectRef) -> dict[str, Any]:
        """The object. NotFound when it is absent or its kind is not served."""
        return self._get(ref, self._transport.send)

    def look(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, dict[str, Any]]:
        """Those of `refs` that are there. Many of one kind and namespace cost one list, others a request each."""
        groups: dict[tuple[str, str, str], list[ObjectRef]] = {}
        for ref in dict.fromkeys(refs):
            groups.setdefault((ref.api_version, ref.kind, ref.namespace), []).append(ref)
        found: dict[ObjectRef, dict[str, Any]] = {}
        for group in groups.values():
            try:
                some = len(group) <= _SOME
                found.update(self._look(group, self._transport.send) if some else self._look_through(group))
            except NotFound:
                continue
        return found

    def list(
        self, api_version: str, kind: str, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> Iterator[dict[str, Any]]:
        """All objects of a kind, page by page as they are consumed; `namespace` "" means everywhere.

        `labels` and `fields` are selectors in Kubernetes' own notation. Each object carries its apiVersion and kind.
        When a page's position expires on the server, the list starts again and skips what was given already.
        """
        query = {"limit": str(_PAGE), "labelSelector": labels, "fieldSelector": fields}
        given: set[str] = set()
        for _ in range(_RESTARTS):
            try:
                for page in self._pages(api_version, kind, namespace, query):
                    yield from _fresh(page.items, given)
                return
            except Gone:
                continue
        raise NotYet("The list changes faster than it can be read", site=self.site or None, kind=kind)

    def watch(
        self, api_version: str, kind: str, *, namespace: str = "", labels: str = "", within_s: float | None = None
    ) -> Generator[WatchEvent]:
        """What is there, as ADDED, and then every change, until `within_s` seconds are over (None: no end).

        Broken connections are resumed, and after a 410 the kind is listed anew and compared, so that no change of
        state is missed; several changes in between may come as one.
        """
        resource = self._discovery.certain(api_version, kind)
        return Watching(self._transport, resource, namespace, labels).events(within_s)

    def delete(
        self, ref: ObjectRef, *, propagation: str = "Background", uid: str = "", resource_version: str = ""
    ) -> bool:
        """Delete the object; whether it was there. With `uid`, only that very object: a namesake is left alone.

        With `resource_version`, WriteConflict when the object was written since. `propagation` is Background,
        Foreground or Orphan. Finalizers may keep the object for a while.
        """
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        asked = {"uid": uid, "resourceVersion": resource_version}
        if uid or resource_version:
            options["preconditions"] = {word: value for word, value in asked.items() if value}

        def remove(resource: Resource) -> bool:
            path = _object_path(resource, ref)
            self._transport.send(Call("DELETE", path, options, content_type="application/json", about=str(ref)))
            return True

        try:
            return self._on(ref.api_version, ref.kind, remove)
        except NotFound:
            return False
        except WriteConflict:
            if uid and self._is_another(ref, uid):
                return False
            raise

    def wait_for(
        self,
        what: Sequence[ObjectRef | KubeObject],
        judge: Judge,
        *,
        within_s: float,
        every_s: float = 1.0,
        on_progress: Callable[[Sequence[ObjectHealth]], None] | None = None,
    ) -> tuple[ObjectHealth, ...]:
        """The health of all of `what`, in its order, once all are Current by `judge` (`edge.policy.health.health_of`).

        An object as `apply` or `get` returned it counts as the first look at it, so that what is Current already costs
        no request; anything else is looked at. Looks every `every_s` seconds with one list per kind and namespace.
        Raises NotYet after `within_s` seconds and OperationFailed as soon as one has Failed; both name the objects. A
        site that does not answer is tried until the time is over. `on_progress` gets the health of all after each look.
        """
        known = first_look(what, judge)
        look = partial(self._look, send=self._transport.send_once)
        return wait_until_current(known, judge, look, Poll(within_s, every_s, self.site), on_progress)

    def _on(self, api_version: str, kind: str, use: Callable[[Resource], T]) -> T:
        """Use a kind's path; when the server does not know the path, ask its own list and use what that says."""
        resource = self._discovery.resolve(api_version, kind)
        try:
            return use(resource)
        except PathUnknown:
            known = self._discovery.confirm(api_version, kind)
            if known == resource:
                raise
            return use(known)

    def _post(self, obj: KubeObject, more: str) -> dict[str, Any]:
        ref = ref_of(obj)
        query = f"?fieldManager={FIELD_MANAGER}&fieldValidation=Strict{more}"
        body = orjson.loads(orjson.dumps(obj, default=_plain))

        def post(resource: Resource) -> dict[str, Any]:
            path = _collection_path(resource, ref) + query
            return self._transport.send_certain(Call("POST", path, body, content_type=_JSON, about=str(ref))).json

        return self._on(ref.api_version, ref.kind, post)

    def _send(self, method: str, ref: ObjectRef, obj: KubeObject, kind: str, more: str = "") -> dict[str, Any]:
        query = f"?fieldManager={FIELD_MANAGER}{more}"
        body = orjson.loads(orjson.dumps(obj, default=_plain))

        def put(resource: Resource) -> dict[str, Any]:
            path = _object_path(resource, ref) + query
            return self._transport.send_certain(Call(method, path, body, content_type=kind, about=str(ref))).json

        return self._on(ref.api_version, ref.kind, put)

    def _get(self, ref: ObjectRef, send: Send) -> dict[str, Any]:
        def fetch(resource: Resource) -> dict[str, Any]:
            return send(Call("GET", _object_path(resource, ref), about=str(ref))).json

        return self._on(ref.api_version, ref.kind, fetch)

    def _pages(self, api_version: str, kind: str, namespace: str, query: Mapping[str, str]) -> Iterator[Page]:
        token = ""
        while True:
            page = self._page((api_version, kind), namespace, {**query, "continue": token}, self._transport.send)
            yield page
            token = page.token
            if not token:
                return

    def _page(self, kind: tuple[str, str], namespace: str, query: Mapping[str, str], send: Send) -> Page:
        text = urlencode({word: value for word, value in query.items() if value}, quote_via=quote)

        def fetch(resource: Resource) -> Page:
            call = Call("GET", f"{resource.path(namespace)}?{text}", about=resource.kind)
            return read_page(send(call).json, resource, self.site)

        return self._on(*kind, fetch)

    def _look(self, refs: Sequence[ObjectRef], send: Send) -> dict[ObjectRef, dict[str, Any]]:
        """Those of `refs`, all of one kind and namespace, that are there. One request unless the namespace is full."""
        found: dict[ObjectRef, dict[str, Any]] = {}
        missing = list(refs)
        if len(refs) > 1:
            kind = (refs[0].api_version, refs[0].kind)
            page = self._page(kind, refs[0].namespace, {"limit": str(_PAGE)}, send)
            by_ref = {_ref_in(refs[0], item): item for item in page.items}
            found = {ref: by_ref[ref] for ref in refs if ref in by_ref}
            missing = [ref for ref in refs if ref not in by_ref] if page.token else []
        for ref in missing:
            try:
                found[ref] = self._get(ref, send)
            except NotFound:
                continue
        return found

    def _look_through(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, dict[str, Any]]:
        """As `_look`, for many: the whole namespace, page by page."""
        wanted = {ref.name: ref for ref in refs}
        items = self.list(refs[0].api_version, refs[0].kind, namespace=refs[0].namespace)
        return {wanted[name]: item for item in items if (name := item["metadata"]["name"]) in wanted}

    def _is_another(self, ref: ObjectRef, uid: str) -> bool:
        try:
            return bool(self.get(ref)["metadata"]["uid"] != uid)
        except NotFound:
            return True


def ref_of(obj: KubeObject) -> ObjectRef:
    """The object's reference; InvalidInput names what is missing or of the wrong type."""
    meta = obj.get("metadata")
    for field, value in (
        ("apiVersion", obj.get("apiVersion")),
        ("kind", obj.get("kind")),
        ("metadata.name", meta.get("name") if isinstance(meta, Mapping) else None),
    ):
        if not isinstance(value, str) or not value:
            raise InvalidInput("An object without this cannot be applied", field=field, value=value)
    return ObjectRef.of(obj)


def _collection_path(resource: Resource, ref: ObjectRef) -> str:
    return _object_path(resource, ref).rpartition("/")[0]


def _object_path(resource: Resource, ref: ObjectRef) -> str:
    if resource.namespaced and not ref.namespace:
        raise InvalidInput(f"{ref} must say its namespace", field="metadata.namespace", value="")
    if ref.namespace and not resource.namespaced:
        raise InvalidInput(f"{ref.kind} has no namespace", field="metadata.namespace", value=ref.namespace)
    return resource.path(ref.namespace, ref.name)


def _ref_in(like: ObjectRef, item: Mapping[str, Any]) -> ObjectRef:
    """The reference of a list's item; much cheaper than validating one, and the server's names are valid."""
    return like.model_copy(update={"name": item["metadata"]["name"]})


def _fresh(items: Sequence[dict[str, Any]], given: set[str]) -> Iterator[dict[str, Any]]:
    for item in items:
        meta = item["metadata"]
        key = meta.get("uid") or f"{meta.get('namespace', '')}/{meta['name']}"
        if key not in given:
            given.add(key)
            yield item


def _plain(value: object) -> object:
    """Read-only mappings and tuples inside an object, as JSON knows them."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not JSON: {type(value).__name__}")
