"""What the verbs share about one site: its store, its open pages of long lists, its tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from edge.lab.kube.call import AUTHENTICATED, User
from edge.lab.kube.errors import bad_request, expired
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj, SiteStore, stamp

PAGES = 64
"""How many unfinished paged lists a site remembers; the oldest is forgotten first and then answers 410."""


@dataclass
class Site:
    """One site as its API server sees it. `tokens` may change at any time; it is read at every request."""

    store: SiteStore
    tokens: Mapping[str, User]
    pages: OrderedDict[str, tuple[int, list[Obj]]] = field(default_factory=OrderedDict)

    def now(self) -> str:
        """The site's time as Kubernetes writes it."""
        return stamp(self.store.now())

    def user_of(self, token: str) -> User | None:
        """Whose token this is; None when nobody's, or when it has expired."""
        return self.tokens.get(token) or self._service_account(token)

    # Service-account tokens: signed, so that none needs to be stored

    def issue_token(self, namespace: str, name: str, uid: str, seconds: int) -> tuple[str, str]:
        """A token for a service account and when it expires."""
        moment = int(self.store.now().timestamp())
        subject = f"system:serviceaccount:{namespace}:{name}"
        account = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        claims = {"iss": "edge-lab", "sub": subject, "iat": moment, "exp": moment + seconds, "kubernetes.io": account}
        head = _coded(orjson.dumps({"alg": "HS256", "typ": "JWT"}))
        body = f"{head}.{_coded(orjson.dumps(claims))}"
        until = stamp(self.store.now().fromtimestamp(moment + seconds, self.store.now().tzinfo))
        return f"{body}.{self._signature(body)}", until

    def _service_account(self, token: str) -> User | None:
        body, _, signature = token.rpartition(".")
        if not body or not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        claims = orjson.loads(_decoded(body.partition(".")[2]))
        if claims["exp"] <= self.store.now().timestamp():
            return None
        account = claims["kubernetes.io"]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{account['namespace']}", AUTHENTICATED)
        return User(claims["sub"], groups, account["serviceaccount"]["uid"])

    def _signature(self, body: str) -> str:
        return _coded(hmac.digest(self.store.key.encode(), body.encode(), hashlib.sha256))

    # Paged lists: a page holds references to objects, which never change, so every page shows one moment

    def page(self, resource: ResourceType, objects: list[Obj], limit: int, token: str) -> tuple[list[Obj], int, str]:
        """(objects of this page, revision they show, token of the next page or "")."""
        if token:
            revision, objects = self._resume(resource, token)
        else:
            revision = self.store.revision
        if not limit or len(objects) <= limit:
            return objects, revision, ""
        rest = objects[limit:]
        after = rest[0]["metadata"]
        claims = {"rv": revision, "start": f"{after.get('namespace', '')}/{after['name']}", "of": resource.qualified}
        following = _coded(orjson.dumps(claims))
        self.pages[following] = (revision, rest)
        while len(self.pages) > PAGES:
            self.pages.popitem(last=False)
        return objects[:limit], revision, following

    def _resume(self, resource: ResourceType, token: str) -> tuple[int, list[Obj]]:
        try:
            claims = orjson.loads(_decoded(token))
            known = claims["of"] == resource.qualified
        except (ValueError, KeyError, TypeError) as broken:
            raise bad_request("continue key is not valid: incorrect formatting") from broken
        page = self.pages.get(token)
        if not known or page is None or page[0] < self.store.oldest:
            raise expired("The provided continue parameter is too old to display a consistent list result.")
        return page


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
