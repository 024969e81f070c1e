"""What the new version has no more goes from a site, and what must stay is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from edge.clients.access import SiteAccess
from edge.clients.kubernetes import SiteClient
from edge.errors import Surprising
from edge.model.kube import ObjectRef
from edge.model.placement import Placement
from tasks.pruning import prune
from tasks.reconnect import look_again
from tests.contract.conftest import START
from tests.contract.lab_kube_site import ADMIN, CM, Site

LABELS = {"app.kubernetes.io/managed-by": "edge-platform", "edge-platform.io/stamp": "shop"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


@pytest.fixture
def client(site: Site) -> Iterator[SiteClient]:
    with SiteClient(SiteAccess(server=site.url, token=SecretStr(ADMIN), insecure=True), site="site-0001") as found:
        yield found


def ours(kind: str, name: str, notes: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    version = {"annotations": {"edge-platform.io/version": "1.0.0", **(notes or {})}}
    meta = {"name": name, "namespace": "default", "labels": LABELS, **version}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **more}


def test_only_what_is_ours_and_holds_no_data_goes(client: SiteClient, site: Site) -> None:
    objects = [
        ours("ConfigMap", "kept"),
        ours("ConfigMap", "old", data={"a": "1"}),
        ours("ConfigMap", "given-away", data={"a": "1"}),
        ours("PersistentVolumeClaim", "data", spec=CLAIM),
        ours("PersistentVolumeClaim", "cache", {"edge-platform.io/prune": "enabled"}, spec=CLAIM),
    ]
    refs = [ObjectRef.of(client.apply(obj)) for obj in objects]
    site.merge(f"{CM}/given-away", {"metadata": {"labels": {"edge-platform.io/stamp": None}}})
    gone = ObjectRef(api_version="v1", kind="ConfigMap", name="gone-already", namespace="default")
    done = prune(client, "shop", [*refs, gone], refs[:1])
    assert done["pruned"] == ["PersistentVolumeClaim default/cache", "ConfigMap default/old"]
    wish = "the annotation edge-platform.io/prune: enabled would allow that"
    assert done["left"] == [
        f"PersistentVolumeClaim default/data: data would go with it; {wish}",
        "ConfigMap default/given-away: it does not carry this stamp's labels",
    ]
    names = {one["metadata"]["name"] for one in site.get(CM)["items"]}
    assert {"kept", "given-away"} <= names
    assert "old" not in names
    assert "pruned" not in prune(client, "shop", refs[:4], refs[:1])


def test_a_site_that_came_back_changed_is_only_looked_at(client: SiteClient, site: Site) -> None:
    refs = tuple(ObjectRef.of(client.apply(ours("ConfigMap", name, data={"a": "1"}))) for name in ("one", "two"))
    known = {"site": "site-0001", "stamp": "shop", "version": "1.0.0", "digest": "d", "content": "c"}
    placement = Placement(**known, rollout_id="r", at=START.replace(year=2100), inventory=refs)
    assert look_again(client, placement) == {"objects": 2}
    assert look_again(client, None) == {"objects": 0}
    site.call("DELETE", f"{CM}/two")
    with pytest.raises(Surprising, match="ConfigMap default/two: missing"):
        look_again(client, placement)
    seen = look_again(client, placement, approved_by="ada")
    assert seen == {"objects": 2, "approved_by": "ada", "surprises": ["ConfigMap default/two: missing"]}
    assert site.get(f"{CM}/one")["data"] == {"a": "1"}
