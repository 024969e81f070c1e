"""What goes wrong at a site while a stamp comes: the site is as it was, or the record says exactly how it was left."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.logging import disable_run_logger
from typer.testing import CliRunner

from edge.cli.rollout import app as rollout_app
from edge.clients.kubernetes import SiteClient
from edge.model.kube import ObjectRef
from edge.model.outcome import Cause, Status
from edge.model.rollout import Control, Delivery, OnBrokenBudget, Rollout, RolloutState, SiteProgress, Strategy
from tasks.site_visit import placement_before
from tests.contract.rollout_world import RolloutWorld, write_stamp
from tests.contract.rollout_world import refs as world_refs

SITE, OTHER = "site-0001", "site-0002"
QUICK = Strategy(waves=("100%",), site_deadline_s=20)
BACK = QUICK.model_copy(update={"on_broken_budget": OnBrokenBudget.ROLL_BACK})
COUNT = 6


@pytest.fixture(scope="module")
def fleet_lab(lab_factory: Any) -> Any:
    return lab_factory("--sites", "2")


@pytest.fixture
def world(fleet_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutWorld]:
    with RolloutWorld.at(fleet_lab, tmp_path / "home", monkeypatch) as made:
        made.add(SITE, OTHER)
        yield made
        for site in (SITE, OTHER):
            fleet_lab.lift(site)


def maps(folder: Path, name: str, version: str = "1.0.0", *, count: int = COUNT, **data: str) -> Path:
    """A stamp of a namespace and some ConfigMaps, without anything that has to become healthy."""
    (folder / "all").mkdir(parents=True, exist_ok=True)
    spec = {"version": version, "namespaces": [name], "components": [{"name": "all", "path": "all"}]}
    header = {"apiVersion": "edge-platform.io/v1", "kind": "Stamp", "metadata": {"name": name}, "spec": spec}
    (folder / "stamp.yaml").write_text(yaml.safe_dump(header))
    objects: list[Any] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}]
    for number in range(count):
        meta = {"name": f"c-{number:04}", "namespace": name}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    (folder / "all" / "objects.yaml").write_text("\n---\n".join(json.dumps(obj) for obj in objects))
    return folder


def refs(name: str, count: int = COUNT) -> list[ObjectRef]:
    """The objects of `maps`, in the order in which they are applied."""
    some = [ObjectRef(api_version="v1", kind="ConfigMap", name=f"c-{n:04}", namespace=name) for n in range(count)]
    return [ObjectRef(api_version="v1", kind="Namespace", name=name), *some]


def there(client: SiteClient, name: str, count: int = COUNT) -> list[str]:
    """Those that the site has."""
    found = client.look(refs(name, count))
    return [str(ref) for ref in refs(name, count) if ref in found]


def row(rollout: Rollout, site: str = SITE) -> SiteProgress:
    return next(one for one in rollout.sites if one.site == site)


def cause(rollout: Rollout) -> Cause:
    found = row(rollout).cause
    assert found is not None, rollout
    return found


def code(rollout: Rollout) -> tuple[str, str]:
    return cause(rollout).code, cause(rollout).reason


def unchanged(world: RolloutWorld, rollout: Rollout, name: str, count: int = COUNT) -> Cause:
    """Why the site failed, once it is proven that nothing was changed there, and that the record says so."""
    is_back = rollout.plan.strategy.on_broken_budget is OnBrokenBudget.ROLL_BACK
    ends = RolloutState.ROLLED_BACK if is_back else RolloutState.STOPPED
    assert (rollout.state, row(rollout).status) == (ends, Status.FAILED), rollout
    assert row(rollout).detail == {}
    placed = world.ledger.placements.get(SITE, name)
    assert placed is None or placed.rollout_id != rollout.plan.rollout_id
    assert world.ledger.placements.failed(name, rollout.plan.digest) == frozenset(), "it was never tried there"
    with world.client(SITE) as client:
        assert there(client, name, count) == [] or placed is not None
        for ref, obj in client.look(refs(name, count)).items():
            notes = obj["metadata"].get("annotations") or {}
            assert notes.get("edge-platform.io/version") != rollout.plan.version, ref
    return cause(rollout)


@contextmanager
def webhook(client: SiteClient, name: str, answer: str, condition: str = "true", **more: Any) -> Iterator[None]:
    """A webhook that is asked about the ConfigMaps of the namespace of this name."""
    meta = {"name": "guard", "namespace": "default", "annotations": {"lab.edge-platform.io/webhook": answer}}
    ports = {"ports": [{"port": 443, "protocol": "TCP"}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports}
    hook = {
        "name": "guard.example.com",
        "clientConfig": {"service": {"name": "guard", "namespace": "default", "path": "/check"}},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
        ],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        "matchConditions": [{"name": "ours", "expression": f"request.namespace == '{name}' && ({condition})"}],
        **more,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    made = [client.apply(service), client.apply({**kind, "metadata": {"name": "guard"}, "webhooks": [hook]})]
    try:
        yield
    finally:
        for obj in reversed(made):
            client.delete(ObjectRef.of(obj))


@contextmanager
def when_applied(world: RolloutWorld, client: SiteClient, last: ObjectRef, kind: str) -> Iterator[None]:
    """Set a fault at the site as soon as it has this object in version 1.1.0; lift it at the end."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set() and version(client, last) != "1.1.0":
            time.sleep(0.01)
        world.lab.fault(SITE, kind)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
        world.lab.lift(SITE)


