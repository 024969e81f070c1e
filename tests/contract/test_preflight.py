"""What a site is asked before anything changes there, against an API server: every problem, and nothing kept."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from blocks.policies import PolicyRules
from edge.clients.access import SiteAccess
from edge.clients.kubernetes import SiteClient
from edge.clients.rule_files import baseline_rules
from edge.errors import (
    CredentialRejected,
    EdgeError,
    NotFound,
    OwnershipConflict,
    PolicyViolated,
    Rejected,
    SiteUnfit,
)
from edge.model.fence import Fence, FenceGuard
from edge.model.kube import KubeObject, ObjectRef
from edge.model.plan import Action
from edge.model.rule import Enforcement, Waiver
from edge.model.stamp import Component, Requirements, Stamp
from edge.policy.admission_policies import admission_policies
from edge.policy.rules import RuleBook
from tasks.preflight import look_ahead, preflight
from tests.contract.lab_kube_site import ADMIN, VIEWER, Site, widget, widget_crd
from tests.contract.pretend_site import Answer, client_of, serve, status

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "line"}}
RULES = PolicyRules(registries=["allowed.example"])
CONTAINER = {
    "name": "app",
    "image": "allowed.example/app:1",
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    "securityContext": {"allowPrivilegeEscalation": False},
    "readinessProbe": {"tcpSocket": {"port": 80}},
}


def stamp(**more: Any) -> Stamp:
    parts = (Component(name="base", path="base"),)
    return Stamp(name="line", version="1.0.0", namespaces=("line",), components=parts, digest="d", **more)


def settings(name: str = "settings", **data: Any) -> dict[str, Any]:
    labels = {"edge-platform.io/stamp": "line", "app.kubernetes.io/managed-by": "edge-platform"}
    meta = {"name": name, "namespace": "line", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def workload(replicas: int = 1, pod: Any = None, **container: Any) -> dict[str, Any]:
    labels = {"app": "app"}
    spec = {"containers": [{**CONTAINER, **container}], **(pod or {})}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": "app", "namespace": "line"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": body}


@pytest.fixture
def client(site: Site) -> Iterator[SiteClient]:
    with SiteClient(SiteAccess(server=site.url, token=ADMIN), site="site-0001") as found:
        yield found


@pytest.fixture
def line(client: SiteClient) -> SiteClient:
    """A client of a site that has the stamp's namespace."""
    client.apply(NAMESPACE)
    return client


def refusal(client: SiteClient, objects: list[dict[str, Any]], **said: Any) -> EdgeError:
    with pytest.raises(EdgeError) as refused:
        preflight(client, said.pop("stamp", stamp()), objects, policies=RULES, **said)
    assert refused.value.where["site"] == "site-0001"
    return refused.value


def test_what_would_be_created_changed_and_removed_is_told_and_not_done(line: SiteClient) -> None:
    line.apply(settings(level="info"))
    line.apply(settings("old", a="1"))
    wanted = [settings(level="debug"), settings("new"), workload()]
    found = look_ahead(line, stamp(), wanted, inventory=[ObjectRef.of(settings("old"))], policies=RULES)
    changes = {change.ref.name: change for change in found.changes}
    assert {name: change.action for name, change in changes.items()} == {
        "settings": Action.CHANGE,
        "new": Action.CREATE,
        "app": Action.CREATE,
        "old": Action.REMOVE,
    }
    assert ("data.level", "info", "debug") in [(one.path, one.before, one.after) for one in changes["settings"].fields]
    assert found.problems == ()
    with pytest.raises(NotFound):
        line.get(ObjectRef.of(settings("new")))
    assert line.get(ObjectRef.of(settings()))["data"] == {"level": "info"}


def test_what_is_there_already_is_the_same(line: SiteClient) -> None:
    wanted = [NAMESPACE, settings(level="info"), workload()]
    for obj in wanted:
        line.apply(obj)
    said = preflight(line, stamp(), wanted, policies=RULES)
    assert (said["create"], said["change"], said["same"]) == (0, 0, 3)


