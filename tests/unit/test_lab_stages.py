"""Stage files: conditions, templates, and the shipped stages read as data."""

from __future__ import annotations

from importlib.resources import files

import pytest

from edge.errors import InvalidInput
from edge.lab.controllers.calls import CALLS
from edge.lab.controllers.engine import duration, merge
from edge.lab.controllers.match import Condition, compile_conditions
from edge.lab.controllers.paths import every, one
from edge.lab.controllers.stages import parse_stage_file, read_stages
from edge.lab.controllers.template import Context, compile_template

POD = {
    "metadata": {"name": "web-1", "annotations": {"lab.edge-platform.io/ready-after": "5s"}, "labels": {"app": "web"}},
    "spec": {
        "nodeName": "node-1",
        "containers": [{"name": "a", "image": "web:1"}, {"name": "b", "image": "log:missing"}],
    },
    "status": {"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 2, "ready": True}]},
}
NOW = "2026-01-02T03:04:05Z"


class Around:
    """A site that is always the same."""

    def now_text(self) -> str:
        return NOW

    def fresh_ip(self) -> str:
        return "10.244.0.7"

    def host_ip(self, obj: object) -> str:
        return "10.0.0.10"


def fill(template: object) -> object:
    return compile_template(template)(Context(POD, Around()))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        pytest.param("metadata.name", ["web-1"], id="plain"),
        pytest.param('metadata.annotations["lab.edge-platform.io/ready-after"]', ["5s"], id="quoted key"),
        pytest.param("spec.containers[1].image", ["log:missing"], id="index"),
        pytest.param("spec.containers[*].image", ["web:1", "log:missing"], id="every item"),
        pytest.param("metadata.labels[*]", ["web"], id="every value of a map"),
        pytest.param("spec.containers[9].image", [], id="beyond the end"),
        pytest.param("status.conditions[*].type", [], id="nothing there"),
        pytest.param("metadata.name.first", [], id="through a text"),
    ],
)
def test_a_path_finds_what_is_there(path, found):
    assert every(path)(POD) == found


@pytest.mark.parametrize("path", ["a..b", "a[", "a[-1]", "a b", 'a["x'])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="not a path"):
        one(path)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        pytest.param({"path": "spec.nodeName", "exists": True}, True, id="exists"),
        pytest.param({"path": "metadata.deletionTimestamp", "exists": False}, True, id="does not exist"),
        pytest.param({"path": "status.phase", "in": ["Running", "Pending"]}, True, id="in"),
        pytest.param({"path": "status.reason", "in": [None]}, True, id="absent is null"),
        pytest.param({"path": "status.phase", "not_in": ["Running"]}, False, id="not in"),
        pytest.param({"path": "spec.containers[*].image", "like": ["*:missing"]}, True, id="some fit"),
        pytest.param({"path": "spec.containers[*].image", "not_like": ["*:missing"]}, False, id="none fits"),
        pytest.param({"path": "status.containerStatuses[*].ready", "in": [True]}, True, id="boolean"),
    ],
)
def test_a_condition_holds_or_not(condition, holds):
    assert compile_conditions((Condition.model_validate(condition),))(POD) is holds


def test_all_conditions_must_hold():
    here = Condition.model_validate({"path": "spec.nodeName", "exists": True})
    gone = Condition.model_validate({"path": "metadata.deletionTimestamp", "exists": True})

    assert not compile_conditions((here, gone))(POD)
    assert compile_conditions(())(POD)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        pytest.param("plain", "plain", id="plain text"),
        pytest.param("{{ now }}", NOW, id="word"),
        pytest.param("{{ metadata.name }}", "web-1", id="path"),
        pytest.param("on {{ spec.nodeName }} at {{ host_ip }}", "on node-1 at 10.0.0.10", id="inside a text"),
        pytest.param("{{ status.containerStatuses[0].restartCount + 1 }}", 3, id="adding keeps the number"),
        pytest.param("{{ status.nothing or 1 }}", 1, id="stand-in"),
        pytest.param({"a": "{{ status.nothing }}", "b": 1}, {"b": 1}, id="no value, no key"),
        pytest.param({"a": {"b": ["{{ metadata.name }}", None]}}, {"a": {"b": ["web-1", None]}}, id="nested"),
        pytest.param({"s": {"$each": "spec.initContainers", "$as": {"n": 1}}}, {}, id="no entries, no key"),
        pytest.param(
            {"$each": "spec.containers", "$was": "status.containerStatuses", "$as": ["{{ item.name }}", "{{ index }}"]},
            [["a", 0], ["b", 1]],
            id="each",
        ),
        pytest.param(
            {"$containers": {"ready": True}},
            [
                {"name": "a", "image": "web:1", "imageID": "", "restartCount": 2, "ready": True},
                {"name": "b", "image": "log:missing", "imageID": "", "restartCount": 0, "ready": True},
            ],
            id="containers",
        ),
    ],
)
def test_a_template_is_filled_in(template, filled):
    assert fill(template) == filled


