"""Drift at sites: who changed what is found, and what is ours is applied again by the rules of its rollout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from pydantic import SecretStr

from edge.clients.access import SiteAccess
from edge.clients.kubernetes import SiteClient
from edge.clients.retry import RetryPolicy
from edge.errors import InvalidInput
from edge.ledger import Ledger
from edge.model.drift import DriftKind, DriftLook, DriftOrder, DriftRule, DriftStatus
from edge.model.kube import ObjectRef
from edge.model.outcome import Outcome, Status
from edge.model.placement import FailedVersion, HoldKind, Placement, SiteHold
from edge.model.rollout import RolloutPlan, Strategy, Wave, Window
from edge.model.site import OfflinePolicy, Site, SiteSelector, SiteState
from edge.model.stamp import StampSource
from edge.policy.fencing import namespace_object
from edge.policy.stamp import parse_stamp
from tasks.drift import DriftJob, look_at_site
from tasks.drift_mending import Mending, mend_all, mend_sites
from tasks.fencing import fenced
from tasks.rendering import Renderer
from tasks.rollout import Opened
from tests.contract.lab_kube_site import ADMIN, Host
from tests.contract.lab_kube_site import Site as LabSite

STAMP = """\
apiVersion: edge-platform.io/v1
kind: Stamp
metadata: {name: line}
spec:
  version: 1.0.0
  namespaces: [default]
  parameters:
    login: {secret: true, default: db/login}
  components:
    - {name: all, path: all}
"""
OBJECTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {colour: red, size: "1", where: "${site_region}"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra, namespace: default, annotations: {edge-platform.io/ignore-drift: .data.theirs}}
data: {theirs: ours, fixed: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: default}
stringData: {password: "${login}"}
"""
CONFIG = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
NAMES = ("site-a", "site-b", "site-c")


class Vault:
    def value(self, reference: str) -> str:
        return f"the-secret-of-{reference}"


class Fleet:
    """Three sites that have a stamp, with the ledger, the credentials and the secrets of whoever looks at them."""

    secrets = Vault()

    def __init__(self, ledger: Ledger, sites: dict[str, LabSite]) -> None:
        self.ledger, self.sites = ledger, sites
        self.credentials = self
        self.urls = {name: site.url for name, site in sites.items()}
        self.stamp = parse_stamp(StampSource(origin="line", files={"stamp.yaml": STAMP, "all/o.yaml": OBJECTS}))

    def client(self, site: str) -> SiteClient:
        access = SiteAccess(server=self.urls[site], token=SecretStr(ADMIN), insecure=True)
        return SiteClient(access, site=site, retry=RetryPolicy(attempts=1))

    def job(self, **order: Any) -> DriftJob:
        return DriftJob(DriftOrder(**order), self.ledger, cast(Opened, self))

    def place(self, strategy: Strategy = Strategy()) -> None:
        """Roll the stamp out, as far as drift is concerned."""
        self.ledger.stamps.record(self.stamp)
        waves = (Wave(index=0, name="all", sites=NAMES, failure_budget=0),)
        said = {"stamp": "line", "version": "1.0.0", "digest": self.stamp.digest, "rollout_id": "r1"}
        self.ledger.rollouts.start(RolloutPlan(strategy=strategy, waves=waves, **said))
        for name in self.sites:
            self._bring(self.ledger.sites.put(Site(name=name, state=SiteState.CONNECTED)), said)

    def _bring(self, site: Site, said: dict[str, str]) -> None:
        renderer = Renderer(self.stamp, Vault())
        with self.client(site.name) as client:
            objects = renderer.objects(site, {})
            for obj in (*objects, namespace_object()):
                client.apply(obj)
        inventory = tuple(ObjectRef.of(obj) for obj in objects)
        content, at = renderer.content(site, {}), datetime.now(UTC)
        self.ledger.placements.put(Placement(site=site.name, content=content, at=at, inventory=inventory, **said))
        self.ledger.rollouts.site_ended("r1", Outcome(subject=site.name, status=Status.SUCCEEDED))

    def edit(self, site: str = "site-a", name: str = "settings", **data: str | None) -> None:
        """Somebody changes a ConfigMap; None takes a key away."""
        self.sites[site].merge(f"{CONFIG}/{name}?fieldManager=someone", {"data": data})

    def data(self, site: str = "site-a", name: str = "settings") -> dict[str, str]:
        found: dict[str, str] = self.sites[site].get(f"{CONFIG}/{name}")["data"]
        return found

    def detect(self, **order: Any) -> list[DriftLook]:
        return looked(self.job(**order))

    def mend(self, **order: Any) -> tuple[dict[str, DriftLook], bool]:
        job = self.job(mend=True, **order)
        looks, held = mend_all(job, looked(job), in_this_thread)
        return {look.site: look for look in looks}, held


