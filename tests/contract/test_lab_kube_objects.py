"""Objects in the lab's API server: created, read, changed and refused as by a real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from tests.contract.lab_kube_site import CM, DEPLOYMENTS, PODS, Host, Site, config_map, deployment, pod


@pytest.fixture(scope="module")
def site(host: Host) -> Iterator[Site]:
    with host.fresh_site() as running:
        yield running


def test_the_official_client_creates_reads_replaces_and_deletes(site: Site) -> None:
    core = client.CoreV1Api(site.api())
    meta = client.V1ObjectMeta(name="round-trip", labels={"a": "b"})
    made = core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=meta, data={"k": "1"}))
    made.data = {"k": "2"}
    core.replace_namespaced_config_map("round-trip", "default", made)
    read = core.read_namespaced_config_map("round-trip", "default")
    assert (read.data, read.metadata.labels) == ({"k": "2"}, {"a": "b"})
    assert read.metadata.uid == made.metadata.uid
    assert int(read.metadata.resource_version) > int(made.metadata.resource_version)
    core.delete_namespaced_config_map("round-trip", "default")
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_config_map("round-trip", "default")
    assert missing.value.status == 404


def test_a_name_is_taken_only_once(site: Site) -> None:
    site.make(CM, config_map("taken"))
    reply = site.call("POST", CM, config_map("taken"))
    assert (reply.code, reply.body["reason"]) == (409, "AlreadyExists")
    assert reply.body["message"] == 'configmaps "taken" already exists'


def test_a_generated_name_begins_with_what_was_asked_for(site: Site) -> None:
    body = {"metadata": {"generateName": "gen-"}, "data": {}}
    names = {site.make(CM, body)["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)


def test_a_write_for_an_older_revision_is_a_conflict(site: Site) -> None:
    first = site.make(CM, config_map("race", k="1"))
    site.merge(f"{CM}/race", {"data": {"k": "2"}})
    reply = site.call("PUT", f"{CM}/race", {**first, "data": {"k": "3"}})
    assert (reply.code, reply.body["reason"]) == (409, "Conflict")
    assert site.get(f"{CM}/race")["data"] == {"k": "2"}


def test_a_write_that_changes_nothing_uses_no_revision(site: Site) -> None:
    made = site.make(CM, config_map("still", k="1"))
    after = site.call("PUT", f"{CM}/still", config_map("still", k="1")).body
    assert after == made


def test_a_dry_run_answers_and_keeps_nothing(site: Site) -> None:
    assert site.call("POST", f"{CM}?dryRun=All", config_map("dry")).code == 201
    assert site.call("GET", f"{CM}/dry").code == 404
    site.make(CM, config_map("wet", k="1"))
    changed = site.call("PUT", f"{CM}/wet?dryRun=All", config_map("wet", k="2"))
    assert changed.body["data"] == {"k": "2"}
    assert site.get(f"{CM}/wet")["data"] == {"k": "1"}
    site.call("DELETE", f"{CM}/wet?dryRun=All")
    assert site.get(f"{CM}/wet")


def test_generation_counts_changes_of_the_spec_alone(site: Site) -> None:
    site.make(DEPLOYMENTS, deployment("counted"))
    site.merge(f"{DEPLOYMENTS}/counted", {"metadata": {"labels": {"x": "y"}}})
    site.merge(f"{DEPLOYMENTS}/counted/status", {"status": {"replicas": 1}})
    assert site.get(f"{DEPLOYMENTS}/counted")["metadata"]["generation"] == 1
    site.merge(f"{DEPLOYMENTS}/counted", {"spec": {"replicas": 3}})
    assert site.get(f"{DEPLOYMENTS}/counted")["metadata"]["generation"] == 2


def test_status_is_written_through_its_own_door_only(site: Site) -> None:
    made = site.make(DEPLOYMENTS, {**deployment("doors"), "status": {"replicas": 7}})
    assert "replicas" not in made.get("status", {})
    assert "replicas" not in site.merge(f"{DEPLOYMENTS}/doors", {"status": {"replicas": 7}}).body.get("status", {})
    written = site.merge(f"{DEPLOYMENTS}/doors/status", {"status": {"replicas": 7}, "spec": {"replicas": 9}}).body
    assert (written["status"]["replicas"], written["spec"]["replicas"]) == (7, 1)


def test_defaults_are_filled_in(site: Site) -> None:
    spec = site.make(DEPLOYMENTS, deployment("filled"))["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize(
    ("mode", "code", "warned"), [("Strict", 400, False), ("Warn", 201, True), ("Ignore", 201, False), ("", 201, True)]
)
def test_unknown_fields_are_refused_warned_about_or_ignored(site: Site, mode: str, code: int, warned: bool) -> None:
    name = f"odd-{mode.lower() or 'unsaid'}"
    reply = site.call("POST", f"{DEPLOYMENTS}?fieldValidation={mode}", _with_unknown(name))
    assert reply.code == code
    assert ("warning" in reply.headers) == warned
    if code == 400:
        assert reply.body["message"].endswith('strict decoding error: unknown field "spec.sizee"')
    else:
        assert "sizee" not in reply.body["spec"]


def _with_unknown(name: str) -> dict[str, Any]:
    body = deployment(name)
    body["spec"]["sizee"] = 3
    return body


def _selector_misses_template() -> dict[str, Any]:
    body = deployment("refused")
    body["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    return body


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        pytest.param(CM, config_map("Upper_Case"), "metadata.name", id="name"),
        pytest.param(CM, {"metadata": {}}, "metadata.name", id="no-name"),
        pytest.param(CM, {"metadata": {"name": "x", "labels": {"a": "b c"}}}, "metadata.labels", id="label"),
        pytest.param(DEPLOYMENTS, _selector_misses_template(), "spec.template.metadata.labels", id="selector"),
        pytest.param(PODS, pod("x", restartPolicy="Perhaps"), "spec.restartPolicy", id="enum"),
    ],
)
def test_a_wrong_value_is_422_and_names_its_field(site: Site, path: str, body: Any, field: str) -> None:
    reply = site.call("POST", path, body)
    assert (reply.code, reply.body["reason"]) == (422, "Invalid")
    assert field in [place for place, _ in reply.causes]


def test_a_value_of_a_wrong_type_is_a_bad_request(site: Site) -> None:
    body = deployment("typed")
    body["spec"]["replicas"] = "three"
    reply = site.call("POST", DEPLOYMENTS, body)
    assert (reply.code, reply.body["reason"]) == (400, "BadRequest")
    assert "spec.replicas" in reply.body["message"]


def test_what_may_not_change_does_not(site: Site) -> None:
    site.make(DEPLOYMENTS, deployment("fixed"))
    changed = deployment("fixed")
    changed["spec"]["selector"] = {"matchLabels": {"app": "fixed", "more": "x"}}
    changed["spec"]["template"]["metadata"]["labels"]["more"] = "x"
    reply = site.call("PUT", f"{DEPLOYMENTS}/fixed", changed)
    assert reply.code == 422
    assert ("spec.selector", "FieldValueInvalid") in reply.causes
    site.make(CM, {**config_map("sealed", k="1"), "immutable": True})
    assert site.merge(f"{CM}/sealed", {"data": {"k": "2"}}).code == 422


def test_a_body_that_does_not_fit_the_path_is_refused(site: Site) -> None:
    assert site.call("POST", CM, deployment("x")).code == 400
    elsewhere = {**config_map("x"), "metadata": {"name": "x", "namespace": "kube-system"}}
    assert site.call("POST", CM, elsewhere).code == 400
    assert site.call("PUT", f"{CM}/x", config_map("y")).code == 400
    assert site.call("POST", CM, "{not json").code == 400
    assert site.call("POST", CM, "[1]").code == 400
    assert site.call("POST", CM, "<x/>", content_type="text/xml").code == 415


def test_yaml_is_read_without_aliases(site: Site) -> None:
    text = "metadata: {name: from-yaml}\ndata: {when: '2026-01-01', more: x}\n"
    assert site.call("POST", CM, text, content_type="application/yaml").code == 201
    bomb = "a: &a [x]\nmetadata: {name: bomb}\ndata: *a\n"
    assert site.call("POST", CM, bomb, content_type="application/yaml").code == 400


@pytest.mark.parametrize(
    ("body", "media"),
    [
        pytest.param('{"a":' * 300 + "1" + "}" * 300, "application/json", id="deep-json"),
        pytest.param("[" * 3_000 + "]" * 3_000, "application/yaml", id="deep-yaml"),
        pytest.param("metadata: {name: big}\ndata: {n: 99999999999999999999999}", "application/yaml", id="big-number"),
        pytest.param("metadata: {name: b}\ndata: {n: !!binary aGk=}", "application/yaml", id="binary"),
        pytest.param("a: 1\n---\nb: 2\n", "application/yaml", id="two-documents"),
    ],
)
def test_a_body_that_could_not_be_written_again_is_refused(site: Site, body: str, media: str) -> None:
    assert site.call("POST", CM, body, content_type=media).code == 400


def test_a_body_of_more_than_three_mebibytes_is_too_large(site: Site) -> None:
    assert site.call("POST", CM, config_map("huge", k="x" * (3 * 1024 * 1024))).code == 413


def test_only_a_namespace_that_is_there_takes_objects(site: Site) -> None:
    reply = site.call("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("x"))
    assert (reply.code, reply.body["message"]) == (404, 'namespaces "nowhere" not found')


def test_what_is_not_served_is_not_found_or_not_allowed(site: Site) -> None:
    assert site.call("GET", "/apis/nobody.example.com/v1/things").code == 404
    assert site.call("GET", f"{CM}/a/b/c").code == 404
    assert site.call("PUT", CM, config_map("x")).code == 405
    assert site.call("POST", "/api/v1/configmaps", config_map("x")).code == 405


def test_scale_reads_and_sets_one_number(site: Site) -> None:
    site.make(DEPLOYMENTS, deployment("scaled", 2))
    apps = client.AppsV1Api(site.api())
    scale = apps.read_namespaced_deployment_scale("scaled", "default")
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=scaled")
    apps.patch_namespaced_deployment_scale("scaled", "default", {"spec": {"replicas": 5}})
    assert site.get(f"{DEPLOYMENTS}/scaled")["spec"]["replicas"] == 5
    bad = site.call("PUT", f"{DEPLOYMENTS}/scaled/scale", {"spec": {"replicas": -1}})
    assert (bad.code, bad.causes) == (422, [("spec.replicas", "FieldValueInvalid")])


def test_a_secret_takes_plain_text(site: Site) -> None:
    body = {"metadata": {"name": "s"}, "stringData": {"k": "v"}}
    made = site.make("/api/v1/namespaces/default/secrets", body)
    assert (made["data"], made["type"]) == ({"k": "dg=="}, "Opaque")
    assert "stringData" not in made


def test_every_request_is_remembered(site: Site) -> None:
    site.call("GET", f"{CM}/never-there?fieldManager=me", user_agent="test/1")
    last = site.on_loop(lambda: site.store.requests[-1])
    assert (last.method, last.path, last.status, last.user_agent, last.field_manager) == (
        "GET",
        f"{CM}/never-there",
        404,
        "test/1",
        "me",
    )