def version(client: SiteClient, ref: ObjectRef) -> str:
    """The stamp's version that an object came with; "" when it is not there."""
    found = client.look([ref]).get(ref) or {"metadata": {}}
    return str(found["metadata"].get("annotations", {}).get("edge-platform.io/version", ""))


def slow_fourth(client: SiteClient, name: str) -> AbstractContextManager[None]:
    """The fourth ConfigMap takes a while, so that something can happen meanwhile."""
    return webhook(client, name, "{mode: allow, delay_s: 0.6}", "!request.dryRun && object.metadata.name == 'c-0003'")


def test_a_disk_that_is_full_before_the_snapshot_changes_nothing(world: RolloutWorld, tmp_path: Path) -> None:
    world.lab.fault(SITE, "full-disk")
    rollout = world.roll_out(world.order(maps(tmp_path / "s", "full-before"), QUICK, [SITE]))
    world.lab.lift(SITE)
    why = unchanged(world, rollout, "full-before")
    assert (why.code, why.reason) == ("site-unfit", "disk-full")
    assert why.remedy == "Free room on the site"


@pytest.mark.parametrize(("fault", "said"), [("full-disk", "site-unfit"), ("offline", "site-unreachable")])
def test_what_stops_in_the_middle_is_on_record_object_by_object_and_goes_back_when_the_site_can(
    world: RolloutWorld, tmp_path: Path, fault: str, said: str
) -> None:
    name = f"half-{fault}"
    good = world.roll_out(world.order(maps(tmp_path / "1", name, colour="red", count=2), QUICK, [SITE]))
    assert good.state is RolloutState.SUCCEEDED
    new = maps(tmp_path / "2", name, "1.1.0", colour="blue")
    third = refs(name)[3]
    with world.client(SITE) as client:
        before = client.look(refs(name))
        with slow_fourth(client, name), when_applied(world, client, third, fault):
            rollout = world.roll_out(world.order(new, BACK, [SITE]))
        assert (rollout.state, code(rollout)) == (RolloutState.STOPPED, (said, "not-taken-back"))
        detail: dict[str, Any] = dict(row(rollout).detail)
        steps = {one.key.step: one for one in world.ledger.steps.records(f"rollout:{rollout.plan.rollout_id}", SITE)}
        assert steps["apply"].detail.items() <= detail.items()
        shown = json.loads(CliRunner().invoke(rollout_app, ["status", rollout.plan.rollout_id, "--json"]).stdout)
        assert shown["progress"][0]["detail"] == detail
        had = there(client, name)
        applied, unsure = detail["applied"], detail.get("unsure", [])
        assert set(applied) <= set(had) <= {*applied, *unsure}
        assert [*applied, *unsure, *detail["not_applied"]] == [str(ref) for ref in refs(name)]
        placed = world.ledger.placements.get(SITE, name)
        assert placed is not None
        assert {str(ref) for ref in placed.inventory} >= set(had), "what is there is never forgotten"
        world.ledger.rollouts.control(rollout.plan.rollout_id, Control.RETRY_FAILED, by="ada")
        back = world.go_on(rollout.plan.rollout_id)
        assert (back.state, row(back).status, row(back).detail) == (RolloutState.ROLLED_BACK, Status.ROLLED_BACK, {})
        assert "could not be taken back" not in cause(back).message
        after = client.look(refs(name))
        assert {ref: obj["data"] for ref, obj in after.items() if "data" in obj} == {
            ref: obj["data"] for ref, obj in before.items() if "data" in obj
        }
        assert set(after) == set(before)
    again = world.ledger.placements.get(SITE, name)
    assert again is not None
    assert again.version == "1.0.0"