def looked(job: DriftJob) -> list[DriftLook]:
    return [look for name in job.names for look in look_at_site(job, name)]


def in_this_thread(mending: Mending, placements: tuple[Placement, ...]) -> Any:
    """As a task, without a server."""
    done: Future[list[DriftLook]] = Future()
    done.set_result(mend_sites.fn(mending, placements))
    return done


@pytest.fixture
def fleet(book: Ledger, host: Host) -> Iterator[Fleet]:
    with ExitStack() as opened:
        yield Fleet(book, {name: opened.enter_context(host.fresh_site()) for name in NAMES})


@pytest.fixture
def placed(fleet: Fleet) -> Fleet:
    fleet.place(Strategy(failure_budget="1"))
    return fleet


def statuses(looks: Sequence[DriftLook]) -> dict[str, DriftStatus]:
    return {look.site: look.status for look in looks}


def test_sites_that_nobody_touched_are_clean(placed: Fleet) -> None:
    assert {look.status for look in placed.detect()} == {DriftStatus.CLEAN}
    assert placed.ledger.drift.list() == ()


def test_who_changed_what_is_on_record_until_it_is_gone(placed: Fleet) -> None:
    placed.edit(colour="blue")
    [found] = placed.detect()[0].findings
    assert (found.kind, found.path, found.manager) == (DriftKind.CHANGED, ".data.colour", "someone")
    assert (found.wanted, found.found) == ("red", "blue")
    assert found.since is not None
    placed.detect()
    [listed] = placed.ledger.drift.list(site="site-a")
    assert listed.first_seen == found.first_seen
    assert listed.last_seen != found.last_seen
    with placed.client("site-a") as client:
        for obj in Renderer(placed.stamp, Vault()).objects(placed.ledger.sites.get("site-a"), {}):
            client.apply(obj, force=True)
    placed.detect()
    assert placed.ledger.drift.list() == ()
    trail = [entry.action for entry in placed.ledger.audit.entries() if entry.action.startswith("drift.")]
    assert trail == ["drift.found", "drift.gone"]


def test_a_look_changes_nothing_at_the_site(placed: Fleet) -> None:
    placed.edit(colour="blue")
    before = placed.sites["site-a"].get(f"{CONFIG}/settings")
    placed.detect()
    assert placed.sites["site-a"].get(f"{CONFIG}/settings") == before


def test_drift_is_mended_and_what_others_own_stays(placed: Fleet) -> None:
    placed.edit(colour="blue", theirs="kept", size=None)
    placed.edit("site-b", colour="green")
    placed.sites["site-c"].call("DELETE", f"{CONFIG}/settings")
    after, held = placed.mend()
    assert held
    assert {look.status for look in after.values()} == {DriftStatus.MENDED}
    assert sorted(one.path for one in after["site-a"].mended) == [".data.colour", ".data.size"]
    assert placed.data() == {"colour": "red", "size": "1", "where": "unknown", "theirs": "kept"}
    assert placed.data("site-c")["colour"] == "red"
    assert placed.ledger.drift.list() == ()
    assert "drift.mended" in [entry.action for entry in placed.ledger.audit.entries()]
    again, _ = placed.mend()
    assert {look.status for look in again.values()} == {DriftStatus.CLEAN}


def test_secrets_are_mended_and_never_shown(placed: Fleet) -> None:
    site = placed.sites["site-a"]
    site.merge(f"{SECRETS}/login", {"data": {"password": "b3RoZXI="}})
    [found] = placed.detect()[0].findings
    assert (found.path, found.wanted, found.found) == (".data.password", "(secret)", "(secret)")
    placed.mend()
    assert site.get(f"{SECRETS}/login")["data"]["password"] == "dGhlLXNlY3JldC1vZi1kYi9sb2dpbg=="
    kept = json.dumps([entry.model_dump(mode="json") for entry in placed.ledger.audit.entries()])
    assert "the-secret-of" not in kept
    assert "dGhlLXNlY3JldC1vZi1kYi9sb2dpbg==" not in kept


