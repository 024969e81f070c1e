"""A new stamp is sound: it parses, keeps the fleet's rules, and fits Kubernetes, whichever engine makes its objects."""

from __future__ import annotations

from datetime import UTC, datetime

import kubernetes_validate
import pytest

from edge.clients.rule_files import baseline_rules
from edge.errors import InvalidInput
from edge.model.site import Site
from edge.model.stamp import ComponentKind, StampSource
from edge.policy.new_stamp import new_stamp
from edge.policy.rules import RuleBook
from edge.policy.stamp import parse_stamp
from tasks.rendering import Renderer

SITE = Site(name="mill-1")


@pytest.mark.parametrize("kind", ComponentKind)
def test_a_new_stamp_keeps_every_rule(kind: ComponentKind) -> None:
    stamp = parse_stamp(StampSource(origin="web", files=new_stamp("web", kind)))
    objects = Renderer(stamp).shown(SITE, {"replicas": "3", "message": 'say "hi": {x}'})
    assert [obj["kind"] for obj in objects] == ["Namespace", "Service", "Deployment"]
    assert RuleBook(baseline_rules()).violations(objects, (), datetime.now(UTC)) == ()
    for obj in objects:
        kubernetes_validate.validate(obj, "1.37", strict=True)
    pod = objects[2]["spec"]["template"]["spec"]
    assert objects[2]["spec"]["replicas"] == 3
    assert pod["containers"][0]["env"][0]["value"] == 'say "hi": {x}'


@pytest.mark.parametrize("name", ["", "Web", "a/b", "../web", "x" * 64, "123", "on"])
def test_a_name_that_cannot_be_a_stamps_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        new_stamp(name)
