"""Objects that are questions: may I, who am I, whose token is this, give me a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.lab.kube.call import Answer, Call, Target, User, answer
from edge.lab.kube.errors import bad_request, cause, invalid
from edge.lab.kube.rbac import Attributes, allows, bound_rules
from edge.lab.kube.site import Site
from edge.lab.kube.store import Obj
from edge.lab.kube.typed import TOKEN_REQUEST, read_typed
from edge.lab.kube.verbs.write import check_head, current

LONGEST, SHORTEST, USUAL = 2**32, 600, 3_600
"""Seconds a service-account token may live."""


def _question(call: Call, target: Target) -> Obj:
    resource = target.resource
    obj = read_typed(call, (resource.group, resource.version, resource.kind))
    check_head(resource, obj)
    return {**obj, "metadata": obj.get("metadata") or {}}


def _attributes(spec: Mapping[str, Any]) -> Attributes:
    wish = spec.get("resourceAttributes")
    if wish:
        words = ("verb", "group", "resource", "subresource", "namespace", "name")
        return Attributes(**{word: wish.get(word) or "" for word in words})
    path = spec.get("nonResourceAttributes")
    if path:
        return Attributes(verb=path.get("verb") or "", path=path.get("path") or "")
    raise bad_request("spec.resourceAttributes or spec.nonResourceAttributes must be given")


def may_i(site: Site, call: Call, target: Target) -> Answer:
    """SelfSubjectAccessReview."""
    return _judge(site, _question(call, target), call.user)


def may_they(site: Site, call: Call, target: Target) -> Answer:
    """SubjectAccessReview and LocalSubjectAccessReview."""
    obj = _question(call, target)
    spec = obj.get("spec") or {}
    return _judge(site, obj, User(spec.get("user") or "", tuple(spec.get("groups") or ())))


def _judge(site: Site, obj: Obj, user: User) -> Answer:
    reason = allows(site.store, user, _attributes(obj.get("spec") or {}))
    status = {"allowed": bool(reason), "reason": reason} if reason else {"allowed": False}
    return answer({**obj, "status": status}, 201)


def what_may_i(site: Site, call: Call, target: Target) -> Answer:
    """SelfSubjectRulesReview."""
    obj = _question(call, target)
    namespace = (obj.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise bad_request("no namespace on request")
    rules = [rule for _, found in bound_rules(site.store, call.user, namespace) for rule in found]
    status = {
        "resourceRules": [_resource_rule(rule) for rule in rules if rule.get("resources")],
        "nonResourceRules": [
            {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
            for rule in rules
            if rule.get("nonResourceURLs")
        ],
        "incomplete": False,
    }
    return answer({**obj, "status": status}, 201)


def _resource_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {word: rule[word] for word in ("verbs", "apiGroups", "resources", "resourceNames") if word in rule}


def who_am_i(_site: Site, call: Call, target: Target) -> Answer:
    """SelfSubjectReview."""
    return answer({**_question(call, target), "status": {"userInfo": call.user.info()}}, 201)


def whose_token(site: Site, call: Call, target: Target) -> Answer:
    """TokenReview."""
    obj = _question(call, target)
    user = site.user_of((obj.get("spec") or {}).get("token") or "")
    status: dict[str, Any] = {"authenticated": True, "user": user.info()} if user else {"authenticated": False}
    return answer({**obj, "spec": {}, "status": status}, 201)


def token_for(site: Site, call: Call, target: Target) -> Answer:
    """POST serviceaccounts/x/token: a TokenRequest."""
    obj = read_typed(call, TOKEN_REQUEST)
    account = current(site, target)
    spec = obj.get("spec") or {}
    seconds = spec.get("expirationSeconds") or USUAL
    if not SHORTEST <= seconds <= LONGEST:
        text = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        fault = cause("spec.expirationSeconds", "FieldValueInvalid", text)
        raise invalid("TokenRequest", "authentication.k8s.io", "", [fault])
    token, until = site.issue_token(target.namespace, target.name, account["metadata"]["uid"], seconds)
    body = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": site.now()},
        "spec": {**spec, "expirationSeconds": seconds, "audiences": spec.get("audiences") or ["edge-lab"]},
        "status": {"token": token, "expirationTimestamp": until},
    }
    return answer(body, 201)
