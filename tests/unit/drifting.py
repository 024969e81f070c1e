"""Objects for tests of drift, by the rules by which an API server merges and keeps the owners."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from edge.lab.kube.apply import server_side_apply, track_update
from edge.lab.kube.schema import Schema, builtin_schema, crd_schema

Obj = dict[str, Any]
OURS, THEM = "edge-platform", "kubectl-edit"
BEFORE, AFTER = "2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"
SINCE = datetime(2026, 3, 2, 12, tzinfo=UTC)


def known_schema(group: str, kind: str) -> Schema:
    """The schema of a built-in kind."""
    schema = builtin_schema(group, "v1", kind)
    assert schema is not None
    return schema


DEPLOYMENT, SECRET = known_schema("apps", "Deployment"), known_schema("", "Secret")
TEXT = {"type": "string"}
PART = {"type": "object", "properties": {"id": {"type": "integer"}, "kind": {**TEXT, "default": "usual"}, "to": TEXT}}
SPEC = {
    "size": {"type": "integer"},
    "words": {"type": "object", "additionalProperties": TEXT},
    "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
    "parts": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["id", "kind"],
        "items": PART,
    },
    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
    "list": {"type": "array", "items": TEXT},
}
WIDGET = crd_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": SPEC}}})


def wanted(**container: Any) -> Obj:
    """A Deployment as a stamp has it."""
    labels = {"app": "web"}
    main = {
        "name": "main",
        "image": "web:1",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "COLOUR", "value": "red"}],
        "resources": {"limits": {"cpu": "1000m"}},
        **container,
    }
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [main]}}
    body = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    meta = {"name": "web", "namespace": "line", "labels": {"tier": "front"}, "annotations": {"a/b": "1"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": body}


def applied(live: Obj | None, obj: Obj, manager: str = OURS, schema: Schema = DEPLOYMENT, now: str = BEFORE) -> Obj:
    """The object after server-side apply, with what the server adds."""
    made: Obj = copy.deepcopy(server_side_apply(schema, live, obj, manager=manager, force=True, now=now))
    schema.prune(made)
    schema.default(made)
    return made


def edited(live: Obj, change: Callable[[Obj], object], manager: str = THEM, **how: Any) -> Obj:
    """The object after somebody's update."""
    after = copy.deepcopy(live)
    change(after)
    schema = how.pop("schema", DEPLOYMENT)
    schema.default(after)
    return track_update(schema, live, after, manager=manager, now=AFTER, **how)


def main_of(obj: Obj) -> Obj:
    """The Deployment's only container."""
    found: Obj = obj["spec"]["template"]["spec"]["containers"][0]
    return found


LIVE = applied(None, wanted())
POD = ".spec.template.spec.containers[name=main]"
