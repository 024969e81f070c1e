"""Who may do what: evaluates the Role, ClusterRole and binding objects a site really holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.lab.kube.call import MASTERS, User
from edge.lab.kube.resources import builtin
from edge.lab.kube.store import SiteStore

_RBAC = "rbac.authorization.k8s.io"
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for: a verb on a resource, or on a path that is none (`path` is set then)."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def allows(store: SiteStore, user: User, wish: Attributes) -> str:
    """Why the user may do this, in the words of a real server; "" when nothing allows it."""
    if MASTERS in user.groups:
        return "RBAC: allowed by membership of system:masters"
    for binding, rules in bound_rules(store, user, wish.namespace):
        if any(_rule_allows(rule, wish) for rule in rules):
            kind, name, role = binding["kind"], binding["metadata"]["name"], binding["roleRef"]
            return f'RBAC: allowed by {kind} "{name}" of {role["kind"]} "{role["name"]}" to {user.name}'
    return ""


def bound_rules(store: SiteStore, user: User, namespace: str) -> Iterator[tuple[Mapping[str, Any], list[Rule]]]:
    """Each binding that reaches the user in this namespace, with the rules of its role."""
    for binding in store.list(builtin("clusterrolebindings", _RBAC)):
        if _binds(binding, user):
            yield binding, _rules(store, binding["roleRef"], "")
    for binding in store.list(builtin("rolebindings", _RBAC), namespace) if namespace else ():
        if _binds(binding, user):
            yield binding, _rules(store, binding["roleRef"], namespace)


def _binds(binding: Mapping[str, Any], user: User) -> bool:
    return any(_is(subject, user) for subject in binding.get("subjects") or ())


def _is(subject: Mapping[str, Any], user: User) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "Group":
        return name in user.groups
    if kind == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace', '')}:{name}"
    return bool(name == user.name)


def _rules(store: SiteStore, role: Mapping[str, Any], namespace: str) -> list[Rule]:
    plural = "roles" if role["kind"] == "Role" else "clusterroles"
    found = store.get(builtin(plural, _RBAC), namespace, role["name"])
    return list((found or {}).get("rules") or ())


def _rule_allows(rule: Rule, wish: Attributes) -> bool:
    if not _has(rule, "verbs", wish.verb):
        return False
    if wish.path:
        return any(_path_matches(path, wish.path) for path in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames")
    return (
        _has(rule, "apiGroups", wish.group)
        and _resource_matches(rule.get("resources") or (), wish)
        and (not names or wish.name in names)
    )


def _has(rule: Rule, word: str, value: str) -> bool:
    values = rule.get(word) or ()
    return value in values or "*" in values


def _resource_matches(resources: Any, wish: Attributes) -> bool:
    full = f"{wish.resource}/{wish.subresource}" if wish.subresource else wish.resource
    return full in resources or "*" in resources or (bool(wish.subresource) and f"*/{wish.subresource}" in resources)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def refusal(user: User, wish: Attributes) -> str:
    """The sentence a real server refuses with (without the resource it begins with)."""
    if wish.path:
        return f'forbidden: User "{user.name}" cannot {wish.verb} path "{wish.path}"'
    full = f"{wish.resource}/{wish.subresource}" if wish.subresource else wish.resource
    where = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    return f'User "{user.name}" cannot {wish.verb} resource "{full}" in API group "{wish.group}" {where}'
