"""Which writes a rule of admission is about: resource rules, selectors, exclusions. Policies and webhooks share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge.lab.kube.resources import NAMESPACES
from edge.lab.kube.review import Review
from edge.lab.kube.selectors import labels_of, matches

Rule = Mapping[str, Any]


def is_about(review: Review, wish: Mapping[str, Any]) -> bool:
    """Whether MatchResources (a policy's constraints, a binding's resources) take the write in."""
    equivalent = wish.get("matchPolicy", "Equivalent") == "Equivalent"
    return (
        selected(review, wish)
        and not any_rule(review, wish.get("excludeResourceRules") or (), equivalent)
        and (not wish.get("resourceRules") or any_rule(review, wish["resourceRules"], equivalent))
    )


def any_rule(review: Review, rules: Iterable[Rule], equivalent: bool) -> bool:
    """Whether one of the rules names the write."""
    return any(_fits(review, rule, equivalent) for rule in rules)


def selected(review: Review, wish: Mapping[str, Any]) -> bool:
    """Whether the namespace's labels and the object's are selected. Cluster-wide objects have no namespace to ask."""
    space = wish.get("namespaceSelector")
    if space and review.namespace is not None and not matches(space, labels_of(review.namespace)):
        return False
    labels = wish.get("objectSelector")
    if not labels:
        return True
    return any(one is not None and matches(labels, labels_of(one)) for one in (review.obj, review.old))


def _fits(review: Review, rule: Rule, equivalent: bool) -> bool:
    resource = review.resource
    names = rule.get("resourceNames")
    return (
        _has(rule, "operations", review.operation)
        and _has(rule, "apiGroups", resource.group)
        and (_has(rule, "apiVersions", resource.version) or (equivalent and _served_too(review, rule)))
        and any(_names(pattern, review) for pattern in rule.get("resources") or ())
        and _in_scope(rule.get("scope", "*"), review)
        and (not names or review.name in names)
    )


def _has(rule: Rule, word: str, value: str) -> bool:
    values = rule.get(word) or ()
    return value in values or "*" in values


def _served_too(review: Review, rule: Rule) -> bool:
    """Whether the rule names another version of the same resource."""
    types, resource = review.store.types, review.resource
    return any(types.find(resource.group, version, resource.plural) for version in rule.get("apiVersions") or ())


def _names(pattern: str, review: Review) -> bool:
    plural, slash, sub = pattern.partition("/")
    if plural not in ("*", review.resource.plural):
        return False
    return sub in ("*", review.target.subresource) if slash else not review.target.subresource


def _in_scope(scope: str, review: Review) -> bool:
    if scope == "*":
        return True
    cluster_wide = not review.resource.namespaced or review.resource.key == NAMESPACES
    return cluster_wide == (scope == "Cluster")
