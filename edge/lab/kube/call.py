"""One request, taken apart: who asks, what for, and how the answer should look."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import orjson

from edge.lab.kube.errors import ApiError, bad_request
from edge.lab.kube.resources import ResourceType


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. Members of `system:masters` may do everything; others need RBAC objects."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What else is known of the user, by key; keys are in small letters."""

    def info(self) -> dict[str, Any]:
        """The user as reviews and admission show it; what is empty is left out, as in Go."""
        shown: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            shown["uid"] = self.uid
        if self.extra:
            shown["extra"] = {key: list(values) for key, values in self.extra}
        return shown


_NUMBER = re.compile(r"[0-9]{1,18}")
_SHOWN = 40
"""How much of a wrong value an error repeats, in characters."""
TROUBLES: Final = "edge.lab.troubles"
"""The key in a scope's extensions under which a request's troubles are found."""
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"
VIEWERS = "edge:viewers"


def admin_user() -> User:
    """A user with every right, as a site's own kubeconfig has."""
    return User("edge-admin", (MASTERS, AUTHENTICATED))


def viewer_user() -> User:
    """A user who may read what the `view` role shows and write nothing."""
    return User("edge-viewer", (VIEWERS, AUTHENTICATED))


class Troubles(Protocol):
    """What the weather does to an API server, as far as it shows inside."""

    @property
    def disk_full(self) -> bool:
        """Whether nothing more can be kept."""

    def webhook(self, service: str) -> Any:
        """What webhooks of a Service answer (a WebhookAnswer); None: as they would."""


@dataclass(slots=True)
class Target:
    """What a path names."""

    resource: ResourceType
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass
class Call:
    """A request to one site. `warnings` collects what goes into Warning headers."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    user: User = ANONYMOUS
    warnings: list[str] = field(default_factory=list)
    raw_headers: Sequence[tuple[bytes, bytes]] = ()
    """As they came, since one may come several times."""
    delay_s: float = 0.0
    """Lab seconds until the answer is sent: what the request had to wait for."""
    troubles: Troubles | None = None
    """What goes wrong inside the API server for this request; None: nothing."""

    def webhook(self, service: str) -> Any:
        """What the weather makes webhooks of this Service answer; None: it leaves them alone."""
        return self.troubles.webhook(service) if self.troubles else None

    def check_room(self) -> None:
        """Raise ApiError 500 when the site's disk is full, in the words that etcd's own error comes through with."""
        if self.troubles and self.troubles.disk_full:
            raise ApiError(500, "", "etcdserver: mvcc: database space exceeded")

    def several(self, name: str) -> list[str]:
        """All values of a header, in their order. `name` is in small letters."""
        return [value.decode("latin-1") for word, value in self.raw_headers if word == name.encode()]

    def flag(self, name: str) -> bool:
        """A boolean query parameter."""
        return self.query.get(name, "").lower() in {"true", "1"}

    def number(self, name: str) -> int | None:
        """A whole-number query parameter; None when it is not given. ApiError 400 when it is no number."""
        text = self.query.get(name, "")
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            raise bad_request(f'invalid value for {name}: "{text[:_SHOWN]}"')
        return int(text)

    @cached_property
    def revision(self) -> int | None:
        """The `resourceVersion` asked for; None when none is. ApiError 400 when it is no revision."""
        text = self.query.get("resourceVersion", "")
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            raise bad_request(f"resourceVersion: Invalid value: {text[:_SHOWN]}: not a revision of this server")
        return int(text)

    @cached_property
    def dry_run(self) -> bool:
        """Whether nothing may be kept."""
        return self.query.get("dryRun", "") == "All"

    @cached_property
    def manager(self) -> str:
        """The field manager: as given, else the first part of the user agent, as on a real server."""
        return self.query.get("fieldManager") or self.headers.get("user-agent", "").partition("/")[0][:128] or "unknown"

    @cached_property
    def accepts(self) -> tuple[dict[str, str], ...]:
        """The media types asked for, each as {"": type, parameter: value}, best first."""
        return _accepts(self.headers.get("accept", ""))

    def wants(self, kind: str) -> bool:
        """Whether the answer should be transformed to `Table` or `PartialObjectMetadata[List]`."""
        return bool(self.accepts) and self.accepts[0].get("as", "") == kind


def _accepts(header: str) -> tuple[dict[str, str], ...]:
    if "=" not in header:
        return ()
    found = []
    for part in header.split(","):
        media, *parameters = part.split(";")
        entry = {"": media.strip()}
        entry.update((word.strip(), value.strip()) for word, _, value in (one.partition("=") for one in parameters))
        found.append(entry)
    # Protobuf is a wish we never fulfil, so it must not decide the transformation.
    return tuple(entry for entry in found if entry[""] == "application/json")


@dataclass(slots=True)
class Answer:
    """A response that is complete."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    """Lab seconds until it is sent."""


def answer(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, orjson.dumps(value))
