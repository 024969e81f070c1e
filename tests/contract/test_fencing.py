"""A site's lease on the wire: taken, taken over, given back, and what the site refuses to a run that lost it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from edge.clients.access import SiteAccess
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.clients.site_lease import SiteLease
from edge.errors import CredentialRejected, FencedOff, NotFound, NotYet, Rejected, SiteUnreachable, WriteConflict
from edge.model.fence import Fence, FenceGuard
from edge.model.kube import ObjectRef
from edge.policy import fencing
from tasks.fencing import fenced
from tests.contract.lab_kube_site import ADMIN, CM, VIEWER, Site, config_map
from tests.contract.pretend_site import Answer, Request, client_of, serve, status

NAME = "site-0001"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
IMPERSONATED = ("impersonate-user", "impersonate-group", "impersonate-extra-edge-fence")


def access(site: Site, token: str = ADMIN) -> SiteAccess:
    return SiteAccess(server=site.url, token=SecretStr(token), insecure=True)


@pytest.fixture
def client(site: Site) -> Iterator[SiteClient]:
    with SiteClient(access(site), site=NAME) as found:
        yield found


def in_default(name: str, **data: str) -> dict[str, Any]:
    obj = config_map(name, **data)
    return {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}


def test_a_run_that_was_overtaken_writes_nothing_and_its_successor_goes_on(client: SiteClient, site: Site) -> None:
    with fenced(client, NAME, "rollout:1") as first:
        first.apply(in_default("one", by="first"))
        with fenced(client, NAME, "rollout:1") as second:
            assert first.fence == Fence(site=NAME, holder="rollout:1", token=1, guard=FenceGuard.SITE)
            assert second.fence == Fence(site=NAME, holder="rollout:1", token=2, guard=FenceGuard.SITE)
            second.apply(in_default("one", by="second"))
            for write in (
                lambda: first.apply(in_default("one", by="late"), force=True),
                lambda: first.apply(in_default("new", by="late")),
                lambda: first.delete(ObjectRef.of(in_default("one"))),
                lambda: first.replace({**first.get(ObjectRef.of(in_default("one"))), "data": {"by": "late"}}),
                lambda: first.create({**in_default("s"), "kind": "Secret"}),
            ):
                with pytest.raises(FencedOff) as refused:
                    write()
                assert refused.value.where["site"] == NAME
            assert site.get(f"{CM}/one")["data"] == {"by": "second"}
            second.apply(in_default("one", by="second again"))
    assert site.call("GET", f"{CM}/new").code == 404


def test_another_run_waits_until_the_first_one_ends(client: SiteClient) -> None:
    with fenced(client, NAME, "rollout:1"):
        with pytest.raises(NotYet) as refused, fenced(client, NAME, "rollout:2"):
            pytest.fail("two runs have the site")
        assert refused.value.where["holder"] == "rollout:1"
        assert refused.value.where["site"] == NAME
    with fenced(client, NAME, "rollout:2") as next_one:
        assert next_one.fence is not None
        assert next_one.fence.token == 2


def test_another_run_takes_over_a_lease_that_is_over(client: SiteClient, site: Site) -> None:
    with fenced(client, NAME, "rollout:1", lasts_s=3600) as first:
        lease = client.get(fencing.LEASE)
        client.replace({**lease, "spec": {**lease["spec"], "renewTime": "2020-01-01T00:00:00.000000Z"}})
        with fenced(client, NAME, "rollout:2") as second:
            second.apply(in_default("one"))
            with pytest.raises(FencedOff):
                first.apply(in_default("one"))


def test_people_and_controllers_are_not_touched_by_the_fence(client: SiteClient, site: Site) -> None:
    with fenced(client, NAME, "rollout:1"):
        pass
    site.make(CM, config_map("by-hand"))
    assert site.call("DELETE", f"{CM}/by-hand").code == 200


def test_a_policy_that_somebody_took_away_comes_back(client: SiteClient, site: Site) -> None:
    with fenced(client, NAME, "rollout:1"):
        pass
    site.call("DELETE", f"{POLICIES}/edge-platform-fence")
    with fenced(client, NAME, "rollout:1") as later:
        assert later.fence is not None
        assert later.fence.guard is FenceGuard.SITE
    assert site.call("GET", f"{POLICIES}/edge-platform-fence").code == 200


def test_a_lease_is_renewed_by_the_calls_of_its_holder(client: SiteClient) -> None:
    lease = SiteLease(client, NAME, "rollout:1", lasts_s=0.02)
    begun = client.get(fencing.LEASE)["spec"]["renewTime"]
    lease.renew()
    renewed = client.get(fencing.LEASE)["spec"]["renewTime"]
    assert renewed > begun
    while client.get(fencing.LEASE)["spec"]["renewTime"] == renewed:
        lease.client.version()
    lease.release()
    assert client.get(fencing.LEASE)["spec"]["holderIdentity"] == ""


def test_who_may_not_write_leases_is_told_so(site: Site) -> None:
    with (
        SiteClient(access(site, VIEWER), site=NAME) as viewer,
        pytest.raises(CredentialRejected) as refused,
        fenced(viewer, NAME, "rollout:1"),
    ):
        pytest.fail("a viewer has the site")
    assert refused.value.where["site"] == NAME


class _OldSite:
    """A site that serves neither SelfSubjectReview nor ValidatingAdmissionPolicy, and keeps one lease."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.written: list[str] = []
        self.date = ""

    def __call__(self, request: Request) -> Answer:
        answer = self._answer(request)
        return replace(answer, headers={"Date": self.date} if self.date else {})

    def _answer(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        if path.startswith("/apis/coordination.k8s.io/v1"):
            return self._on_lease(request)
        if "selfsubjectreviews" in path or "admissionregistration" in path:
            return Answer(b"404 page not found", code=404)
        if request.method != "GET":
            assert not set(IMPERSONATED) & request.headers.keys()
            self.written.append(path)
        return Answer({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "one"}})

    def _on_lease(self, request: Request) -> Answer:
        if request.method == "GET":
            return Answer(self.lease) if self.lease else status(404, "NotFound", "no lease", name="edge-platform")
        body = json.loads(request.body)
        if self.lease and body["metadata"].get("resourceVersion") != str(self.version):
            return status(409, "Conflict", "it was written since")
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return Answer(self.lease)


