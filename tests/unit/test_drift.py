"""Drift told from who owns what, by the rules by which an API server merges and keeps the owners."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model.drift import DriftKind
from edge.policy.drift import Difference, differences
from edge.policy.drift_report import (
    MENDABLE,
    path_of,
    to_apply,
)
from tests.unit.drifting import (
    AFTER,
    LIVE,
    OURS,
    POD,
    SINCE,
    THEM,
    WIDGET,
    Obj,
    applied,
    edited,
    main_of,
    wanted,
)


def told(found: tuple[Difference, ...]) -> list[tuple[DriftKind, str, str]]:
    return [(one.kind, path_of(one.place), one.manager) for one in found]


def test_what_was_applied_has_no_drift() -> None:
    assert differences(wanted(), LIVE) == ()


def test_what_the_server_makes_of_a_value_is_no_drift() -> None:
    live = copy.deepcopy(LIVE)
    main_of(live)["resources"]["limits"]["cpu"] = "1"
    main_of(live)["terminationMessagePath"] = "/dev/termination-log"
    assert "protocol" in main_of(live)["ports"][0], "a key of the port that the stamp leaves out"
    assert differences(wanted(), live) == ()


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
