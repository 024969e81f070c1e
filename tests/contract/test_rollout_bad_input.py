"""What is wrong with a stamp, a strategy or an order is said with exit code 2, before any site or record is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from edge.cli.stamp import app
from edge.errors import InvalidInput
from edge.model.rollout import RolloutState, Strategy
from edge.model.site import OfflinePolicy
from tests.contract.rollout_world import RolloutWorld, write_stamp

SITES = ("site-0001", "site-0002", "site-0003")
QUICK = Strategy(waves=("100%",), site_deadline_s=20)
NAME = "wrong"

Edge = Callable[..., Result]


@pytest.fixture
def world(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutWorld]:
    """Three sites, of which the third may be away."""
    with RolloutWorld.at(lab, tmp_path / "home", monkeypatch) as made:
        made.add(*SITES[:2])
        made.add(SITES[2], when_offline=OfflinePolicy.EXPECTED)
        yield made


@pytest.fixture
def stamp(tmp_path: Path) -> Path:
    """A sound stamp, to be made wrong."""
    return write_stamp(tmp_path / "stamp", NAME, "1.0.0", level="${level:=low}")


@pytest.fixture
def edge() -> Edge:
    """An `edge stamp` command without a Prefect server."""
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments), "--json"])


def change(stamp: Path, **spec: Any) -> None:
    """Set these fields of the stamp's spec."""
    header = yaml.safe_load((stamp / "stamp.yaml").read_text())
    header["spec"].update(spec)
    (stamp / "stamp.yaml").write_text(yaml.safe_dump(header))


def traces(world: RolloutWorld) -> tuple[Any, ...]:
    """All that a rollout would leave: rows of the ledger, its audit trail, and requests to the sites."""
    rows = world.ledger.rollouts.list(), world.ledger.stamps.list(), world.ledger.placements.list()
    served = [world.lab.ask("GET", f"/lab/sites/{site}/requests?limit=0")["served"] for site in SITES]
    return *rows, world.ledger.audit.entries(), served


def refused(edge: Edge, world: RolloutWorld, *arguments: object) -> dict[str, Any]:
    """What is said about it, by a roll-out and by a plan; neither leaves a trace."""
    before = traces(world)
    told = [edge(command, *arguments) for command in ("roll-out", "plan")]
    assert [(one.exit_code, one.stdout) for one in told] == [(2, ""), (2, "")], told[0].output
    said: list[dict[str, Any]] = [json.loads(one.stderr) for one in told]
    assert said[0] == said[1]
    assert said[0]["code"] == "invalid-input"
    assert traces(world) == before
    return said[0]


def component(name: str, *needs: str) -> dict[str, Any]:
    return {"name": name, "path": "all", "dependsOn": list(needs)}


LEVEL = {"type": "integer", "minimum": 1, "maximum": 9, "default": 1}
WAIVER = {"code": "no-such-rule", "owner": "ada", "reason": "because", "expires": "2099-01-01"}


@pytest.mark.parametrize(
    ("spec", "given", "where"),
    [
        pytest.param(
            {"components": [component("a", "b"), component("b", "a")]},
            [],
            {"file": "stamp.yaml", "field": "spec.components.a.dependsOn", "value": "a -> b -> a"},
            id="components-in-a-circle",
        ),
        pytest.param(
            {"components": [component("a", "z")]},
            [],
            {"file": "stamp.yaml", "field": "spec.components.a.dependsOn", "value": "z"},
            id="a-component-that-is-not-there",
        ),
        pytest.param(
            {"parameters": {"level": LEVEL}}, ["--set", "level=high"], {"value": "high"}, id="a-value-of-the-wrong-type"
        ),
        pytest.param(
            {"parameters": {"level": LEVEL}}, ["--set", "level=10"], {"value": "10"}, id="a-value-out-of-range"
        ),
        pytest.param(
            {"parameters": {"level": LEVEL}, "values": {"sites": {"site-0002": {"level": 99}}}},
            [],
            {"file": "stamp.yaml", "field": "spec.values.sites.site-0002.level"},
            id="a-value-out-of-range-at-one-site",
        ),
        pytest.param(
            {"parameters": {"level": {"secret": True}}},
            ["--set", "level=hunter2"],
            {"value": "[redacted]"},
            id="a-secret-in-plain-text",
        ),
        pytest.param(
            {"parameters": {"password": {"default": "hunter2"}}},
            [],
            {"file": "stamp.yaml", "value": "[redacted]"},
            id="a-secret-that-is-not-declared-as-one",
        ),
        pytest.param(
            {"policies": {"waivers": [WAIVER]}},
            [],
            {"stamp": NAME, "field": "waivers.0.code", "value": "no-such-rule"},
            id="a-waiver-of-no-rule",
        ),
        pytest.param(
            {"components": [{"name": "all", "path": "all", "kind": "kustomize"}]},
            [],
            {"value": "../../elsewhere"},
            id="a-kustomize-base-outside-the-folder",
        ),
    ],
)
def test_a_wrong_stamp_changes_nothing(
    edge: Edge, world: RolloutWorld, stamp: Path, spec: dict[str, Any], given: list[str], where: dict[str, str]
) -> None:
    change(stamp, **spec)
    if "kustomize" in str(spec):
        (stamp / "all" / "kustomization.yaml").write_text("resources: [objects.yaml, ../../elsewhere]\n")
        (stamp.parent / "elsewhere").mkdir()
        (stamp.parent / "elsewhere" / "kustomization.yaml").write_text("resources: []\n")
    said = refused(edge, world, stamp, *given)
    found = {word: said["where"].get(word, "") for word in where}
    assert {**found, **({"file": found["file"].rpartition("/")[2]} if "file" in found else {})} == where, said
    assert "hunter2" not in json.dumps(said)


