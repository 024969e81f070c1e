"""Drift told from who owns what, by the rules by which an API server merges and keeps the owners."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.kube.apply import server_side_apply, track_update
from edge.lab.kube.schema import Schema, builtin_schema, crd_schema
from edge.model.drift import DriftKind, DriftLook, DriftRule, DriftStatus, Finding
from edge.model.kube import ObjectRef
from edge.policy.drift import Difference, differences
from edge.policy.drift_report import (
    IGNORE_ANNOTATION,
    MASK,
    MENDABLE,
    finding,
    is_ignored,
    path_of,
    rules_of,
    sentence,
    table_rows,
    to_apply,
)

Obj = dict[str, Any]
OURS, THEM = "edge-platform", "kubectl-edit"
BEFORE, AFTER = "2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"
SINCE = datetime(2026, 3, 2, 12, tzinfo=UTC)


def known_schema(group: str, kind: str) -> Schema:
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
    found: Obj = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def told(found: tuple[Difference, ...]) -> list[tuple[DriftKind, str, str]]:
    return [(one.kind, path_of(one.place), one.manager) for one in found]


LIVE = applied(None, wanted())
POD = ".spec.template.spec.containers[name=main]"


def test_what_was_applied_has_no_drift() -> None:
    assert differences(wanted(), LIVE) == ()


def test_what_the_server_makes_of_a_value_is_no_drift() -> None:
    assert differences(wanted(), edited(LIVE, lambda obj: obj["status"].update(x=1) if "status" in obj else None)) == ()
    assert "protocol" in main_of(LIVE)["ports"][0], "a key of the port that the stamp leaves out"


@pytest.mark.parametrize(
    ("change", "kind", "path"),
    [
        pytest.param(
            lambda obj: main_of(obj).update(image="web:evil"), DriftKind.CHANGED, f"{POD}.image", id="an-image"
        ),
        pytest.param(lambda obj: obj["spec"].update(replicas=5), DriftKind.CHANGED, ".spec.replicas", id="replicas"),
        pytest.param(
            lambda obj: main_of(obj)["env"][0].update(value="blue"),
            DriftKind.CHANGED,
            f"{POD}.env[name=COLOUR].value",
            id="a-variable",
        ),
        pytest.param(
            lambda obj: main_of(obj)["resources"]["limits"].update(cpu="2"),
            DriftKind.CHANGED,
            f"{POD}.resources.limits.cpu",
            id="a-limit",
        ),
        pytest.param(
            lambda obj: obj["metadata"]["labels"].update(tier="back"),
            DriftKind.CHANGED,
            ".metadata.labels.tier",
            id="a-label",
        ),
        pytest.param(
            lambda obj: obj["metadata"]["annotations"].update({"a/b": "2"}),
            DriftKind.CHANGED,
            ".metadata.annotations[a/b]",
            id="an-annotation-with-a-slash",
        ),
    ],
)
def test_who_changed_which_field_and_since_when_is_told(
    change: Callable[[Obj], object], kind: DriftKind, path: str
) -> None:
    found = differences(wanted(), edited(LIVE, change))
    assert told(found) == [(kind, path, THEM)]
    assert found[0].since == SINCE


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param(lambda obj: main_of(obj).pop("resources"), f"{POD}.resources", id="a-branch"),
        pytest.param(lambda obj: main_of(obj).update(env=[]), f"{POD}.env", id="the-last-item"),
        pytest.param(lambda obj: obj["metadata"]["labels"].pop("tier"), ".metadata.labels", id="the-last-label"),
    ],
)
def test_a_field_that_is_gone_is_told_without_a_name(change: Callable[[Obj], object], path: str) -> None:
    found = differences(wanted(), edited(LIVE, change))
    assert [(one.kind, one.manager) for one in found] == [(DriftKind.REMOVED, "")]
    assert path_of(found[0].place).startswith(path)


def test_an_item_that_is_gone_from_a_list_is_told_by_its_keys() -> None:
    want = wanted(env=[{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "1"}])
    live = edited(applied(None, want), lambda obj: main_of(obj)["env"].pop())
    assert told(differences(want, live)) == [(DriftKind.REMOVED, f"{POD}.env[name=SIZE]", "")]


def test_of_two_ports_that_differ_in_a_key_with_a_default_each_is_itself() -> None:
    want = wanted(ports=[{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "name": "dns"}])
    assert differences(want, applied(None, want)) == ()
    gone = differences(want, edited(applied(None, want), lambda obj: main_of(obj)["ports"].pop()))
    assert [(one.kind, one.wanted) for one in gone] == [(DriftKind.REMOVED, {"containerPort": 53, "name": "dns"})]
    left = main_of(to_apply(want, [gone[0].place]))["ports"]
    assert [port["protocol"] for port in left if "protocol" in port] == ["UDP"]


def test_fields_that_the_stamp_does_not_set_are_nobodys_business_of_ours() -> None:
    want = wanted()
    del want["spec"]["replicas"]
    live = edited(applied(None, want), lambda obj: obj["spec"].update(replicas=7), "hpa", subresource="scale")
    live = edited(live, lambda obj: obj["metadata"]["labels"].update(theirs="x"))
    live = edited(
        live, lambda obj: obj["spec"]["template"]["spec"]["containers"].append({"name": "mesh", "image": "m"})
    )
    assert differences(want, live) == ()


def test_replicas_that_the_stamp_sets_and_an_autoscaler_took_are_told_with_its_name() -> None:
    live = edited(LIVE, lambda obj: obj["spec"].update(replicas=7), "kube-controller-manager", subresource="scale")
    found = differences(wanted(), live)
    assert told(found) == [(DriftKind.CHANGED, ".spec.replicas", "kube-controller-manager (scale)")]
    assert (found[0].wanted, found[0].found) == (2, 7)


def test_a_field_with_the_right_value_in_other_hands_was_taken_over() -> None:
    there_and_back = edited(
        edited(LIVE, lambda o: o["spec"].update(replicas=3)), lambda o: o["spec"].update(replicas=2)
    )
    assert told(differences(wanted(), there_and_back)) == [(DriftKind.TAKEN_OVER, ".spec.replicas", THEM)]


def test_a_quantity_in_another_form_is_the_same_value() -> None:
    changed = edited(LIVE, lambda obj: main_of(obj)["resources"]["limits"].update(cpu="2"))
    back = edited(changed, lambda obj: main_of(obj)["resources"]["limits"].update(cpu="1"))
    assert [kind for kind, _, _ in told(differences(wanted(), back))] == [DriftKind.TAKEN_OVER]


def test_a_manager_that_applies_the_same_value_owns_it_beside_us() -> None:
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2}}
    live = applied(LIVE, theirs, "flux", now=AFTER)
    assert told(differences(wanted(), live)) == [(DriftKind.CO_OWNED, ".spec.replicas", "flux")]
    assert DriftKind.CO_OWNED not in MENDABLE


def test_an_update_in_our_own_name_is_told_apart_from_what_we_applied() -> None:
    live = edited(LIVE, lambda obj: obj["spec"].update(replicas=4), OURS)
    assert told(differences(wanted(), live)) == [(DriftKind.CHANGED, ".spec.replicas", "edge-platform (Update)")]


def test_an_object_that_is_gone_or_is_going_is_missing() -> None:
    assert told(differences(wanted(), None)) == [(DriftKind.MISSING, "", "")]
    going = {**LIVE, "metadata": {**LIVE["metadata"], "deletionTimestamp": AFTER}}
    assert told(differences(wanted(), going)) == [(DriftKind.MISSING, "", "")]


def test_an_object_that_was_made_anew_by_another_is_told_in_one_line_beside_what_differs() -> None:
    other = applied(None, wanted(image="web:2"), "flux", now=AFTER)
    assert told(differences(wanted(), other)) == [
        (DriftKind.TAKEN_OVER, "", "flux"),
        (DriftKind.CHANGED, f"{POD}.image", "flux"),
    ]


def test_an_object_whose_record_of_owners_was_wiped_is_nobodys() -> None:
    wiped = {**LIVE, "metadata": {**LIVE["metadata"], "managedFields": []}}
    assert told(differences(wanted(), wiped)) == [(DriftKind.TAKEN_OVER, "", "")]


def test_who_applies_for_us_at_a_site_that_pulls_is_us() -> None:
    pulled = applied(None, wanted(), "kustomize-controller")
    assert differences(wanted(), pulled, "kustomize-controller") == ()


word = st.sampled_from("abc")
words = st.dictionaries(word, word, min_size=1, max_size=3)
part: st.SearchStrategy[Obj] = st.fixed_dictionaries(
    {"id": st.integers(1, 3)}, optional={"kind": st.sampled_from(["usual", "odd"]), "to": word}
)
bodies: st.SearchStrategy[Obj] = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 3),
        "words": words,
        "whole": words,
        "parts": st.lists(part, min_size=1, max_size=3, unique_by=lambda one: (one["id"], one.get("kind", "usual"))),
        "tags": st.lists(word, min_size=1, max_size=3, unique=True),
        "list": st.lists(word, min_size=1, max_size=3),
    },
)


def widget(body: Obj) -> Obj:
    return {"apiVersion": "edge.example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": body}


@given(bodies, bodies)
def test_nothing_differs_from_what_was_just_applied_whatever_was_there_before(before: Obj, body: Obj) -> None:
    was = applied(None, widget(before), "them", WIDGET)
    found = differences(widget(body), applied(was, widget(body), schema=WIDGET))
    assert all(one.kind is DriftKind.CO_OWNED for one in found)


@given(bodies, bodies)
def test_whatever_somebody_does_to_our_fields_is_found_and_applying_again_mends_it(body: Obj, theirs: Obj) -> None:
    live = applied(None, widget(body), schema=WIDGET)
    after = edited(live, lambda obj: obj.update(spec=copy.deepcopy(theirs)), schema=WIDGET)
    found = differences(widget(body), after)
    lost = [key for key in body if body[key] != theirs.get(key) and key in ("size", "list", "whole")]
    named = {one.place[1][2:] for one in found if len(one.place) > 1}
    assert set(lost) <= named | ({*body} if any(len(one.place) <= 1 for one in found) else set())
    again = differences(widget(body), applied(after, widget(body), schema=WIDGET))
    assert not [one for one in again if one.kind in MENDABLE]


# --- what people see


def as_finding(obj: Obj, one: Difference, shown: Obj | None = None) -> Finding:
    return finding("s1", "line", shown or obj, obj, one)


def secret(**data: str) -> Obj:
    meta = {"name": "login", "namespace": "line", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def test_values_of_secrets_are_never_told() -> None:
    live = edited(
        applied(None, secret(password="aHVudGVyMg=="), schema=SECRET),
        lambda obj: (obj["data"].update(password="b3RoZXI="), obj["metadata"]["labels"].update(app="x")),
        schema=SECRET,
    )
    found = [
        as_finding(secret(password="aHVudGVyMg=="), one) for one in differences(secret(password="aHVudGVyMg=="), live)
    ]
    by_path = {one.path: (one.wanted, one.found) for one in found}
    assert by_path == {".metadata.labels.app": ("web", "x"), ".data.password": (MASK, MASK)}


def test_a_secret_that_was_filled_into_another_object_is_not_told_either() -> None:
    real = wanted(env=[{"name": "DSN", "value": "the-real-one"}])
    shown = wanted(env=[{"name": "DSN", "value": "<secret db/dsn>"}])
    live = edited(applied(None, real), lambda obj: main_of(obj)["env"][0].update(value="the-real-one-changed"))
    told_one = as_finding(real, differences(real, live)[0], shown)
    assert (told_one.wanted, told_one.found) == (MASK, MASK)
    removed = as_finding(
        real, differences(real, edited(applied(None, real), lambda o: main_of(o).pop("env")))[0], shown
    )
    assert "the-real-one" not in removed.model_dump_json()


def test_what_looks_like_a_secret_is_not_told_even_where_none_was_meant() -> None:
    want = wanted(env=[{"name": "X", "value": "plain"}])
    live = edited(applied(None, want), lambda obj: main_of(obj)["env"][0].update(value="https://me:hunter2@host"))
    assert "hunter2" not in as_finding(want, differences(want, live)[0]).found


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        pytest.param(DriftRule(path=".spec.replicas"), True, id="path"),
        pytest.param(DriftRule(path=".spec.*"), True, id="path-with-a-star"),
        pytest.param(DriftRule(path=".spec"), False, id="only-a-beginning"),
        pytest.param(DriftRule(kind="Deployment", name="w*", namespace="line", manager="kubectl*"), True, id="all"),
        pytest.param(DriftRule(kind="Deployment", manager="flux"), False, id="another-manager"),
        pytest.param(DriftRule(), True, id="nothing-said"),
    ],
)
def test_a_rule_ignores_what_matches_everything_that_it_says(rule: DriftRule, matches: bool) -> None:
    one = differences(wanted(), edited(LIVE, lambda obj: obj["spec"].update(replicas=5)))[0]
    assert is_ignored(as_finding(wanted(), one), [rule]) is matches


def test_a_stamp_says_on_the_object_itself_what_others_may_change() -> None:
    obj = wanted()
    obj["metadata"]["annotations"][IGNORE_ANNOTATION] = f".spec.replicas, {POD}.image"
    rules = rules_of(obj)
    assert [(rule.kind, rule.name, rule.path) for rule in rules] == [
        ("Deployment", "web", ".spec.replicas"),
        ("Deployment", "web", f"{POD}.image"),
    ]
    assert rules_of(secret()) == ()


def test_what_is_ignored_is_left_out_of_what_is_applied_and_stays_as_it_is() -> None:
    live = edited(LIVE, lambda obj: (obj["spec"].update(replicas=5), main_of(obj).update(image="web:evil")))
    places = [one.place for one in differences(wanted(), live) if path_of(one.place) == ".spec.replicas"]
    assert len(places) == 1
    mended = applied(live, to_apply(wanted(), places))
    assert (mended["spec"]["replicas"], main_of(mended)["image"]) == (5, "web:1")
    assert wanted()["spec"]["replicas"] == 2


def test_an_item_that_is_ignored_is_left_out_alone() -> None:
    want = wanted(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    place = next(
        one.place for one in differences(want, edited(applied(None, want), lambda o: main_of(o)["env"].pop(0)))
    )
    assert main_of(to_apply(want, [place]))["env"] == [{"name": "B", "value": "2"}]


def look(status: DriftStatus, site: str = "s1", *, kinds: tuple[DriftKind, ...] = (), why: str = "") -> DriftLook:
    ref = ObjectRef(api_version="v1", kind="ConfigMap", name="a", namespace="line")
    found = tuple(Finding(site=site, stamp="line", kind=kind, ref=ref, path=".data.x", since=SINCE) for kind in kinds)
    return DriftLook(site=site, stamp="line", status=status, findings=found, why=why)


def test_the_sentence_names_what_was_not_looked_at() -> None:
    looks = [
        look(DriftStatus.CLEAN),
        look(DriftStatus.DRIFTED, kinds=(DriftKind.CHANGED, DriftKind.REMOVED)),
        look(DriftStatus.AWAY, "s3"),
        look(DriftStatus.AWAY, "s2"),
        look(DriftStatus.UNDER_REPAIR, "s4", why="until tomorrow"),
    ]
    assert sentence(looks) == ("5 placements: 1 clean, 1 drifted (2 differences), 2 away (s2, s3), 1 under-repair (s4)")
    many = [look(DriftStatus.AWAY, f"s{number:02}") for number in range(30)]
    assert sentence(many).endswith("s19 and 10 more)")


def test_the_table_has_a_row_for_each_difference_and_for_each_site_that_was_not_looked_at() -> None:
    looks = [
        look(DriftStatus.CLEAN),
        look(DriftStatus.DRIFTED, kinds=(DriftKind.CHANGED, DriftKind.REMOVED)),
        look(DriftStatus.SKIPPED, "s2", why="A rollout is at work there"),
        look(DriftStatus.MENDED, "s3").model_copy(
            update={"mended": look(DriftStatus.DRIFTED, "s3", kinds=(DriftKind.MISSING,)).findings}
        ),
    ]
    rows = table_rows(looks)
    assert [(row["site"], row["what"], row["why"]) for row in rows] == [
        ("s1", "changed", ""),
        ("s1", "removed", ""),
        ("s2", "", "A rollout is at work there"),
        ("s3", "missing", "Mended"),
    ]
    assert rows[0]["since"] == "2026-03-02T12:00:00+00:00"
    assert len({tuple(row) for row in rows}) == 1, "every row has the same columns"
