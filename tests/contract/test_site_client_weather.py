"""How `SiteClient` behaves when a site does not: silence, resets, throttling, nonsense, wrong certificates."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from edge.clients.access import SiteAccess
from edge.clients.kubernetes import SiteClient
from edge.clients.retry import RetryPolicy
from edge.errors import (
    CredentialRejected,
    EdgeError,
    InvalidInput,
    NotFound,
    NotYet,
    OwnershipConflict,
    Rejected,
    ServerFault,
    SiteSilent,
    SiteUnreachable,
    Throttled,
    WriteConflict,
)
from tests.contract.pretend_site import (
    CONFIG_MAP,
    QUICK,
    REF,
    SHORT,
    Answer,
    Request,
    client_of,
    scripted,
    self_signed,
    serve,
    status,
)

FAULTS = [
    pytest.param(status(400, "BadRequest", "strict decoding error"), Rejected, id="400"),
    pytest.param(status(401, "Unauthorized"), CredentialRejected, id="401"),
    pytest.param(
        status(403, "Forbidden", 'configmaps "one" is forbidden: User "u" cannot patch resource "configmaps"'),
        CredentialRejected,
        id="403-rbac",
    ),
    pytest.param(
        status(403, "Forbidden", 'configmaps "one" is forbidden: exceeded quota: baseline'), Rejected, id="403-quota"
    ),
    pytest.param(status(403, "Forbidden", 'admission webhook "x" denied the request'), Rejected, id="403-admission"),
    pytest.param(
        status(403, "Forbidden", "is forbidden: terminated", causes=[{"reason": "NamespaceTerminating"}]),
        NotYet,
        id="403-namespace-terminating",
    ),
    pytest.param(status(404, "NotFound", "no", name="one", kind="configmaps"), NotFound, id="404"),
    pytest.param(status(409, "Conflict", "the object has been modified"), WriteConflict, id="409-version"),
    pytest.param(
        status(
            409,
            "Conflict",
            causes=[
                {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".data.a"}
            ],
        ),
        OwnershipConflict,
        id="409-owner",
    ),
    pytest.param(status(422, "Invalid", "metadata.name"), Rejected, id="422"),
    pytest.param(status(429, "TooManyRequests"), Throttled, id="429"),
    pytest.param(status(500, "InternalError", "etcd"), ServerFault, id="500"),
    pytest.param(status(500, "", "failed to create typed patch object (x): .spec.y"), Rejected, id="500-unknown-field"),
    pytest.param(status(504, "Timeout"), ServerFault, id="504"),
    pytest.param(Answer(b"<html>", code=502), ServerFault, id="502-not-a-status"),
    pytest.param(Answer({}, code=302, headers={"Location": "http://elsewhere/"}), InvalidInput, id="302"),
    pytest.param(Answer(b"not json"), ServerFault, id="200-not-json"),
    pytest.param(Answer(act="reset"), SiteUnreachable, id="reset"),
    pytest.param(Answer({}, act="cut"), SiteUnreachable, id="cut-in-the-middle"),
    pytest.param(Answer(act="silence"), SiteSilent, id="silence"),
]


@pytest.mark.parametrize(("answer", "leaf"), FAULTS)
def test_each_fault_on_the_wire_becomes_one_error_of_ours(answer: Answer, leaf: type[EdgeError]) -> None:
    with serve(scripted(answer)) as site, client_of(site, retry=RetryPolicy.none()) as client:
        with pytest.raises(leaf) as caught:
            client.apply(CONFIG_MAP)
        assert type(caught.value) is leaf
        assert caught.value.where["site"] == "site-0001"
        assert "s3cret" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


@pytest.mark.parametrize(("answer", "leaf"), FAULTS)
def test_only_what_may_pass_is_tried_again(answer: Answer, leaf: type[EdgeError]) -> None:
    with serve(scripted(answer)) as site, client_of(site) as client:
        with pytest.raises(leaf):
            client.apply(CONFIG_MAP)
        tries = sum(request.method == "PATCH" for request in site.requests)
        assert tries == (3 if leaf.transient else 1)


def test_a_site_that_recovers_within_the_policy_is_not_an_error() -> None:
    script = scripted(Answer(act="reset"), status(503, "ServiceUnavailable"), Answer(CONFIG_MAP))
    with serve(script) as site, client_of(site) as client:
        assert client.apply(CONFIG_MAP) == CONFIG_MAP


def test_a_conflict_names_managers_and_fields() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".data.a"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "flux" using v1', "field": ".data.b"},
    ]
    with serve(scripted(status(409, "Conflict", causes=causes))) as site, client_of(site) as client:
        with pytest.raises(OwnershipConflict) as caught:
            client.apply(CONFIG_MAP)
        assert caught.value.where["managers"] == "flux, kubectl"
        assert caught.value.where["fields"] == ".data.a, .data.b"


def test_a_pause_the_server_asks_for_is_kept() -> None:
    throttled = status(429, "TooManyRequests")
    throttled.headers["Retry-After"] = "1"
    hurried = QUICK.model_copy(update={"within_s": 0.5})
    with serve(scripted(throttled, Answer(CONFIG_MAP))) as site, client_of(site, retry=hurried) as client:
        with pytest.raises(Throttled) as caught:
            client.apply(CONFIG_MAP)
        assert caught.value.retry_after == 1.0
        assert len(site.requests) == 3, "a pause that ends too late must not be begun"


def test_what_the_server_says_about_a_secret_is_not_repeated() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one", "namespace": "shop"}}
    script = scripted(status(422, "Invalid", 'Invalid value: "hunter2"'))
    with serve(script) as site, client_of(site) as client:
        site.discovery["/api"] = [("", "v1", [("secrets", "Secret", "Namespaced")])]
        with pytest.raises(Rejected) as caught:
            client.apply(secret)
        assert "hunter2" not in str(caught.value)
        assert "Invalid" in str(caught.value)


def test_a_site_that_sends_a_byte_now_and_then_is_silent() -> None:
    patient = SHORT.model_copy(update={"answer_s": 0.3})
    with serve(scripted(Answer(act="drip"))) as site:
        client = client_of(site, timeouts=patient, retry=RetryPolicy.none())
        with client, pytest.raises(SiteSilent, match="too long"):
            client.version()


def test_a_large_answer_in_many_pieces_is_whole() -> None:
    large = {"major": "x" * 3_000_000}
    with serve(scripted(Answer(large))) as site, client_of(site) as client:
        assert client.version() == large


def test_nobody_listening_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    access = SiteAccess(server=f"http://127.0.0.1:{port}", insecure=True)
    with SiteClient(access, retry=QUICK) as client, pytest.raises(SiteUnreachable, match="refused"):
        client.version()


def test_a_redirect_never_carries_the_token_elsewhere() -> None:
    with serve(scripted(Answer({}))) as elsewhere:
        target = {"Location": f"http://127.0.0.1:{elsewhere.port}/stolen"}
        moved = scripted(Answer({}, code=307, headers=target))
        with serve(moved) as site, client_of(site) as client, pytest.raises(InvalidInput):
            client.version()
        assert elsewhere.requests == []


def test_the_server_is_verified_by_authority_and_name(tmp_path: Path) -> None:
    tls, pem = self_signed(tmp_path, "site.test")
    _, foreign = self_signed(tmp_path, "other.test")
    with serve(scripted(Answer({"major": "1"})), tls) as site:
        good = SiteAccess(server=f"https://127.0.0.1:{site.port}", ca_data=pem, tls_server_name="site.test")
        with SiteClient(good, retry=QUICK) as client:
            assert client.version() == {"major": "1"}
        for wrong in ({"ca_data": foreign}, {"tls_server_name": ""}, {"ca_data": ""}):
            bad = SiteClient(good.model_copy(update=wrong), retry=QUICK)
            with bad as client, pytest.raises(CredentialRejected, match="not accepted"):
                client.version()


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        pytest.param({"kind": "ConfigMap", "metadata": {"name": "x"}}, "apiVersion", id="no-api-version"),
        pytest.param({"apiVersion": "v1", "metadata": {"name": "x"}}, "kind", id="no-kind"),
        pytest.param({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, "metadata.name", id="no-name"),
        pytest.param({"apiVersion": "v1", "kind": "ConfigMap"}, "metadata.name", id="no-metadata"),
        pytest.param(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}, "metadata.namespace", id="no-place"
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "namespace": "y"}},
            "metadata.namespace",
            id="place-of-the-placeless",
        ),
        pytest.param(
            {"apiVersion": "../v1", "kind": "ConfigMap", "metadata": {"name": "x"}}, "apiVersion", id="path-in-version"
        ),
    ],
)
def test_an_object_that_cannot_be_applied_is_refused_before_it_is_sent(obj: dict[str, Any], field: str) -> None:
    with serve(scripted(Answer({}))) as site, client_of(site) as client:
        with pytest.raises(InvalidInput) as caught:
            client.apply(obj)
        assert caught.value.where["field"] == field
        assert not [request for request in site.requests if request.method == "PATCH"]


def test_names_are_quoted_in_paths() -> None:
    with serve(scripted(Answer(CONFIG_MAP))) as site, client_of(site) as client:
        client.get(REF.model_copy(update={"name": "../../secrets?x=1"}))
        assert site.paths()[-1] == "/api/v1/namespaces/shop/configmaps/..%2F..%2Fsecrets%3Fx%3D1"


def test_deleting_what_is_absent_is_fine() -> None:
    script = scripted(Answer({}), status(404, "NotFound", name="one"))
    with serve(script) as site, client_of(site) as client:
        assert client.delete(REF, propagation="Foreground") is True
        assert client.delete(REF) is False
        options = json.loads(site.requests[2].body)
        assert options["propagationPolicy"] == "Foreground"


def test_deleting_by_uid_leaves_a_namesake_alone() -> None:
    namesake = {**CONFIG_MAP, "metadata": {**REF.model_dump(), "uid": "u-new"}}

    def script(request: Request) -> Answer:
        return Answer(namesake) if request.method == "GET" else status(409, "Conflict", "Precondition failed")

    with serve(script) as site, client_of(site) as client:
        assert client.delete(REF, uid="u-old") is False
        with pytest.raises(WriteConflict):
            client.delete(REF, uid="u-new")


def test_threads_share_a_client() -> None:
    with serve(scripted(Answer(CONFIG_MAP))) as site, client_of(site) as client:
        results: list[object] = []
        threads = [threading.Thread(target=lambda: results.append(client.apply(CONFIG_MAP))) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [CONFIG_MAP] * 24
