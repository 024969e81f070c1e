"""A site that was away: what is a surprise there, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from edge.errors import Surprising
from edge.model.kube import KubeObject, ObjectRef
from edge.model.placement import Placement
from edge.policy.reconnect import check_return, surprises

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFS = tuple(ObjectRef(api_version="v1", kind="ConfigMap", name=f"c{n}", namespace="shop") for n in range(10))
PLACEMENT = Placement(
    site="site-1", stamp="shop", version="1.0.0", digest="d", content="c", rollout_id="r", at=AT, inventory=REFS
)
OURS = {"manager": "edge-platform", "operation": "Apply", "time": "2026-03-01T11:59:00Z", "fieldsV1": {"f:data": {}}}


def entry(manager: str, time: str = "2026-03-05T12:00:00Z", **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": {"f:data": {"f:b": {}}}, **more}


def body(*entries: Any, stamp: str = "shop", version: str = "1.0.0") -> dict[str, Any]:
    meta = {
        "labels": {"edge-platform.io/stamp": stamp} if stamp else {},
        "annotations": {"edge-platform.io/version": version},
        "managedFields": list(entries) or [OURS],
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def site(**other: KubeObject | None) -> dict[ObjectRef, KubeObject | None]:
    """The site as it should be, but for these objects."""
    return {ref: other.get(ref.name, body()) for ref in REFS}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        pytest.param(None, "ConfigMap shop/c0: missing", id="gone"),
        pytest.param(body(entry("them")), "ConfigMap shop/c0: taken-over (them)", id="nothing is ours any more"),
        pytest.param(body(stamp="bank"), "ConfigMap shop/c0: other-stamp (bank)", id="another stamp's"),
        pytest.param(body(stamp=""), "ConfigMap shop/c0: other-stamp (no stamp's label)", id="without our label"),
        pytest.param(body(version="2.0.0"), "ConfigMap shop/c0: other-version (2.0.0)", id="another version"),
    ],
)
def test_one_such_object_is_a_surprise(there: KubeObject | None, said: str) -> None:
    assert [str(one) for one in surprises(PLACEMENT, site(c0=there))] == [said]
    with pytest.raises(Surprising, match=r"The site is not what it was") as refused:
        check_return(PLACEMENT, site(c0=there))
    assert refused.value.where["site"] == "site-1"
    assert said in str(refused.value)


def test_a_site_as_it_was_left_is_no_surprise() -> None:
    check_return(PLACEMENT, site())


def test_a_few_changes_by_others_pass_and_many_do_not() -> None:
    changed = body(OURS, entry("kubectl-edit"))
    check_return(PLACEMENT, site(c0=changed, c1=changed))
    with pytest.raises(Surprising) as refused:
        check_return(PLACEMENT, site(c0=changed, c1=changed, c2=changed))
    assert refused.value.where["reason"] == "changed"
    assert "kubectl-edit" in str(refused.value)


@pytest.mark.parametrize(
    "quiet",
    [
        pytest.param(entry("kube-controller-manager"), id="the cluster's own"),
        pytest.param(entry("kubectl-edit", time="2026-03-01T11:00:00Z"), id="written before the placement"),
        pytest.param(entry("operator", subresource="status"), id="a status"),
    ],
)
def test_what_belongs_to_everyday_life_is_no_change(quiet: dict[str, Any]) -> None:
    everywhere = {ref.name: body(OURS, quiet) for ref in REFS}
    assert surprises(PLACEMENT, site(**everywhere)) == ()


def test_a_long_list_is_cut_and_says_so() -> None:
    many = tuple(ObjectRef(api_version="v1", kind="ConfigMap", name=f"c{n}", namespace="shop") for n in range(30))
    placement = PLACEMENT.model_copy(update={"inventory": many})
    with pytest.raises(Surprising, match="and 10 more"):
        check_return(placement, {})
