"""What is published for sites that pull, what Flux is asked for, and what its reports mean."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidInput
from edge.lab.flux.building import build
from edge.model.gitops import Compliance, FluxReport, FluxWish, PartReport, Revision
from edge.model.site import Site
from edge.model.stamp import Component, ParameterValues, Stamp
from edge.policy.gitops import arc_properties, bundle, check_without_secrets, flux_objects, own_values
from edge.policy.gitops_report import arc_report, judge, report_of, wish_in_arc, wish_in_objects

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": data}


def a_wish(**more: Any) -> FluxWish:
    wish = {"name": "till", "revision": Revision(url="oci://r.example/x", digest=DIGEST), "stages": ("s1", "s2")}
    return FluxWish(**{**wish, **more})


# What is published


def test_values_of_the_site_leave_the_published_text() -> None:
    made = bundle([[config_map(site="site-7", url="http://site-7.local/x")]], {"site_name": "site-7"})
    assert "site-7" not in made.files["s1/objects.yaml"]
    assert made.variables == {"edge_site_name": "site-7"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", "12"), ("1e3", "1e3"), ("yes", "yes"), ("ab", "ab"), ("a: b", "a: b"), ("mysite-7", "site-7")],
    ids=["a number", "a float", "a boolean", "too short", "not one word", "part of a word"],
)
def test_a_value_stays_where_putting_it_back_may_not_give_the_same(text: str, value: str) -> None:
    made = bundle([[config_map(one=text)]], {"site_name": value})
    assert made.variables == {}
    assert yaml.safe_load(made.files["s1/objects.yaml"])["data"] == {"one": text}


def test_nothing_is_substituted_into_objects_that_have_variables_of_their_own() -> None:
    made = bundle([[config_map(script="echo ${HOME} site-7")]], {"site_name": "site-7"})
    assert made.variables == {}
    assert "echo ${HOME} site-7" in made.files["s1/objects.yaml"]


VALUES = st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,12}", re.ASCII), fullmatch=True)
TEXTS = st.one_of(VALUES, st.text(alphabet="ab1 :#'\"-\n.{}[]&*!|>%@`,=~\\/", max_size=20))


@given(
    value=VALUES, parts=st.lists(TEXTS, min_size=1, max_size=4), glue=st.sampled_from(["", " ", "-", ": ", "/", "\n"])
)
def test_a_site_that_substitutes_its_values_has_exactly_what_was_rendered(
    value: str, parts: list[str], glue: str
) -> None:
    obj = config_map(a=glue.join([value, *parts]), b=glue.join([*parts, value]), c=value)
    made = bundle([[obj]], {"site_name": value})
    files = {path: text.encode() for path, text in made.files.items()}
    spec = {"path": "./s1", "postBuild": {"substitute": made.variables}}
    assert build(files, spec, "till-s1", "edge-gitops")[0]["data"] == obj["data"]


def test_only_values_that_the_stamp_uses_can_differ() -> None:
    stamp = Stamp(
        name="till",
        version="1.0.0",
        namespaces=("n",),
        components=(Component(name="base", path="base"),),
        manifests={"base/a.yaml": "data: {x: '${site_name}', y: '${greeting:=hi}'}"},
        values=ParameterValues(regions={"north": {"greeting": "moin"}}, sites={"site-7": {"unused": "x"}}),
        digest="d",
    )
    site = Site(name="site-7", region="north")
    assert own_values(site, stamp) == {"site_name": "site-7", "greeting": "moin"}


def test_an_object_with_a_secret_is_never_published() -> None:
    real, shown = config_map(password="hunter2"), config_map(password="<secret till/key>")
    with pytest.raises(InvalidInput, match="never published") as refused:
        check_without_secrets([real], [shown])
    assert refused.value.where["object"] == "ConfigMap n/c"
    assert "hunter2" not in str(refused.value)


def test_a_secret_written_in_the_stamp_is_not_published_either() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    with pytest.raises(InvalidInput, match="never published"):
        check_without_secrets([secret], [secret])


# What is asked for


def test_flux_is_pinned_to_a_digest_and_stages_wait_for_each_other() -> None:
    *_, source, first, second = flux_objects(a_wish(variables={"edge_site_name": "site-7"}))
    assert source["spec"]["ref"] == {"digest": DIGEST}
    assert "dependsOn" not in first["spec"]
    assert second["spec"]["dependsOn"] == [{"name": "till-s1"}]
    assert second["spec"]["postBuild"] == {"substitute": {"edge_site_name": "site-7"}}
    assert all(part["spec"]["wait"] for part in (first, second))


@pytest.mark.parametrize("variables", [{}, {"edge_site_name": "site-7"}], ids=["without values", "with values"])
def test_what_was_asked_for_is_read_back_the_same(variables: dict[str, str]) -> None:
    wish = a_wish(variables=variables, stages=tuple(f"s{one}" for one in range(1, 12)), pull_secret="pull")
    assert wish_in_objects(flux_objects(wish)) == wish
    assert wish_in_arc("till", arc_properties(wish)) == wish


@pytest.mark.parametrize(
    "properties",
    [{}, {"ociRepository": {"url": "oci://x/y", "repositoryRef": {"tag": "1"}}, "kustomizations": {"a": {}}}],
    ids=["nothing", "a tag"],
)
def test_what_somebody_else_asked_for_is_not_taken_for_ours(properties: dict[str, Any]) -> None:
    assert wish_in_arc("till", properties) is None


# What it means


def part(name: str, **more: Any) -> PartReport:
    said = {"ready": "True", "current": True, "applied": DIGEST, "since": NOON}
    return PartReport(name=name, **{**said, **more})


def report(*parts: PartReport, synced: str = DIGEST) -> FluxReport:
    return FluxReport(synced=synced, synced_at=NOON, parts=parts)


FAILED = {"ready": "False", "reason": "HealthCheckFailed", "message": "timeout"}


@pytest.mark.parametrize(
    ("seen", "meaning"),
    [
        (FluxReport(), Compliance.PENDING),
        (report(part("till-s1"), part("till-s2"), synced=OTHER), Compliance.PENDING),
        (report(part("till-s1"), part("till-s2")), Compliance.COMPLIANT),
        (report(part("till-s1")), Compliance.PENDING),
        (report(part("till-s1"), part("till-s2", applied=OTHER)), Compliance.PENDING),
        (report(part("till-s1"), part("till-s2", current=False)), Compliance.PENDING),
        (report(part("till-s1"), part("till-s2", **FAILED)), Compliance.FAILED),
        (report(part("till-s1"), part("till-s2", **FAILED, since=NOON - timedelta(seconds=1))), Compliance.PENDING),
        (report(part("till-s1"), part("till-s2", **{**FAILED, "reason": "DependencyNotReady"})), Compliance.PENDING),
        (FluxReport(trouble="refused"), Compliance.FAILED),
    ],
    ids=[
        "nothing reported",
        "another revision fetched",
        "all applied",
        "a stage not reported",
        "a stage has the one before",
        "about an earlier wish",
        "unhealthy",
        "unhealthy before the revision came",
        "waits for another stage",
        "the agents failed",
    ],
)
def test_a_report_is_judged_by_revision_and_condition(seen: FluxReport, meaning: Compliance) -> None:
    assert judge(a_wish(), seen).compliance is meaning


def test_a_source_that_cannot_be_fetched_is_what_is_waited_for() -> None:
    source = PartReport(name="till", ready="False", message="manifest unknown")
    assert judge(a_wish(), FluxReport(source=source, synced=OTHER)).message == "manifest unknown"


def test_conditions_of_objects_and_of_azure_give_the_same_report() -> None:
    when = "2026-05-01T12:00:00Z"
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "ReconciliationSucceeded",
        "message": f"Applied revision: {DIGEST}",
        "lastTransitionTime": when,
    }
    status = {"conditions": [{**ready, "observedGeneration": 2}], "lastAppliedRevision": DIGEST}
    meta = {"name": "till-s1", "generation": 2}
    mine = report_of(
        [
            {
                "kind": "OCIRepository",
                "metadata": {"name": "till"},
                "status": {"artifact": {"revision": DIGEST, "lastUpdateTime": when}},
            },
            {"kind": "Kustomization", "metadata": meta, "status": status},
        ]
    )
    statuses = [
        {"kind": "OCIRepository", "name": "till"},
        {"kind": "Kustomization", "name": "till-s1", "complianceState": "Compliant", "statusConditions": [ready]},
    ]
    azure = arc_report({"statuses": statuses, "sourceSyncedCommitId": DIGEST, "sourceUpdatedAt": when})
    assert mine.parts == azure.parts
    assert (mine.synced, mine.synced_at) == (azure.synced, azure.synced_at)
    assert judge(a_wish(stages=("s1",)), azure).compliance is Compliance.COMPLIANT