def test_what_the_stamp_or_the_run_ignores_is_neither_told_nor_mended(placed: Fleet) -> None:
    placed.edit(name="extra", theirs="changed", fixed="2")
    placed.edit(colour="blue")
    rules = (DriftRule(name="settings", path=".data.c*"),)
    look = placed.detect(ignore=rules)[0]
    assert ([one.path for one in look.findings], look.ignored) == ([".data.fixed"], 2)
    placed.mend(ignore=rules)
    assert placed.data(name="extra") == {"theirs": "changed", "fixed": "1"}
    assert placed.data()["colour"] == "blue"


def test_a_site_under_repair_is_left_alone_until_the_date(placed: Fleet) -> None:
    placed.edit(colour="blue")
    until = datetime.now(UTC) + timedelta(hours=1)
    placed.ledger.holds.put(SiteHold(site="site-a", kind=HoldKind.DRIFT, until=until, reason="a new disk"))
    after, _ = placed.mend()
    assert after["site-a"].status is DriftStatus.UNDER_REPAIR
    assert "a new disk" in after["site-a"].why
    assert placed.data()["colour"] == "blue"
    placed.ledger.holds.drop("site-a", HoldKind.DRIFT)
    assert statuses(placed.detect())["site-a"] is DriftStatus.DRIFTED


def test_a_site_that_is_held_is_looked_at_and_not_mended(placed: Fleet) -> None:
    placed.edit(colour="blue")
    until = datetime.now(UTC) + timedelta(hours=1)
    placed.ledger.holds.put(SiteHold(site="site-a", kind=HoldKind.ROLLOUTS, until=until, reason="in use"))
    after, held = placed.mend()
    assert held
    assert (after["site-a"].status, len(after["site-a"].findings)) == (DriftStatus.DRIFTED, 1)
    assert "in use" in after["site-a"].why
    assert placed.data()["colour"] == "blue"


def test_outside_its_windows_a_site_is_not_mended(fleet: Fleet) -> None:
    other_month = datetime.now(UTC) + timedelta(days=180)
    fleet.place(Strategy(windows=(Window(cron=f"0 0 1 {other_month.month} *", duration_s=60.0),)))
    fleet.edit(colour="blue")
    after, _ = fleet.mend()
    assert "no maintenance window" in after["site-a"].why
    assert fleet.data()["colour"] == "blue"
    after, _ = fleet.mend(strategy=Strategy())
    assert after["site-a"].status is DriftStatus.MENDED


def test_a_site_that_does_not_answer_is_named_and_holds_nobody_up(placed: Fleet) -> None:
    placed.urls["site-a"] = "http://127.0.0.1:1"
    placed.edit("site-b", colour="blue")
    after, held = placed.mend()
    assert held
    assert [after[name].status for name in NAMES] == [DriftStatus.AWAY, DriftStatus.MENDED, DriftStatus.CLEAN]
    assert after["site-a"].cause is not None
    assert after["site-a"].cause.code == "site-unreachable"


def refuses(site: LabSite) -> None:
    """A policy of the site that refuses changes of ConfigMaps."""
    spec = {
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}
            ]
        },
        "validations": [{"expression": "false", "message": "frozen"}],
    }
    home = "/apis/admissionregistration.k8s.io/v1"
    kind = {"apiVersion": "admissionregistration.k8s.io/v1"}
    policy = {**kind, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "frozen"}, "spec": spec}
    site.make(f"{home}/validatingadmissionpolicies", policy)
    bound = {"policyName": "frozen", "validationActions": ["Deny"]}
    binding = {**kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "frozen"}, "spec": bound}
    site.make(f"{home}/validatingadmissionpolicybindings", binding)


def test_the_first_site_that_cannot_be_mended_stops_the_others(placed: Fleet) -> None:
    for name in NAMES:
        placed.edit(name, colour="blue")
    refuses(placed.sites["site-a"])
    after, held = placed.mend()
    assert not held
    assert after["site-a"].status is DriftStatus.FAILED
    assert after["site-a"].findings, "what was found stays told"
    assert [after[name].status for name in NAMES[1:]] == [DriftStatus.DRIFTED] * 2
    assert placed.data("site-b")["colour"] == "blue"


