"""The acts of the baseline: put it on a site, and prove that it holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.clients.kubernetes import SiteClient
from edge.errors import BaselineUnproven, CredentialRejected, NotFound, NotYet, Permanent, Rejected
from edge.model.baseline import Baseline, Probe, ProbeVerb
from edge.model.kube import KubeObject, ObjectRef
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.baseline import baseline_faults, baseline_objects, default_class, storage_class, tenant_user
from edge.policy.baseline_probes import probe_fault, probes
from edge.policy.decommission import footprint
from tasks.wipe import remove

SETTLED_WITHIN_S = 10.0
"""How long an API server may take until its admission knows a new quota, role or level, in seconds.

It watches its own objects for that, and a new quota refuses all until a controller has counted what is there.
"""

_LOOK_EVERY_S = 0.5
_ROUNDED = timedelta(seconds=1)
"""Both the time of making and the cluster's clock are told in whole seconds."""


def apply_baseline(client: SiteClient, site: Site, baseline: Baseline) -> Detail:
    """Put the objects there. The detail says which storage class is the default: ours, the one that was, or none."""
    objects = baseline_objects(site, baseline)
    for obj in objects:
        client.apply(obj)
    present = _storage_classes(client)
    ours = storage_class(site, baseline, present)
    if ours is not None:
        client.apply(ours)
    kept = default_class(present) or "none"
    return {
        "objects": len(objects) + (ours is not None),
        "default_storage_class": ours["metadata"]["name"] if ours is not None else kept,
        "storage_class_kept": ours is None,
    }


def verify_baseline(
    client: SiteClient, site: Site, baseline: Baseline, *, within_s: float = SETTLED_WITHIN_S
) -> Detail:
    """Read back what was applied, and try what must be refused and what must be allowed, as dry runs.

    Raises NotYet naming what is missing or different, and BaselineUnproven naming the probes that still fail after
    `within_s` seconds.
    """
    wanted = list(baseline_objects(site, baseline))
    ours = storage_class(site, baseline, _storage_classes(client))
    wanted += [ours] if ours is not None else []
    found = [_found(client, obj) for obj in wanted]
    faults = baseline_faults(wanted, [obj for obj in found if obj is not None])
    if faults:
        raise NotYet("The baseline does not hold", site=site.name, faults="; ".join(faults))
    asked = probes(site, baseline)
    _prove(client, site, asked, within_s)
    return {"objects": len(found), "probes": [probe.name for probe in asked]}


def remove_baseline(client: SiteClient, site: Site, baseline: Baseline, *, since: datetime) -> None:
    """Take away the baseline's objects that were made `since` then, and wait until they are gone.

    What was there before stays, with what the baseline set in it: that may be an earlier life's, or a stamp's. The time
    of making is the cluster's word, so its clock is compared with ours first.
    """
    ahead = (client.clock() or datetime.now(UTC)) - datetime.now(UTC)
    wanted = (*baseline_objects(site, baseline), storage_class(site, baseline, ()))
    found = [there for obj in wanted if obj is not None and (there := _found(client, obj)) is not None]
    made = [obj for obj in found if _made(obj) >= since + ahead - _ROUNDED]
    remove(client, [mark for obj in made if (mark := footprint(obj)) is not None])


def _made(obj: KubeObject) -> datetime:
    return datetime.fromisoformat(str(obj["metadata"]["creationTimestamp"]))


def _storage_classes(client: SiteClient) -> list[KubeObject]:
    return list(client.list("storage.k8s.io/v1", "StorageClass"))


def _found(client: SiteClient, obj: KubeObject) -> dict[str, Any] | None:
    try:
        return client.get(ObjectRef.of(obj))
    except NotFound:
        return None


def _prove(client: SiteClient, site: Site, asked: tuple[Probe, ...], within_s: float) -> None:
    tenant, deadline = client.acting_as(tenant_user(site)), time.monotonic() + within_s
    while True:
        faults = [(probe, fault) for probe in asked if (fault := _try(tenant, probe))]
        if not faults:
            return
        if time.monotonic() >= deadline:
            remedy = "Have the cluster's Pod Security admission, RBAC authorisation and quotas switched on"
            said = "; ".join(fault for _, fault in faults)
            raise BaselineUnproven(
                "The baseline does not hold when it is tried", remedy=remedy, site=site.name, probes=said
            )
        asked = tuple(probe for probe, _ in faults)
        time.sleep(_LOOK_EVERY_S)


def _try(tenant: SiteClient, probe: Probe) -> str:
    """Why the probe does not pass; "" when it does. One that cannot be run does not pass."""
    target: Mapping[str, Any] = probe.target
    try:
        if probe.verb is ProbeVerb.CREATE:
            tenant.try_create(target)
        else:
            _list_nothing(tenant, target)
    except (Rejected, CredentialRejected) as refusal:
        return probe_fault(probe, refusal.what)
    except Permanent as error:
        return f"{probe.name} cannot be tried: {error.what}"
    return probe_fault(probe, None)


def _list_nothing(tenant: SiteClient, target: Mapping[str, Any]) -> None:
    place = target["metadata"]["namespace"]
    nothing = "metadata.name=edge-baseline-probe"
    next(tenant.list(target["apiVersion"], target["kind"], namespace=place, fields=nothing), None)
