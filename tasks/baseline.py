"""The acts of the baseline: put it on a site, and prove that it holds."""

from __future__ import annotations

from edge.clients.kubernetes import SiteClient
from edge.errors import NotYet
from edge.model.kube import ObjectRef
from edge.model.site import Site
from edge.model.step import Detail
from edge.policy.baseline import baseline_faults, baseline_objects


def apply_baseline(client: SiteClient, site: Site) -> Detail:
    objects = baseline_objects(site)
    for obj in objects:
        client.apply(obj)
    return {"objects": len(objects)}


def verify_baseline(client: SiteClient, site: Site) -> Detail:
    """Read back what was applied. Raises NotYet naming what is missing or different."""
    found = [client.get(ObjectRef.of(obj)) for obj in baseline_objects(site)]
    faults = baseline_faults(site, found)
    if faults:
        raise NotYet("The baseline does not hold", site=site.name, faults="; ".join(faults))
    return {"objects": len(found)}