@pytest.mark.parametrize(("budget", "third"), [("0", "blue"), ("1", "red")], ids=["no-failure", "one-failure"])
def test_after_the_first_the_budget_of_the_rollout_holds(fleet: Fleet, budget: str, third: str) -> None:
    fleet.place(Strategy(failure_budget=budget))
    for name in NAMES:
        fleet.edit(name, colour="blue")
    refuses(fleet.sites["site-b"])
    after, held = fleet.mend()
    assert held is (budget == "1")
    assert after["site-b"].status is DriftStatus.FAILED
    assert (fleet.data("site-a")["colour"], fleet.data("site-c")["colour"]) == ("red", third)


def test_a_site_that_another_run_works_on_is_left_to_it(placed: Fleet) -> None:
    placed.edit(colour="blue")
    with placed.client("site-a") as client, fenced(client, "site-a", "rollout:9"):
        after, held = placed.mend()
    assert held
    assert after["site-a"].why == "Not mended: rollout:9 is at work there"
    assert placed.data()["colour"] == "blue"


def at_work(fleet: Fleet) -> None:
    plan = fleet.ledger.rollouts.get("r1").plan.model_copy(update={"rollout_id": "r2"})
    fleet.ledger.rollouts.start(plan)
    fleet.ledger.rollouts.site_started("r2", "site-a")


def failed_there(fleet: Fleet) -> None:
    said = {"stamp": "line", "version": "1.0.0", "digest": fleet.stamp.digest, "rollout_id": "r2"}
    fleet.ledger.placements.fail(FailedVersion(site="site-a", at=datetime.now(UTC), **said))


def half_done(fleet: Fleet) -> None:
    away = Outcome(subject="site-a", status=Status.FAILED)
    fleet.ledger.rollouts.site_ended("r1", away)


@pytest.mark.parametrize(
    ("happened", "why"),
    [
        pytest.param(half_done, "only a part", id="it-was-brought-in-part"),
        pytest.param(at_work, "A rollout is at work there", id="a-rollout-is-at-work"),
        pytest.param(failed_there, "failed there", id="the-version-failed"),
    ],
)
def test_what_a_rollout_has_to_bring_first_is_not_called_drift(
    placed: Fleet, happened: Callable[[Fleet], None], why: str
) -> None:
    placed.edit(colour="blue")
    happened(placed)
    look = placed.detect()[0]
    assert look.status is DriftStatus.SKIPPED
    assert why in look.why


def test_what_was_put_there_since_the_look_is_not_taken_back(placed: Fleet) -> None:
    placed.edit(colour="blue")
    job = placed.job(mend=True)
    looks = looked(job)
    placed.ledger.placements.put(job.placements["site-a"][0].model_copy(update={"rollout_id": "r2"}))
    after, held = mend_all(job, looks, in_this_thread)
    assert held
    assert "something else was put there" in after[0].why
    assert placed.data()["colour"] == "blue"


def test_a_site_whose_own_values_changed_is_left_to_a_rollout(placed: Fleet) -> None:
    placed.ledger.sites.update("site-a", region="emea")
    after, held = placed.mend()
    assert held
    look = after["site-a"]
    assert look.status is DriftStatus.FAILED
    assert look.cause is not None
    assert look.cause.code == "surprising"
    assert placed.data()["where"] == "unknown"


def test_only_what_is_meant_is_looked_at(placed: Fleet) -> None:
    assert statuses(placed.detect(sites=SiteSelector(names=("site-b",)))) == {"site-b": DriftStatus.CLEAN}
    assert placed.detect(stamps=("another",)) == []
    with pytest.raises(InvalidInput):
        placed.detect(sites=SiteSelector(names=("nowhere",)))


def test_a_site_that_may_be_away_uses_none_of_the_budget(placed: Fleet) -> None:
    placed.ledger.sites.update("site-a", when_offline=OfflinePolicy.EXPECTED)
    for name in NAMES[:2]:
        placed.edit(name, colour="blue")
    job = placed.job(mend=True)
    looks = looked(job)
    placed.urls["site-a"] = "http://127.0.0.1:1"
    after, held = mend_all(job, looks, in_this_thread)
    assert held
    assert [look.status for look in after] == [DriftStatus.AWAY, DriftStatus.MENDED, DriftStatus.CLEAN]