@pytest.mark.parametrize(
    ("strategy", "field"),
    [
        pytest.param(
            {"canary": "0", "waves": [{"sites": {"names": SITES[:2]}}, {"sites": {"names": SITES[1:]}}]},
            "strategy.waves[1].sites",
            id="waves-that-overlap",
        ),
        pytest.param(
            {"canary": "0", "waves": [{"sites": {"names": SITES[:2]}}]}, "strategy.waves", id="waves-that-miss-a-site"
        ),
        pytest.param(
            {"canary": "0", "waves": [{"sites": {"region": "moon"}}, {}]},
            "strategy.waves[0].sites",
            id="a-wave-that-matches-nothing",
        ),
        pytest.param(
            {"mandatory": {"names": [SITES[2]]}}, "strategy.mandatory", id="a-mandatory-site-that-may-be-away"
        ),
        pytest.param(
            {"canary": "0", "waves": [{"canary": True, "sites": {"names": [SITES[2]]}}, {}]},
            "strategy.waves[0].sites",
            id="a-canary-that-may-never-come",
        ),
        pytest.param(
            {"windows": [{"cron": "0 0 30 2 *", "duration_s": 3600}]},
            "strategy.windows[0].cron",
            id="a-window-that-never-opens",
        ),
        pytest.param(
            {"windows": [{"cron": "61 * * * *", "duration_s": 3600}]},
            "strategy.windows[0].cron",
            id="a-window-at-no-time",
        ),
        pytest.param(
            {"windows": [{"cron": "0 1 * * *", "duration_s": 60}], "site_deadline_s": 300},
            "strategy.windows.duration_s",
            id="windows-in-which-no-site-can-finish",
        ),
        pytest.param(
            {"windows": [{"cron": "0 1 * * *", "duration_s": 3600, "time_zone": "Mars/Base"}]},
            "strategy.windows[0].time_zone",
            id="a-window-in-no-time-zone",
        ),
        pytest.param({"force": ["site-0009"]}, "strategy.force", id="a-forced-site-of-another-fleet"),
        pytest.param({"concurrency": "none"}, "concurrency", id="a-concurrency-that-is-no-number"),
    ],
)
def test_a_strategy_that_cannot_end_well_changes_nothing(
    edge: Edge, world: RolloutWorld, stamp: Path, tmp_path: Path, strategy: dict[str, Any], field: str
) -> None:
    (tmp_path / "strategy.yaml").write_text(json.dumps(strategy))
    said = refused(edge, world, stamp, "--strategy", tmp_path / "strategy.yaml")
    assert said["where"]["field"] == field, said
    assert said["where"]["value"]


@pytest.mark.parametrize(
    ("who", "field"),
    [(["--region", "moon"], "sites"), (["--site", "site-0009"], "sites.names"), (["--label", "a=b"], "sites")],
    ids=["region", "name", "label"],
)
def test_a_selector_that_matches_nothing_changes_nothing(
    edge: Edge, world: RolloutWorld, stamp: Path, who: list[str], field: str
) -> None:
    assert refused(edge, world, stamp, *who)["where"]["field"] == field


def test_more_objects_than_a_stamp_may_have_change_nothing(edge: Edge, world: RolloutWorld, stamp: Path) -> None:
    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{0}, namespace: wrong}}\n"
    (stamp / "all" / "many.yaml").write_text("---\n".join(one.format(number) for number in range(5000)))
    said = refused(edge, world, stamp)
    assert "5000" in said["error"] + str(said["where"])


def test_a_version_that_is_known_with_another_content_or_goes_back_changes_nothing(
    edge: Edge, world: RolloutWorld, stamp: Path, tmp_path: Path
) -> None:
    assert world.roll_out(world.order(stamp, QUICK, SITES[:1])).state is RolloutState.SUCCEEDED
    other = write_stamp(tmp_path / "other", NAME, "1.0.0", level="high")
    said = refused(edge, world, other, "--site", SITES[0])
    assert (said["where"]["field"], said["where"]["value"]) == ("spec.version", "1.0.0")
    with pytest.raises(InvalidInput, match="another content"):
        world.roll_out(world.order(other, QUICK, SITES[:1]))
    older = write_stamp(tmp_path / "older", NAME, "0.9.0")
    said = refused(edge, world, older, "--site", SITES[0])
    assert said["where"]["site"] == SITES[0]
    assert "0.9.0" in str(said["where"])