def test_a_retry_finishes_what_was_cut_off_and_knows_what_was_there_before(world: RolloutWorld, tmp_path: Path) -> None:
    name, lenient = "cut-off", BACK.model_copy(update={"canary": "0", "failure_budget": "1", "force": (SITE,)})
    world.roll_out(world.order(maps(tmp_path / "1", name), QUICK, [SITE]))
    new = maps(tmp_path / "2", name, "1.1.0", count=COUNT - 1)
    with world.client(SITE) as client:
        with webhook(client, name, "{mode: reject}", "!request.dryRun && object.metadata.name == 'c-0003'"):
            first = world.roll_out(world.order(new, lenient, [SITE, OTHER]))
            assert (first.state, code(first)[0]) == (RolloutState.FAILED, "rejected")
            world.ledger.rollouts.control(first.plan.rollout_id, Control.RETRY_FAILED, by="ada")
            assert world.go_on(first.plan.rollout_id).state is RolloutState.FAILED
        records = world.ledger.steps.records(f"rollout:{first.plan.rollout_id}", SITE)
        had = placement_before(next(one for one in records if one.key.step == "prepare").detail)
        assert had is not None
        assert had.version == "1.0.0"
        world.ledger.rollouts.control(first.plan.rollout_id, Control.RETRY_FAILED, by="ada")
        assert world.go_on(first.plan.rollout_id).state is RolloutState.SUCCEEDED
        assert there(client, name) == [str(ref) for ref in refs(name, COUNT - 1)], "what went is pruned all the same"


@pytest.mark.parametrize(
    ("condition", "answer", "said"),
    [
        ("true", "{mode: reject, message: not on Fridays}", "rejected"),
        ("true", "{mode: silent}", "server-fault"),
    ],
    ids=["rejects", "times-out"],
)
def test_a_webhook_that_stands_in_the_way_of_the_dry_run_changes_nothing(
    world: RolloutWorld, tmp_path: Path, condition: str, answer: str, said: str
) -> None:
    name = f"hook-{said}"
    world.roll_out(world.order(maps(tmp_path / "1", name), QUICK, [SITE]))
    with world.client(SITE) as client, webhook(client, name, answer, condition):
        rollout = world.roll_out(world.order(maps(tmp_path / "2", name, "1.1.0", a="b"), BACK, [SITE]))
    why = unchanged(world, rollout, name)
    assert why.code == said
    assert "guard.example.com" in why.message


def test_a_webhook_that_rejects_only_the_write_stops_it_and_the_site_goes_back(
    world: RolloutWorld, tmp_path: Path
) -> None:
    name = "hook-late"
    with world.client(SITE) as client:
        with webhook(client, name, "{mode: reject, message: enough}", "object.metadata.name == 'c-0003'"):
            rollout = world.roll_out(world.order(maps(tmp_path / "s", name), BACK, [SITE]))
        assert (rollout.state, row(rollout).status) == (RolloutState.ROLLED_BACK, Status.ROLLED_BACK)
        assert "enough" in cause(rollout).message
        assert "applied 4 of 7 objects" in cause(rollout).message
        assert there(client, name) == []
    assert world.ledger.placements.get(SITE, name) is None


@pytest.mark.parametrize("skew_s", [1900.0, -1900.0], ids=["ahead", "behind"])
def test_a_clock_that_is_half_an_hour_off_changes_nothing(world: RolloutWorld, tmp_path: Path, skew_s: float) -> None:
    world.lab.fault(SITE, "wrong-clock", skew_s=skew_s)
    rollout = world.roll_out(world.order(maps(tmp_path / "s", "late"), QUICK, [SITE]))
    world.lab.lift(SITE)
    why = unchanged(world, rollout, "late")
    assert (why.code, why.reason) == ("site-unfit", "clock")
    assert "32 minutes" in why.message