def test_all_refusals_of_a_site_are_collected_with_object_and_field(line: SiteClient) -> None:
    bad = [workload(replicas=-1), settings("bad", n=1), settings("good", n="1")]
    error = refusal(line, bad)
    assert isinstance(error, Rejected)
    assert "refuses 2 objects" in error.what
    assert "Deployment line/app" in error.where["problems"]
    assert "spec.replicas" in error.where["problems"]
    assert "ConfigMap line/bad" in error.where["problems"]


def test_many_problems_are_counted_beyond_a_bound(line: SiteClient) -> None:
    error = refusal(line, [settings(f"bad-{number}", n=1) for number in range(25)])
    assert error.where["problems"].endswith("and 5 more")


def test_fields_that_another_manager_owns_are_named(site: Site, line: SiteClient) -> None:
    site.apply("/api/v1/namespaces/line/configmaps/settings", settings(level="info"), manager="somebody")
    error = refusal(line, [settings(level="debug")])
    assert isinstance(error, OwnershipConflict)
    assert (error.where["managers"], error.where["fields"]) == ("somebody", ".data.level")


def test_objects_whose_namespace_comes_with_them_are_tried_elsewhere(client: SiteClient) -> None:
    said = preflight(client, stamp(), [NAMESPACE, settings(), workload()], policies=RULES)
    assert (said["create"], said["untried"]) == (3, ["ConfigMap line/settings", "Deployment line/app"])
    assert "spec.replicas" in refusal(client, [NAMESPACE, workload(replicas=-1)]).where["problems"]
    with pytest.raises(NotFound):
        client.get(ObjectRef.of(NAMESPACE))


def test_what_is_so_in_another_namespace_is_no_refusal(site: Site, client: SiteClient) -> None:
    namesake = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    site.make("/api/v1/namespaces/default/configmaps", namesake)
    none = {"pods": "0"}
    hard = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": none}}
    site.make("/api/v1/namespaces/default/resourcequotas", hard)
    site.merge("/api/v1/namespaces/default/resourcequotas/full/status", {"status": {"hard": none, "used": none}})
    alone = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": "line"}}
    alone["spec"] = workload()["spec"]["template"]["spec"]
    found = look_ahead(client, stamp(), [NAMESPACE, settings(), alone], policies=RULES)
    assert (found.problems, found.count(Action.CREATE)) == ((), 3)
    (warning,) = found.warnings
    assert "Pod line/alone: in namespace default it would be refused" in warning


def test_a_namespace_that_nobody_brings_is_a_problem(client: SiteClient) -> None:
    assert "line" in refusal(client, [settings()]).where["problems"]


