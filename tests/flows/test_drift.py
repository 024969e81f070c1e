"""Drift as an operator sees it: a site is changed by hand, and the runbook tells and mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from edge.clients.kubernetes import SiteClient
from edge.ledger import Ledger
from edge.model.kube import ObjectRef
from edge.model.outcome import Outcome, Status
from edge.model.placement import Placement
from edge.model.rollout import RolloutPlan, RolloutState, Strategy, Wave
from edge.model.site import Site, SiteState
from edge.model.stamp import Stamp, StampSource
from edge.policy.stamp import parse_stamp
from tasks.rendering import Renderer

SITE, SPACE = "site-0002", "drifting"
STAMP = f"""\
apiVersion: edge-platform.io/v1
kind: Stamp
metadata: {{name: {SPACE}}}
spec:
  version: 1.0.0
  namespaces: [{SPACE}]
  components:
    - {{name: all, path: all}}
"""
OBJECTS = f"""\
apiVersion: v1
kind: Namespace
metadata: {{name: {SPACE}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {SPACE}}}
data: {{colour: red}}
"""
SETTINGS = ObjectRef(api_version="v1", kind="ConfigMap", name="settings", namespace=SPACE)


@pytest.fixture
def client(site_of: Any) -> SiteClient:
    found: SiteClient = site_of(SITE)
    return found


@pytest.fixture
def stamp(ledger: Ledger, client: SiteClient) -> Iterator[Stamp]:
    """A stamp that the site has, as a rollout leaves it, with a ConfigMap that somebody made blue."""
    made = parse_stamp(StampSource(origin=SPACE, files={"stamp.yaml": STAMP, "all/o.yaml": OBJECTS}))
    ledger.stamps.record(made)
    if SITE not in {site.name for site in ledger.sites.list()}:
        ledger.sites.put(Site(name=SITE, tenant="factory", state=SiteState.CONNECTED))
    site, renderer = ledger.sites.get(SITE), Renderer(made)
    objects = renderer.objects(site, {})
    for obj in objects:
        client.apply(obj)
    said = {"stamp": SPACE, "version": "1.0.0", "digest": made.digest, "rollout_id": "drifting-1"}
    wave = Wave(index=0, name="all", sites=(SITE,), failure_budget=0)
    ledger.rollouts.start(RolloutPlan(strategy=Strategy(), waves=(wave,), **said))
    ledger.rollouts.site_ended("drifting-1", Outcome(subject=SITE, status=Status.SUCCEEDED))
    ledger.rollouts.finish("drifting-1", RolloutState.SUCCEEDED)
    inventory, content = tuple(ObjectRef.of(obj) for obj in objects), renderer.content(site, {})
    ledger.placements.put(Placement(site=SITE, content=content, at=datetime.now(UTC), inventory=inventory, **said))
    yield made
    ledger.placements.drop(SITE, SPACE)


def test_drift_is_told_and_mended_by_a_run_of_the_deployment(
    platform: Any, stamp: Stamp, client: SiteClient, ledger: Ledger, prefect: Any
) -> None:
    blue = {**client.get(SETTINGS), "data": {"colour": "blue"}}
    client.replace(blue)
    mended = platform.edge("drift", "detect", "--site", SITE, "--stamp", stamp.name, "--mend", "--json")
    assert mended.returncode == 0, mended.stderr
    assert json.loads(mended.stdout) == {"said": "1 placement: 0 clean, 1 mended", "findings": []}
    assert client.get(SETTINGS)["data"] == {"colour": "red"}
    assert ledger.drift.list(site=SITE) == ()
    [table] = prefect.ask("POST", "/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["drift"]}}})
    [row] = json.loads(table["data"])
    assert (row["site"], row["outcome"], row["why"]) == (SITE, "mended", "Mended")
    assert (row["field"], row["wanted"], row["found"]) == (".data.colour", "red", "blue")
    assert row["who"] == "edge-platform (Update)"
