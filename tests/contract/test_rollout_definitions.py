"""Definitions and their objects in one stamp: they come, change and go back together, and never under others' feet."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.errors import NotFound
from edge.model.kube import ObjectRef
from edge.model.rollout import OnBrokenBudget, RolloutState, Strategy
from tests.contract.rollout_world import MISSING, RolloutWorld, write_stamp

SITE, OTHER = "site-0001", "site-0002"
QUICK = Strategy(waves=("100%",), site_deadline_s=20)
BACK = QUICK.model_copy(update={"on_broken_budget": OnBrokenBudget.ROLL_BACK})


@pytest.fixture(scope="module")
def fleet_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "2")


@pytest.fixture
def world(fleet_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutWorld]:
    with RolloutWorld.at(fleet_lab, tmp_path / "home", monkeypatch) as made:
        made.add(SITE, OTHER)
        yield made


def crd_stamp(folder: Path, version: str, schema: dict[str, Any], image: str = "") -> Path:
    """A stamp with a definition and an object of it; with an image, also something that never gets healthy."""
    write_stamp(folder, "kinds", version, **({"image": image} if image else {}))
    names = {"kind": "Till", "plural": "tills", "singular": "till"}
    open_schema = {
        "openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": schema}}}
    }
    served = {"name": "v1", "served": True, "storage": True, "schema": open_schema}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "tills.shop.example"},
        "spec": {"group": "shop.example", "scope": "Namespaced", "names": names, "versions": [served]},
    }
    meta, spec = {"name": "one", "namespace": "kinds"}, {name: 1 for name in schema}
    till = {"apiVersion": "shop.example/v1", "kind": "Till", "metadata": meta, "spec": spec}
    header = yaml.safe_load((folder / "stamp.yaml").read_text())
    header["spec"]["clusterKinds"] = ["CustomResourceDefinition"]
    (folder / "stamp.yaml").write_text(yaml.safe_dump(header))
    (folder / "all" / "till.yaml").write_text("\n---\n".join(map(json.dumps, (till, definition))))
    return folder


TILL = ObjectRef(api_version="shop.example/v1", kind="Till", name="one", namespace="kinds")
TILLS = ObjectRef(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition", name="tills.shop.example")


def test_definitions_and_their_objects_come_change_and_go_back_together(world: RolloutWorld, tmp_path: Path) -> None:
    number = {"type": "integer"}
    short = BACK.model_copy(update={"site_deadline_s": 1.0})
    with world.client(SITE) as client:
        bad = crd_stamp(tmp_path / "0", "0.9.0", {"size": number}, image=MISSING)
        assert world.roll_out(world.order(bad, short, [SITE])).state is RolloutState.ROLLED_BACK
        assert client.look([TILL, TILLS]) == {}
        good = crd_stamp(tmp_path / "1", "1.0.0", {"size": number})
        assert world.roll_out(world.order(good, QUICK, [SITE])).state is RolloutState.SUCCEEDED
        newer = crd_stamp(tmp_path / "2", "1.1.0", {"size": number, "width": number}, image=MISSING)
        assert world.roll_out(world.order(newer, short, [SITE])).state is RolloutState.ROLLED_BACK
        found = client.look([TILL, TILLS])
        assert found[TILL]["spec"] == {"size": 1}
        schema = found[TILLS]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert set(schema["properties"]["spec"]["properties"]) == {"size"}


def test_a_definition_that_others_use_by_now_stays_when_it_is_taken_back(world: RolloutWorld, tmp_path: Path) -> None:
    folder = crd_stamp(tmp_path / "s", "1.0.0", {"size": {"type": "integer"}}, image=MISSING)
    theirs = {"apiVersion": "shop.example/v1", "kind": "Till", "metadata": {"name": "theirs", "namespace": "default"}}
    short = BACK.model_copy(update={"site_deadline_s": 3.0})
    over = threading.Event()
    with world.client(OTHER) as client, ThreadPoolExecutor(1) as aside:

        def use_it() -> None:
            while not over.is_set():
                try:
                    client.create({**theirs, "spec": {"size": 2}})
                    return
                except NotFound:
                    time.sleep(0.02)

        using = aside.submit(use_it)
        rollout = world.roll_out(world.order(folder, short, [OTHER]))
        over.set()
        using.result()
        assert rollout.state is RolloutState.ROLLED_BACK
        found = client.look([TILL, TILLS, ObjectRef.of(theirs)])
        assert set(found) == {TILLS, ObjectRef.of(theirs)}
    records = world.ledger.steps.records(f"rollout:{rollout.plan.rollout_id}", OTHER)
    left = next(one for one in records if one.key.step == "roll-back").detail["left"]
    assert "it holds Till default/theirs" in str(left)
