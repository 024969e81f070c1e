"""What people get to see of drift, what is ignored, and what is applied to mend the rest."""

from __future__ import annotations

import pytest

from edge.model.drift import DriftKind, DriftLook, DriftRule, DriftStatus, Finding
from edge.model.kube import ObjectRef
from edge.policy.drift import Difference, differences
from edge.policy.drift_report import (
    IGNORE_ANNOTATION,
    MASK,
    finding,
    is_ignored,
    path_of,
    rules_of,
    sentence,
    table_rows,
    to_apply,
)
from tests.unit.drifting import (
    LIVE,
    POD,
    SECRET,
    SINCE,
    Obj,
    applied,
    edited,
    main_of,
    wanted,
)


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