def test_a_credential_that_is_not_accepted_changes_nothing(world: RolloutWorld, tmp_path: Path) -> None:
    good = Path(world.lab.site(SITE).kubeconfig).read_text()
    config = yaml.safe_load(good)
    config["users"][0]["user"] = {"token": "nobody"}
    world.credentials.keep(SITE, yaml.safe_dump(config))
    rollout = world.roll_out(world.order(maps(tmp_path / "s", "stranger"), QUICK, [SITE]))
    world.credentials.keep(SITE, good)
    why = unchanged(world, rollout, "stranger")
    assert (why.code, why.remedy) == ("credential-rejected", "Renew the site's credential")
    assert "nobody" not in why.message


def test_a_namespace_that_is_being_deleted_changes_nothing(world: RolloutWorld, tmp_path: Path) -> None:
    name = "leaving"
    meta = {"name": "stays", "namespace": name, "finalizers": ["example.com/hold"]}
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
    with world.client(SITE) as client:
        client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        client.apply(kept)
        client.delete(refs(name)[0])
        rollout = world.roll_out(world.order(maps(tmp_path / "s", name), QUICK, [SITE]))
        client.apply({**kept, "metadata": {**meta, "finalizers": []}}, force=True)
    why = unchanged(world, rollout, name)
    assert (why.code, why.remedy) == ("not-yet", "The namespace must be gone before it can be used again")


def test_a_quota_that_runs_out_on_the_way_stops_it_and_the_site_goes_back(world: RolloutWorld, tmp_path: Path) -> None:
    name = "narrow"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": name}}
    with world.client(SITE) as client:
        client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        client.apply({**quota, "spec": {"hard": {"count/configmaps": "4"}}})
        before = there(client, name)
        rollout = world.roll_out(world.order(maps(tmp_path / "s", name), BACK, [SITE]))
        assert (rollout.state, code(rollout)[0]) == (RolloutState.ROLLED_BACK, "rejected")
        assert "exceeded quota: few" in cause(rollout).message
        assert there(client, name) == before


def test_a_field_that_cannot_change_changes_nothing(world: RolloutWorld, tmp_path: Path) -> None:
    folder = write_stamp(tmp_path / "s", "fixed", "1.0.0")
    world.roll_out(world.order(folder, QUICK, [SITE]))
    objects = folder / "all" / "objects.yaml"
    write_stamp(folder, "fixed", "1.1.0")
    objects.write_text(objects.read_text().replace('"app": "app"', '"app": "other"'))
    rollout = world.roll_out(world.order(folder, BACK, [SITE]))
    why = unchanged(world, rollout, "fixed", 0)
    assert why.code == "rejected"
    assert "spec.selector" in why.message
    assert "field is immutable" in why.message