def test_objects_of_a_kind_that_comes_with_them_are_held_against_its_schema(line: SiteClient) -> None:
    good, bad = widget("good", size=3), widget("bad", size=300)
    for obj in (good, bad):
        obj["metadata"]["namespace"] = "line"
    found = look_ahead(line, stamp(), [widget_crd(), good, bad], policies=RULES)
    assert [change.ref.name for change in found.changes] == ["widgets.edge.example.com", "good"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("Widget line/bad: spec.size: 300 is greater than")
    assert "only the schema" in found.untried["Widget line/good"]


def test_a_kind_that_nobody_brings_is_a_problem(line: SiteClient) -> None:
    stray = widget("stray", size=3)
    stray["metadata"]["namespace"] = "line"
    assert "does not serve Widget" in refusal(line, [stray]).where["problems"]


def test_breaches_are_refused_with_their_codes_and_every_other_problem(line: SiteClient) -> None:
    error = refusal(line, [workload(image="allowed.example/app:latest", resources={}), settings("bad", n=1)])
    assert isinstance(error, PolicyViolated)
    assert error.where["reason"] == "limits-set, no-latest-tag"
    assert "ConfigMap line/bad" in error.where["problems"]
    assert "Set resources.limits.cpu" in error.remedy


def test_a_waived_breach_passes_and_is_on_record(line: SiteClient) -> None:
    ends = datetime.now(UTC) + timedelta(days=1)
    waiver = Waiver(code="no-latest-tag", owner="line team", reason="lab", expires=ends)
    said = preflight(line, stamp(waivers=(waiver,)), [workload(image="allowed.example/app:latest")], policies=RULES)
    assert said["waived"] == ["no-latest-tag on Deployment line/app by line team"]
    over = waiver.model_copy(update={"expires": datetime.now(UTC) - timedelta(days=1)})
    error = refusal(line, [workload(image="allowed.example/app:latest")], stamp=stamp(waivers=(over,)))
    assert "the waiver of line team expired" in error.where["problems"]


def test_where_rules_only_warn_a_breach_is_a_warning(line: SiteClient) -> None:
    rules = RULES.model_copy(update={"enforcement": Enforcement.WARN})
    said = preflight(line, stamp(), [workload(image="allowed.example/app:latest")], policies=rules)
    assert "no-latest-tag" in str(said["warnings"])


def node(cpu: str) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    status = {"allocatable": amounts, "capacity": amounts}
    meta = {"name": "n1", "labels": {"kubernetes.io/arch": "amd64"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": status}


def put_node(site: Site, cpu: str) -> None:
    site.make("/api/v1/nodes", node(cpu))
    site.call("PATCH", "/api/v1/nodes/n1/status", node(cpu), content_type="application/merge-patch+json")


def test_a_site_without_room_or_what_is_needed_is_unfit(site: Site, line: SiteClient) -> None:
    put_node(site, "1")
    needs = Requirements(
        kinds=("Certificate.cert-manager.io",),
        controllers=("cert-manager/cert-manager",),
        architectures=("arm64",),
        kubernetes="1.99",
    )
    error = refusal(line, [workload(replicas=2)], stamp=stamp(requires=needs))
    assert isinstance(error, SiteUnfit)
    assert error.where["reason"] == "architecture, capacity, controllers, kinds, kubernetes"
    assert "1 of 2 pods have no room" in error.where["problems"]


def test_a_site_with_all_that_is_needed_is_fit(site: Site, line: SiteClient) -> None:
    put_node(site, "4")
    needs = Requirements(kinds=("Deployment.apps", "Service"), architectures=("amd64",), kubernetes="1.20")
    assert preflight(line, stamp(requires=needs), [workload(replicas=2)], policies=RULES)["create"] == 1


def test_a_namespace_of_another_stamp_is_left_alone(client: SiteClient) -> None:
    client.apply({**NAMESPACE, "metadata": {"name": "line", "labels": {"edge-platform.io/stamp": "other"}}})
    error = refusal(client, [settings()])
    assert isinstance(error, SiteUnfit)
    assert "belongs to stamp other" in error.where["problems"]


def test_an_object_of_another_stamp_is_left_to_it(line: SiteClient) -> None:
    theirs = settings(level="info")
    theirs["metadata"]["labels"]["edge-platform.io/stamp"] = "other"
    line.apply(theirs)
    error = refusal(line, [settings(level="debug"), workload(replicas=-1)])
    assert isinstance(error, OwnershipConflict)
    assert (error.where["other"], error.where["objects"]) == ("other", "ConfigMap line/settings")
    assert "spec.replicas" in error.where["problems"]


def login(password: str) -> dict[str, Any]:
    meta = {"name": "login", "namespace": "line"}
    data = {"key": base64.b64encode(password.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def test_values_of_secrets_are_never_told(line: SiteClient) -> None:
    line.apply(login("old-password"))
    found = look_ahead(line, stamp(), [login("new-password")], policies=RULES).model_dump_json()
    assert "data.key" in found
    for password in ("old-password", "new-password"):
        assert login(password)["data"]["key"] not in found


def test_a_credential_without_rights_is_said_to_be_one(site: Site, line: SiteClient) -> None:
    with SiteClient(SiteAccess(server=site.url, token=VIEWER), site="site-0001") as viewer:
        assert isinstance(refusal(viewer, [settings()]), CredentialRejected)


def test_each_object_costs_one_dry_run_and_what_was_read_is_not_read_again(line: SiteClient) -> None:
    wanted = [settings(f"s-{number}", n="1") for number in range(10)]
    live = line.look([ObjectRef.of(obj) for obj in wanted])
    asked: list[str] = []
    fence = Fence(site="site-0001", holder="run", token=1, guard=FenceGuard.LEASE)
    preflight(line.guarded(fence, (), asked.append), stamp(), wanted, live=live, policies=RULES)
    assert asked == ["GET"] + ["PATCH"] * 10  # the namespace's owner, then the objects; any answer says the time


@pytest.mark.parametrize(
    ("minutes", "reason", "warned"),
    [(0, "", 0), (4, "", 0), (-6, "", 1), (29, "", 1), (31, "clock", 0), (-31, "clock", 0)],
    ids=str,
)
def test_a_clock_that_is_off_is_a_warning_and_then_a_refusal(minutes: int, reason: str, warned: int) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    version = Answer({"gitVersion": "v1.31.0"}, headers={"Date": date})
    with serve(lambda asked: version if asked.path == "/version" else status(404)) as far, client_of(far) as client:
        found = look_ahead(client, stamp(), [], policies=RULES)
        assert (",".join(found.codes), len(found.warnings)) == (reason, warned)
        assert abs((found.clock_off_s or 0) - 60 * minutes) < 30
        if reason:
            assert "minutes" in refusal(client, []).where["problems"]


ALIKE: dict[str, dict[str, Any]] = {
    "sound": {},
    "privileged": {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
    "escalation": {"securityContext": {}},
    "no-context": {"securityContext": {"readOnlyRootFilesystem": True}},
    "no-limits": {"resources": {"requests": {"cpu": "1"}}},
    "no-cpu-limit": {"resources": {"limits": {"memory": "1Gi"}}},
    "foreign-image": {"image": "other.example/app:1"},
    "digest": {"image": "other.example/app@sha256:" + "a" * 64},
    "latest": {"image": "allowed.example/app:latest"},
    "no-probe": {"readinessProbe": None},
    "host-path": {"pod": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}},
    "host-network": {"pod": {"hostNetwork": True}},
    "bad-init": {"pod": {"initContainers": [{**CONTAINER, "image": "allowed.example/app", "readinessProbe": None}]}},
}


def test_a_sites_own_admission_judges_as_the_platform_does(line: SiteClient) -> None:
    book = RuleBook(baseline_rules(), ["allowed.example"])
    line.apply({**NAMESPACE, "metadata": {"name": "line", "labels": {"edge-platform.io/stamp": "line"}}})
    for policy in admission_policies(book.rules, book.registries):
        line.apply(policy)
    here, there = {}, {}
    for name, said in ALIKE.items():
        obj = workload(**said)
        obj["spec"]["template"]["spec"]["containers"] = [
            {word: value for word, value in one.items() if value is not None}
            for one in obj["spec"]["template"]["spec"]["containers"]
        ]
        here[name] = {one.code for one in book.violations([obj], (), datetime.now(UTC))}
        there[name] = _refused_by_site(line, obj, {rule.code for rule in book.rules})
    assert {name for name, codes in here.items() if codes} == {name for name, codes in there.items() if codes}
    assert all(codes <= here[name] for name, codes in there.items())
    assert sum(map(len, here.values())) == len(ALIKE) - 2


def _refused_by_site(client: SiteClient, obj: KubeObject, codes: set[str]) -> set[str]:
    """The codes in the refusal; a server names at least the first rule that is broken."""
    try:
        client.apply(obj, dry_run=True)
    except Rejected as error:
        return {code for code in codes if f"({code})" in error.what}
    return set()
