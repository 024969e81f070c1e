"""Who a request is made as, when somebody acts for another, and which rights that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.lab.kube.call import ANONYMOUS, AUTHENTICATED, User
from edge.lab.kube.rbac import Attributes

_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """The user that a request is made as, and each thing that one must be allowed to impersonate for it."""

    user: User
    wishes: tuple[Attributes, ...]

    @staticmethod
    def details(wish: Attributes) -> dict[str, Any]:
        """What a refusal's Status says of it."""
        return {"name": wish.name, "kind": wish.resource}


def impersonated(name: str, groups: list[str]) -> Impersonation:
    """What these headers ask for, as a real server reads them.

    A service account belongs to its groups when no group is named; whoever is named belongs to the authenticated.
    """
    wishes, belongs = [_person(name)], list(groups)
    account = _account(name)
    if account and not groups:
        belongs = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    wishes += [Attributes("impersonate", "", "groups", name=group) for group in groups]
    if name != ANONYMOUS.name and AUTHENTICATED not in belongs:
        belongs.append(AUTHENTICATED)
    return Impersonation(User(name, tuple(belongs)), tuple(wishes))


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