@pytest.fixture
def old() -> Iterator[tuple[_OldSite, SiteClient, Any]]:
    script = _OldSite()
    with serve(script) as pretend:
        leases = ("coordination.k8s.io", "v1", [("leases", "Lease", "Namespaced")])
        pretend.discovery["/apis"] = [*pretend.discovery["/apis"], leases]
        with client_of(pretend) as client:
            yield script, client, pretend


def test_an_old_site_is_guarded_by_a_look_at_the_lease_before_each_write(
    old: tuple[_OldSite, SiteClient, Any],
) -> None:
    script, client, pretend = old
    with fenced(client, NAME, "rollout:1") as first:
        assert first.fence is not None
        assert first.fence.guard is FenceGuard.LEASE
        before = len(pretend.requests)
        first.apply(in_default("one"))
        assert [(one.method, "lease" in one.path) for one in pretend.requests[before:]] == [
            ("GET", True),
            ("PATCH", False),
        ]
        with fenced(client, NAME, "rollout:1"), pytest.raises(FencedOff, match="nothing was written"):
            first.apply(in_default("one"))
        assert len(script.written) == 1


def test_a_site_that_refuses_impersonation_is_guarded_by_its_lease() -> None:
    script = _OldSite()

    def refuses(request: Request) -> Answer:
        if "selfsubjectreviews" in request.path:
            return Answer({"kind": "SelfSubjectReview", "status": {"userInfo": {"username": "me", "groups": ["g"]}}})
        if request.headers.get("impersonate-user"):
            return status(403, "Forbidden", 'users "me" is forbidden: User "me" cannot impersonate resource "users"')
        return script(request)

    with serve(refuses) as pretend:
        leases = ("coordination.k8s.io", "v1", [("leases", "Lease", "Namespaced")])
        pretend.discovery["/apis"] = [*pretend.discovery["/apis"], leases]
        with client_of(pretend) as client, fenced(client, NAME, "rollout:1") as first:
            assert first.fence is not None
            assert first.fence.guard is FenceGuard.LEASE
            first.apply(in_default("one"))


def test_a_lease_goes_by_the_site_s_clock_from_the_first_one_on(old: tuple[_OldSite, SiteClient, Any]) -> None:
    script, client, _ = old
    script.date = "Sun, 01 Mar 2026 12:00:00 GMT"
    with fenced(client, NAME, "rollout:1"):
        assert script.lease is not None
        assert script.lease["spec"]["renewTime"].startswith("2026-03-01T12:00:0")
        with pytest.raises(NotYet) as refused, fenced(client, NAME, "rollout:2"):
            pytest.fail("two runs have the site")
        assert refused.value.where["until"].startswith("2026-03-01T12:02:0")


def test_a_site_that_went_away_is_not_asked_to_release_its_lease(old: tuple[_OldSite, SiteClient, Any]) -> None:
    script, client, _ = old
    with pytest.raises(NotFound), fenced(client, NAME, "rollout:1"):
        raise NotFound("something else")
    assert script.lease is not None
    assert script.lease["spec"]["holderIdentity"] == ""
    with pytest.raises(SiteUnreachable), fenced(client, NAME, "rollout:1"):
        raise SiteUnreachable("gone")
    assert script.lease["spec"]["holderIdentity"] == "rollout:1"


def test_a_conflict_on_a_lease_is_not_tried_again_with_the_same_body(client: SiteClient) -> None:
    with fenced(client, NAME, "rollout:1"):
        stale = client.get(fencing.LEASE)
    with pytest.raises(WriteConflict):
        client.replace({**stale, "metadata": {**stale["metadata"], "resourceVersion": "1"}})
    with pytest.raises((WriteConflict, Rejected)):
        client.create(fencing.taken_over(None, "x", client.clock() or pytest.fail("no clock"), 1))


def test_a_site_costs_five_requests_once_it_has_the_policy(lab: Any) -> None:
    site = lab.sites[1]

    with SiteClient(read_kubeconfig(site.kubeconfig), site=site.name) as client:
        with fenced(client, site.name, "rollout:1"):
            pass
        before = len(lab.requests(site.name))
        with fenced(client, site.name, "rollout:1") as fenced_client:
            assert fenced_client.fence is not None
        asked = [f"{one['method']} {one['path'].rpartition('/')[2]}" for one in lab.requests(site.name)[before:]]
    assert asked == [
        "GET edge-platform",
        "PUT edge-platform",
        "POST selfsubjectreviews",
        "PUT edge-platform",
        "PUT edge-platform",
    ]
