"""What differs between two versions of a stamp."""

from __future__ import annotations

from typing import Any

from edge.model.stamp import Component, Parameter, ParameterValues, Stamp
from edge.policy.stamp_diff import HIDDEN, FieldDifference, diff_stamps


def stamp(version: str = "1.0.0", **changes: Any) -> Stamp:
    said = {"namespaces": ("press",), "components": (Component(name="app", path="app"),), "digest": "0" * 64, **changes}
    return Stamp(name="press", version=version, **said)


def obj(kind: str, name: str, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "press", "annotations": {"edge-platform.io/version": more.pop("version", "1")}}
    return {"apiVersion": more.pop("api", "v1"), "kind": kind, "metadata": meta, **more}


def test_the_same_content_differs_in_nothing_but_its_version() -> None:
    found = diff_stamps(stamp(), stamp("2.0.0"), [obj("Pod", "a")], [obj("Pod", "a", version="2")])
    assert found.is_empty()
    assert (found.before, found.after) == ("press 1.0.0", "press 2.0.0")


def test_objects_are_added_removed_and_changed_with_their_fields() -> None:
    before = [
        obj("ConfigMap", "a", data={"x": "1", "gone": "2"}),
        obj("Pod", "old"),
        obj("Pod", "b", spec={"l": [1, 2]}),
    ]
    after = [obj("ConfigMap", "a", data={"x": "3", "new": "4"}), obj("Pod", "new"), obj("Pod", "b", spec={"l": [1]})]
    found = diff_stamps(stamp(), stamp(), before, after).objects
    assert (found.added, found.removed) == (("Pod press/new",), ("Pod press/old",))
    assert [(one.name, one.fields) for one in found.changed] == [
        (
            "ConfigMap press/a",
            (
                FieldDifference(field="data.x", before='"1"', after='"3"'),
                FieldDifference(field="data.gone", before='"2"'),
                FieldDifference(field="data.new", after='"4"'),
            ),
        ),
        ("Pod press/b", (FieldDifference(field="spec.l", before="[1, 2]", after="[1]"),)),
    ]


def test_another_version_of_a_group_is_the_same_object() -> None:
    before, after = obj("Job", "a", api="batch/v1beta1"), obj("Job", "a", api="batch/v1")
    [changed] = diff_stamps(stamp(), stamp(), [before], [after]).objects.changed
    assert changed.fields == (FieldDifference(field="apiVersion", before='"batch/v1beta1"', after='"batch/v1"'),)


def test_the_text_in_a_secret_is_not_shown() -> None:
    before, after = (obj("Secret", "a", stringData={"p": text}, type="Opaque") for text in ("hunter2", "hunter3"))
    found = diff_stamps(stamp(), stamp(), [before], [after])
    assert "hunter" not in found.model_dump_json()
    [changed] = found.objects.changed
    assert changed.fields == (FieldDifference(field="stringData.p", before=HIDDEN, after=HIDDEN),)


def test_parts_of_the_stamp_are_compared_by_name() -> None:
    before = stamp(parameters={"a": Parameter(), "b": Parameter(default="1")})
    after = stamp(
        parameters={"b": Parameter(default="2"), "c": Parameter()},
        components=(Component(name="app", path="app", depends_on=("base",)), Component(name="base", path="base")),
        values=ParameterValues(sites={"mill-1": {"b": "3"}}),
        required_step=True,
    )
    found = diff_stamps(before, after, [], [])
    assert (found.parameters.added, found.parameters.removed) == (("c",), ("a",))
    assert found.parameters.changed[0].fields == (FieldDifference(field="default", before='"1"', after='"2"'),)
    assert found.components.added == ("base",)
    assert found.components.changed[0].fields == (FieldDifference(field="depends_on", before="[]", after='["base"]'),)
    assert found.values.added == ("sites.mill-1",)
    assert found.stamp == (FieldDifference(field="required_step", before="false", after="true"),)
