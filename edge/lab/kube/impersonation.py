"""Who a request is made as, when somebody acts for another, and which rights that takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from edge.lab.kube.call import ANONYMOUS, AUTHENTICATED, Call, User
from edge.lab.kube.errors import ApiError
from edge.lab.kube.rbac import Attributes

_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATION: Final = "authentication.k8s.io"
_EXTRA: Final = b"impersonate-extra-"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """The user that a request is made as, and each thing that one must be allowed to impersonate for it."""

    user: User
    wishes: tuple[Attributes, ...]

    @staticmethod
    def details(wish: Attributes) -> dict[str, Any]:
        """What a refusal's Status says of it."""
        return {"name": wish.name, "kind": wish.resource}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the headers of a request ask for."""

    name: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]
    uid: str

    @classmethod
    def by(cls, call: Call) -> Asked | None:
        """As the headers say; None when they ask for nothing. ApiError 500 when they name no user, as a real server."""
        name, uid = call.headers.get("impersonate-user", ""), call.headers.get("impersonate-uid", "")
        asked = cls(name, tuple(call.several("impersonate-group")), _extra(call), uid)
        if not name and (asked.groups or asked.extra or uid):
            raise ApiError(500, "InternalError", f"Internal error occurred: {asked._nobody()}")
        return asked if name else None

    def _nobody(self) -> str:
        if self.groups:
            return f"requested [{{Group  {self.groups[0]}  }}] without impersonating a user"
        what = f"[{{UID  {self.uid}  }}]" if self.uid else f"[{{UserExtra  {self.extra[0][1][0]}  }}]"
        return f"requested {what} without impersonating a user"


def _extra(call: Call) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The user's extras by key: a key comes percent-encoded, and is read in small letters."""
    found: dict[str, list[str]] = {}
    for word, value in call.raw_headers:
        if word.startswith(_EXTRA):
            key = unquote(word[len(_EXTRA) :].decode("latin-1")).lower()
            found.setdefault(key, []).append(value.decode("latin-1"))
    return tuple((key, tuple(values)) for key, values in found.items())


def impersonated(asked: Asked) -> Impersonation:
    """What these headers ask for, as a real server reads them.

    A service account belongs to its groups when no group is named; whoever is named belongs to the authenticated.
    """
    belongs = list(asked.groups)
    account = _account(asked.name)
    if account and not belongs:
        belongs = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    if asked.name != ANONYMOUS.name and AUTHENTICATED not in belongs:
        belongs.append(AUTHENTICATED)
    user = User(asked.name, tuple(belongs), asked.uid, asked.extra)
    return Impersonation(user, tuple(_wishes(asked)))


def _wishes(asked: Asked) -> Iterator[Attributes]:
    yield _person(asked.name)
    for group in asked.groups:
        yield Attributes("impersonate", "", "groups", name=group)
    for key, values in asked.extra:
        for value in values:
            yield Attributes("impersonate", _AUTHENTICATION, "userextras", key, name=value)
    if asked.uid:
        yield Attributes("impersonate", _AUTHENTICATION, "uids", name=asked.uid)


def _person(name: str) -> Attributes:
    account = _account(name)
    if account:
        return Attributes("impersonate", "", "serviceaccounts", namespace=account[0], name=account[1])
    return Attributes("impersonate", "", "users", name=name)


def _account(name: str) -> tuple[str, str] | None:
    """Namespace and name of a service account's user name."""
    if not name.startswith(_ACCOUNT):
        return None
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    return (namespace, account) if namespace and account and ":" not in account else None