@pytest.fixture
def by_gitops(fleet_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Strategy:
    """A strategy by which the sites pull from the lab's registry."""
    facts = fleet_lab.gitops
    monkeypatch.setenv("EDGE_GITOPS_URL", facts.url)
    monkeypatch.setenv("EDGE_GITOPS_CA_FILE", facts.ca_file)
    monkeypatch.setenv("EDGE_GITOPS_USERNAME", facts.username)
    monkeypatch.setenv("EDGE_GITOPS_PASSWORD", Path(facts.password_file).read_text())
    return QUICK.model_copy(update={"delivery": Delivery.GITOPS})


def waived(folder: Path, name: str, expires: str) -> Path:
    """A stamp with an image from elsewhere, which somebody answers for until then."""
    write_stamp(folder, name, "1.0.0", image="elsewhere.example/app:1")
    header = yaml.safe_load((folder / "stamp.yaml").read_text())
    waiver = {"code": "image-source", "owner": "ada", "reason": "an old till", "expires": expires}
    header["spec"]["policies"] = {"waivers": [waiver]}
    (folder / "stamp.yaml").write_text(yaml.safe_dump(header))
    return folder


def test_a_waiver_counts_until_it_expires_whoever_applies(
    world: RolloutWorld, tmp_path: Path, by_gitops: Strategy
) -> None:
    good = world.roll_out(world.order(waived(tmp_path / "good", "waived", "2099-01-01"), QUICK, [SITE]))
    assert good.state is RolloutState.SUCCEEDED
    for strategy in (QUICK, by_gitops):
        name = f"unwaived-{strategy.delivery}"
        rollout = world.roll_out(world.order(waived(tmp_path / name, name, "2020-01-01"), strategy, [SITE]))
        why = unchanged(world, rollout, name, 0)
        assert (why.code, why.reason) == ("policy-violated", "image-source")
        assert "the waiver of ada expired on 2020-01-01" in why.message
        with world.client(SITE) as client:
            assert client.look(world_refs(name)) == {}


def test_a_retry_that_does_not_get_to_the_site_leaves_the_record_of_how_it_was_left(
    world: RolloutWorld, tmp_path: Path
) -> None:
    name = "still-half"
    with (
        world.client(SITE) as client,
        webhook(client, name, "{mode: reject}", "!request.dryRun && object.metadata.name == 'c-0003'"),
    ):
        forced = QUICK.model_copy(update={"force": (SITE,)})
        first = world.roll_out(world.order(maps(tmp_path / "s", name), forced, [SITE]))
    assert row(first).detail["applied"] == [str(ref) for ref in refs(name)[:4]]
    retried = world.ledger.rollouts.control(first.plan.rollout_id, Control.RETRY_FAILED, by="ada")
    assert row(retried).detail == row(first).detail
    world.lab.fault(SITE, "wrong-clock", skew_s=1900.0)
    again = world.go_on(first.plan.rollout_id)
    world.lab.lift(SITE)
    assert code(again) == ("site-unfit", "clock")
    assert row(again).detail == row(first).detail


def test_two_stamps_never_own_the_same_object_even_when_they_come_at_the_same_time(
    world: RolloutWorld, tmp_path: Path
) -> None:
    stamps = [write_stamp(tmp_path / name, name, "1.0.0") for name in ("first", "second")]
    for folder in stamps:
        objects = (folder / "all" / "objects.yaml").read_text().replace(f'"{folder.name}"', '"shared"')
        (folder / "all" / "objects.yaml").write_text(objects)
        header = yaml.safe_load((folder / "stamp.yaml").read_text())
        header["spec"]["namespaces"] = ["shared"]
        (folder / "stamp.yaml").write_text(yaml.safe_dump(header))
    with disable_run_logger(), ThreadPoolExecutor(2) as both:  # one for both: the first to end would lift it
        ended = list(both.map(lambda folder: world.roll_out(world.order(folder, QUICK, [SITE])), stamps))
    won, lost = sorted(ended, key=lambda rollout: rollout.state is not RolloutState.SUCCEEDED)
    assert (won.state, lost.state) == (RolloutState.SUCCEEDED, RolloutState.STOPPED)
    why = cause(lost)
    assert (why.code, why.reason) == ("ownership-conflict", "unchanged")
    for word in ("ConfigMap shared/settings", won.plan.stamp, "nothing was changed"):
        assert word in why.message
    assert [one.stamp for one in world.ledger.placements.of_site(SITE)] == [won.plan.stamp]
    with world.client(SITE) as client:
        found = client.get(ObjectRef(api_version="v1", kind="ConfigMap", name="settings", namespace="shared"))
    assert found["metadata"]["labels"]["edge-platform.io/stamp"] == won.plan.stamp


def test_a_roll_back_that_the_site_takes_only_in_part_says_of_which_objects(
    world: RolloutWorld, tmp_path: Path
) -> None:
    name, names = "stubborn", [str(ref) for ref in refs("stubborn")]
    world.roll_out(world.order(maps(tmp_path / "1", name, colour="red"), QUICK, [SITE]))
    condition = "object.metadata.name == 'c-0003' || (object.metadata.name == 'c-0001' && object.data.colour == 'red')"
    with world.client(SITE) as client:
        with webhook(client, name, "{mode: reject}", f"!request.dryRun && ({condition})"):
            new = maps(tmp_path / "2", name, "1.1.0", colour="blue")
            rollout = world.roll_out(world.order(new, BACK, [SITE]))
        assert code(rollout) == ("operation-failed", "not-taken-back")
        detail = row(rollout).detail
        assert (detail["not_back"], detail["back"]) == ([names[2]], [*names[:2], *names[3:]])
        colours = {str(ref): obj["data"]["colour"] for ref, obj in client.look(refs(name)[1:]).items()}
        assert colours == {**dict.fromkeys(names[1:], "red"), names[2]: "blue"}
        world.ledger.rollouts.control(rollout.plan.rollout_id, Control.RETRY_FAILED, by="ada")
        assert world.go_on(rollout.plan.rollout_id).state is RolloutState.ROLLED_BACK
        assert {obj["data"]["colour"] for obj in client.look(refs(name)[1:]).values()} == {"red"}