def test_a_merge_removes_with_null_and_keeps_the_rest():
    assert merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}}, NOW) == {"b": {"c": 4, "d": 3}}


def test_conditions_are_merged_by_type_and_the_time_moves_only_with_the_status():
    before = {"conditions": [_condition("Ready", "False", "then"), _condition("Other", "True", "then")]}

    same = merge(before, {"conditions": [{"type": "Ready", "status": "False"}]}, NOW)
    moved = merge(before, {"conditions": [{"type": "Ready", "status": "True"}]}, NOW)

    assert [one["lastTransitionTime"] for one in same["conditions"]] == ["then", "then"]
    assert [one["lastTransitionTime"] for one in moved["conditions"]] == [NOW, "then"]


def _condition(kind: str, status: str, since: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": since}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("300ms", 0.3, id="milliseconds"),
        pytest.param("5s", 5.0, id="seconds"),
        pytest.param("2m", 120.0, id="minutes"),
        pytest.param("1.5h", 5400.0, id="hours"),
        pytest.param("7", 7.0, id="bare number"),
        pytest.param("soon", -1.0, id="not a time"),
    ],
)
def test_a_length_of_time_is_read(text, seconds):
    assert duration(text, -1.0) == seconds


SHIPPED = sorted(entry.name for entry in files("edge.lab").joinpath("stages").iterdir() if entry.name.endswith(".yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_stage_file_reads_is_short_and_calls_what_exists(name):
    text = files("edge.lab").joinpath("stages", name).read_text(encoding="utf-8")
    file = parse_stage_file(text, name)

    assert {stage.then.call for stage in file.stages} <= {None, *CALLS}
    assert text.startswith("# ")
    assert len(text.splitlines()) <= 60


def test_every_controller_is_called_by_a_stage():
    called = {stage.then.call for lanes in read_stages().lanes.values() for lane in lanes.values() for stage in lane}

    assert called - {None} == CALLS.keys()


def test_lower_ranks_come_first_so_that_a_deleted_pod_ends_rather_than_starts():
    names = [stage.name for stage in read_stages().lanes["", "Pod"]["life"]]

    assert names.index("go") < names.index("schedule") < names.index("run")


def test_a_scenarios_own_stages_come_before_the_shipped_ones(tmp_path):
    text = "resource: Pod\nrank: 1\nstages:\n  - {name: doom, then: {delete: true}}\n"
    (tmp_path / "doom.yaml").write_text(text)

    assert read_stages(["doom.yaml"], tmp_path).lanes["", "Pod"]["life"][0].name == "doom"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("resource: Pod\nstages: [{name: x, then: {}}]", id="does nothing"),
        pytest.param("resource: Pod\nstages: [{name: x, then: {delete: true}, wen: []}]", id="unknown field"),
        pytest.param("resource: Pod\nstages: [{name: x, when: [{path: a}], then: {delete: true}}]", id="asks nothing"),
        pytest.param(
            "resource: Pod\nstages: [{name: x, when: [{path: 'a[', exists: true}], then: {delete: true}}]", id="path"
        ),
        pytest.param("resource: Pod\nstages: [{name: x, then: {status: {a: '{{ }}'}}}]", id="empty expression"),
        pytest.param("resource: Pod\nstages: [{name: x, then: {call: nobody}}]", id="unknown controller"),
        pytest.param("- a list", id="not an object"),
    ],
)
def test_a_wrong_stage_file_is_refused_and_named(text):
    with pytest.raises(InvalidInput) as caught:
        parse_stage_file(text, "bad.yaml")

    assert caught.value.where["file"] == "bad.yaml"


def test_a_stage_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="cannot read"):
        read_stages(["gone.yaml"], tmp_path)
