"""Which kinds an API server serves and under which path.

One site's whole list costs two requests (aggregated discovery, Kubernetes 1.27 and later) or one per group version
before that. A fleet has few different lists, so sites share a `DiscoveryCache`: alike lists are kept once, and a site
that was never asked may use the path another site gave for the same kind. That guess is safe: a wrong one is answered
404 on the path, and then the site's own list decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from edge.clients.kube_errors import PathUnknown
from edge.clients.kube_transport import Answer, Call
from edge.errors import CredentialRejected, InvalidInput, NotFound, ServerFault

_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
_SAFE = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_API_VERSION = re.compile(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?v[0-9][a-z0-9]{0,30}$")
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

Send = Callable[[Call], Answer]
Kind = tuple[str, str]
"""apiVersion and kind."""


class Resource(NamedTuple):
    """Where a kind lives: `plural` is the path's last word."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of an object, or of the collection when `name` is empty; all namespaces when `namespace` is."""
        root = "/apis/" if "/" in self.api_version else "/api/"
        place = f"/namespaces/{quote(namespace, safe='')}" if namespace and self.namespaced else ""
        leaf = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{self.api_version}{place}/{self.plural}{leaf}"


class Discovery:
    """Everything that one or more alike API servers serve. Read-only."""

    def __init__(self, resources: Mapping[Kind, Resource]) -> None:
        self._resources = dict(resources)
        self.api_versions = frozenset(api_version for api_version, _ in self._resources)

    def find(self, api_version: str, kind: str) -> Resource | None:
        """Where this kind lives; None when it is not served."""
        return self._resources.get((api_version, kind))

    def serves(self, api_version: str) -> bool:
        """Whether this group version is there, such as `cert-manager.io/v1`."""
        return api_version in self.api_versions

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._resources.values())

    def __len__(self) -> int:
        return len(self._resources)


class DiscoveryCache:
    """Shared between the clients of a fleet, and between threads."""

    def __init__(self) -> None:
        self._by_content: dict[bytes, Discovery] = {}
        self._hints: dict[Kind, Resource] = {}
        self._lock = threading.Lock()

    def keep(self, content: bytes, parse: Callable[[], Mapping[Kind, Resource]]) -> Discovery:
        """The one copy for this content; parsed when it is new."""
        key = hashlib.sha256(content).digest()
        with self._lock:
            found = self._by_content.get(key)
            if found is None:
                found = self._by_content[key] = Discovery(parse())
                for resource in found:
                    self._hints.setdefault((resource.api_version, resource.kind), resource)
            return found

    def hint(self, api_version: str, kind: str) -> Resource | None:
        """Where some site serves this kind."""
        return self._hints.get((api_version, kind))

    def __len__(self) -> int:
        return len(self._by_content)

    def __reduce__(self) -> tuple[type[DiscoveryCache], tuple[()]]:
        """A copy, in this process or another, starts empty: it is a cache, and locks do not travel."""
        return (DiscoveryCache, ())


class SiteDiscovery:
    """One site's view: its own list once it was fetched, hints from alike sites before that."""

    def __init__(self, send: Send, cache: DiscoveryCache) -> None:
        self._send = send
        self._cache = cache
        self._own: Discovery | None = None
        self._lock = threading.Lock()

    def own(self, *, refresh: bool = False) -> Discovery:
        """The site's own list; fetched once, or anew."""
        with self._lock:
            if self._own is None or refresh:
                self._own = self._fetch()
            return self._own

    def resolve(self, api_version: str, kind: str) -> Resource:
        """Where a kind lives, as far as is known without asking. NotFound when the site was asked and has it not."""
        hint = self._cache.hint(api_version, kind) if self._own is None else None
        return hint or self.certain(api_version, kind)

    def certain(self, api_version: str, kind: str) -> Resource:
        """Where a kind lives by the site's own list. NotFound when the site does not serve it."""
        return self.own().find(api_version, kind) or self.confirm(api_version, kind)

    def confirm(self, api_version: str, kind: str) -> Resource:
        """Where a kind lives by the site's own list of this moment. NotFound when it does not serve it."""
        if not _API_VERSION.match(api_version):
            raise InvalidInput("This is not an apiVersion", field="apiVersion", value=api_version)
        found = self.own(refresh=True).find(api_version, kind) or self._from_definition(api_version, kind)
        if found is None:
            raise NotFound(
                f"The site does not serve {kind} of {api_version}", remedy="Install what defines this kind first"
            )
        return found

    def _from_definition(self, api_version: str, kind: str) -> Resource | None:
        """From the CRD itself: the server's list lags behind a CRD that was created a moment ago."""
        group = api_version.rpartition("/")[0]
        if not group:
            return None
        try:
            crds = self._send(Call("GET", _CRDS, about="CustomResourceDefinition")).json
        except (PathUnknown, CredentialRejected):
            return None
        with _shape_checked():
            specs = (crd["spec"] for crd in crds["items"] or ())
            fitting = [spec for spec in specs if spec["group"] == group and spec["names"]["kind"] == kind]
            return next((_resource(api_version, kind, s["names"]["plural"], s["scope"]) for s in fitting), None)

    def _fetch(self) -> Discovery:
        with _shape_checked():
            return self._fetch_lists()

    def _fetch_lists(self) -> Discovery:
        answers = [self._send(Call("GET", root, accept=_AGGREGATED, about="discovery")) for root in ("/api", "/apis")]
        found = [answer.json for answer in answers]
        if all(one.get("kind") == "APIGroupDiscoveryList" for one in found):
            return self._cache.keep(b"\n".join(a.body for a in answers), lambda: _aggregated(found))
        lists = [self._send(Call("GET", path, about="discovery")) for path in _plain_paths(*found)]
        return self._cache.keep(b"\n".join(a.body for a in lists), lambda: _plain([a.json for a in lists]))


@contextlib.contextmanager
def _shape_checked() -> Iterator[None]:
    """A list that has not the shape of one is the server's fault, not a crash of ours."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as theirs:
        raise ServerFault("The site's list of kinds is not understood") from theirs


def _plain_paths(core: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    versions = [entry["groupVersion"] for group in groups.get("groups", []) for entry in group["versions"]]
    return [f"/api/{version}" for version in core.get("versions", [])] + [f"/apis/{version}" for version in versions]


def _aggregated(lists: list[dict[str, Any]]) -> dict[Kind, Resource]:
    found: dict[Kind, Resource] = {}
    for group in (group for one in lists for group in one.get("items", [])):
        name = group.get("metadata", {}).get("name", "")
        for version in group.get("versions", []):
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for entry in version.get("resources", []):
                kind = entry.get("responseKind", {}).get("kind", "")
                _add(found, _resource(api_version, kind, entry["resource"], entry["scope"]))
    return found


def _plain(lists: list[dict[str, Any]]) -> dict[Kind, Resource]:
    found: dict[Kind, Resource] = {}
    for one in lists:
        for entry in one.get("resources", []):
            scope = "Namespaced" if entry["namespaced"] else "Cluster"
            _add(found, _resource(one["groupVersion"], entry["kind"], entry["name"], scope))
    return found


def _resource(api_version: str, kind: str, plural: str, scope: str) -> Resource | None:
    """None for a subresource, and for a word that could lead a path elsewhere."""
    if not (_API_VERSION.match(api_version) and _SAFE.match(plural)):
        return None
    return Resource(api_version, kind, plural, scope == "Namespaced")


def _add(found: dict[Kind, Resource], resource: Resource | None) -> None:
    if resource is not None:
        found.setdefault((resource.api_version, resource.kind), resource)
