"""Who may take a site's lease, with which token, and what a write carries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.clients.kube_errors import from_answer
from edge.errors import FencedOff, NotYet, Rejected
from edge.model.fence import Fence, FenceGuard
from edge.policy import fencing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lease(**spec: Any) -> dict[str, Any]:
    usual = {
        "holderIdentity": "rollout:one",
        "leaseTransitions": 4,
        "renewTime": fencing.micro(NOW - timedelta(seconds=10)),
        "leaseDurationSeconds": 60,
    }
    meta = {"name": "edge-platform", "namespace": "edge-platform", "resourceVersion": "7"}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": meta,
        "spec": {word: value for word, value in {**usual, **spec}.items() if value is not None},
    }


def test_the_first_token_is_one() -> None:
    made = fencing.taken_over(None, "rollout:one", NOW, 60)
    assert fencing.token_of(made) == 1
    assert made["spec"]["holderIdentity"] == "rollout:one"
    assert made["spec"]["leaseDurationSeconds"] == 60
    assert "resourceVersion" not in made["metadata"]


@pytest.mark.parametrize(
    "live",
    [
        pytest.param(lease(holderIdentity=""), id="released"),
        pytest.param(lease(holderIdentity="rollout:two"), id="our own from before"),
        pytest.param(lease(renewTime=fencing.micro(NOW - timedelta(seconds=60))), id="just over"),
        pytest.param(lease(renewTime=fencing.micro(NOW + timedelta(minutes=30))), id="from a clock that has jumped"),
        pytest.param(lease(renewTime=None), id="never renewed"),
        pytest.param(lease(renewTime="yesterday"), id="with a time that is none"),
        pytest.param(lease(renewTime="2026-03-01T11:59:50"), id="with a time of no zone"),
        pytest.param(lease(leaseDurationSeconds=None), id="without a duration"),
    ],
)
def test_a_lease_that_nobody_holds_is_taken_with_the_next_token(live: dict[str, Any]) -> None:
    taken = fencing.taken_over(live, "rollout:two", NOW, 60)
    assert fencing.token_of(taken) == 5
    assert taken["spec"]["holderIdentity"] == "rollout:two"
    assert taken["metadata"]["resourceVersion"] == "7"


def test_a_lease_that_another_run_holds_is_not_taken_and_says_until_when() -> None:
    with pytest.raises(NotYet) as refused:
        fencing.taken_over(lease(), "rollout:two", NOW, 60)
    assert refused.value.where == {"holder": "rollout:one", "until": "2026-03-01T12:00:50+00:00"}
    assert refused.value.retry_after == 50


def test_a_released_lease_keeps_its_token() -> None:
    freed = fencing.released(lease())
    assert freed["spec"]["holderIdentity"] == ""
    assert fencing.token_of(freed) == 4


def test_a_renewed_lease_keeps_holder_and_token() -> None:
    again = fencing.renewed(lease(), NOW)
    assert again["spec"] == {**lease()["spec"], "renewTime": fencing.micro(NOW)}


@pytest.mark.parametrize(
    "live",
    [
        pytest.param(None, id="gone"),
        pytest.param(lease(leaseTransitions=5), id="the same holder, started anew"),
        pytest.param(lease(holderIdentity="rollout:two"), id="another holder"),
        pytest.param(lease(holderIdentity=""), id="released"),
    ],
)
def test_a_fence_is_lost_when_the_lease_is_not_ours_any_more(live: dict[str, Any] | None) -> None:
    fence = Fence(site="site-1", holder="rollout:one", token=4, guard=FenceGuard.LEASE)
    fencing.check_still_ours(lease(), fence)
    with pytest.raises(FencedOff, match="nothing was written"):
        fencing.check_still_ours(live, fence)


def test_a_write_names_the_user_each_group_and_the_token() -> None:
    user = {"username": "edge", "groups": ["fleet", "system:authenticated"]}
    assert fencing.write_headers(user, 7) == (
        ("Impersonate-User", "edge"),
        ("Impersonate-Group", "fleet"),
        ("Impersonate-Group", "system:authenticated"),
        ("Impersonate-Extra-Edge-Fence", "7"),
    )


def test_a_refusal_by_the_policy_is_told_from_other_refusals_even_for_secrets() -> None:
    def answer(policy: str) -> bytes:
        said = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: no"
        return (
            b'{"kind":"Status","code":403,"reason":"Forbidden","message":"secrets \\"x\\" is forbidden: %s"}'
            % said.encode()
        )

    where = {"site": "site-1", "object": "Secret shop/x"}
    assert isinstance(from_answer(403, answer("edge-platform-fence"), {}, where), FencedOff)
    assert not isinstance(from_answer(403, answer("others"), {}, where), FencedOff)
    assert isinstance(from_answer(403, answer("others"), {}, {"object": "ConfigMap shop/x"}), Rejected)
