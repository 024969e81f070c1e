"""How `SiteClient` behaves when a site does not: silence, resets, throttling, nonsense, moved paths.

The other side is a small server on loopback that answers from a script, since a healthy API server cannot be made to.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from edge.clients.access import SiteAccess
from edge.clients.kube_discovery import DiscoveryCache
from edge.clients.kube_transport import Timeouts
from edge.clients.kube_watch import Change
from edge.clients.kubernetes import SiteClient
from edge.clients.retry import RetryPolicy
from edge.errors import (
    CredentialRejected,
    EdgeError,
    InvalidInput,
    NotFound,
    NotYet,
    OperationFailed,
    OwnershipConflict,
    Rejected,
    ServerFault,
    SiteSilent,
    SiteUnreachable,
    Throttled,
    WriteConflict,
)
from edge.model.kube import ObjectHealth, ObjectRef
from edge.policy.health import health_of

QUICK = RetryPolicy(attempts=3, within_s=20, first_s=0.001, longest_s=0.01)
SHORT = Timeouts(connect_s=2, read_s=0.2)

AGGREGATED = {
    "/api": [("", "v1", [("configmaps", "ConfigMap", "Namespaced"), ("namespaces", "Namespace", "Cluster")])],
    "/apis": [("apps", "v1", [("deployments", "Deployment", "Namespaced")])],
}
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "shop"}}
REF = ObjectRef.of(CONFIG_MAP)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What the pretend site does: answers, or `act`s on the raw connection (`reset`, `silence`, `cut`)."""

    body: object = None
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    act: str = ""
    stream: bool = False


@dataclass
class PretendSite:
    """Answers discovery by itself and everything else from `script`; keeps all requests."""

    port: int
    script: Callable[[Request], Answer]
    requests: list[Request] = field(default_factory=list)
    discovery: dict[str, Any] = field(default_factory=lambda: dict(AGGREGATED))
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def access(self) -> SiteAccess:
        return SiteAccess(server=f"http://127.0.0.1:{self.port}", token=SecretStr("s3cret-token"), insecure=True)

    def paths(self) -> list[str]:
        return [request.path.partition("?")[0] for request in self.requests]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.path in self.discovery:
            return Answer(group_list(self.discovery[request.path]))
        return self.script(request)


def group_list(groups: Any) -> dict[str, Any]:
    items = []
    for group, version, resources in groups:
        entries = [
            {"resource": plural, "responseKind": {"kind": kind}, "scope": scope} for plural, kind, scope in resources
        ]
        items.append({"metadata": {"name": group}, "versions": [{"version": version, "resources": entries}]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}


def status(code: int, reason: str = "", message: str = "", **details: object) -> Answer:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return Answer(body, code=code)


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while request := self._read():
            answer = self.server.site.answer(request)  # type: ignore[attr-defined]  # set by `serve`
            if not self._write(answer):
                return

    def _read(self) -> Request | None:
        line = self.rfile.readline().decode()
        if not line.strip():
            return None
        method, path, _ = line.split()
        headers = {}
        while (line := self.rfile.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Request(method, path, headers, self.rfile.read(int(headers.get("content-length", 0))))

    def _write(self, answer: Answer) -> bool:
        if answer.act == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if answer.act == "silence":
            self.server.site.done.wait(30)  # type: ignore[attr-defined]  # set by `serve`
            return False
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        length = len(content) + (10 if answer.act == "cut" else 0)
        sized = [] if answer.stream else [f"Content-Length: {length}"]
        given = [f"{name}: {value}" for name, value in answer.headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {answer.code} X", "Content-Type: application/json", *sized, *given])
        self.wfile.write(head.encode() + b"\r\n\r\n" + content)
        return not answer.stream and answer.act != "cut"


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    tls: ssl.SSLContext | None = None
    site: PretendSite

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        return (self.tls.wrap_socket(connection, server_side=True) if self.tls else connection), address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what these tests are about."""


@contextlib.contextmanager
def serve(script: Callable[[Request], Answer], tls: ssl.SSLContext | None = None) -> Iterator[PretendSite]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.tls = tls
        server.site = PretendSite(server.server_address[1], script)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.site
        finally:
            server.site.done.set()
            server.shutdown()
            thread.join()


def scripted(*answers: Answer) -> Callable[[Request], Answer]:
    """The answers one after the other; the last one for ever."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def client_of(site: PretendSite, **options: Any) -> SiteClient:
    return SiteClient(site.access, site="site-0001", **{"retry": QUICK, "timeouts": SHORT, **options})


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


def self_signed(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(pem + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, pem.decode()


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


def test_two_alike_sites_share_one_copy_and_the_second_asks_for_nothing() -> None:
    cache = DiscoveryCache()
    with serve(scripted(Answer(CONFIG_MAP))) as first, serve(scripted(Answer(CONFIG_MAP))) as second:
        with client_of(first, cache=cache) as one, client_of(second, cache=cache) as two:
            one.apply(CONFIG_MAP)
            two.apply(CONFIG_MAP)
            assert second.paths() == ["/api/v1/namespaces/shop/configmaps/one"]
            assert one.discovery() is two.discovery()
        assert len(cache) == 1


def test_a_wrong_hint_from_another_site_is_put_right_by_the_sites_own_list() -> None:
    widget = {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}}

    def only_gadgets(request: Request) -> Answer:
        if "/gadgets/" in request.path:
            return Answer(widget)
        return Answer(b"404 page not found", code=404)

    cache = DiscoveryCache()
    with serve(scripted(Answer(widget))) as first, serve(only_gadgets) as second:
        first.discovery["/apis"] = [("x.io", "v1", [("widgets", "Widget", "Namespaced")])]
        second.discovery["/apis"] = [("x.io", "v1", [("gadgets", "Widget", "Namespaced")])]
        with client_of(first, cache=cache) as one, client_of(second, cache=cache) as two:
            one.apply(widget)
            assert two.apply(widget) == widget
            assert two.get(ObjectRef.of(widget)) == widget


def test_a_kind_that_is_not_served_is_looked_up_once_more_and_then_named() -> None:
    with serve(scripted(Answer(b"404 page not found", code=404))) as site, client_of(site) as client:
        client.discovery()
        with pytest.raises(NotFound, match=r"Widget of x\.io/v1"):
            client.get(ObjectRef(api_version="x.io/v1", kind="Widget", name="w"))
        assert site.paths().count("/apis") == 2


def test_a_kind_whose_definition_is_newer_than_the_servers_list_is_found() -> None:
    widget = {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w"}}
    crd = {"spec": {"group": "x.io", "names": {"kind": "Widget", "plural": "widgets"}, "scope": "Cluster"}}

    def script(request: Request) -> Answer:
        return Answer({"items": [crd]} if "customresourcedefinitions" in request.path else widget)

    with serve(script) as site, client_of(site) as client:
        assert client.apply(widget) == widget
        assert site.paths()[-1] == "/apis/x.io/v1/widgets/w"


def test_a_server_without_aggregated_discovery_is_asked_group_by_group() -> None:
    def plain(request: Request) -> Answer:
        answers = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": [{"versions": [{"groupVersion": "apps/v1"}]}]},
            "/api/v1": {
                "groupVersion": "v1",
                "resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}],
            },
            "/apis/apps/v1": {
                "groupVersion": "apps/v1",
                "resources": [
                    {"name": "deployments", "kind": "Deployment", "namespaced": True},
                    {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
                ],
            },
        }
        return Answer(answers.get(request.path.partition("?")[0], CONFIG_MAP))

    with serve(plain) as site, client_of(site) as client:
        site.discovery = {}
        assert client.apply(CONFIG_MAP) == CONFIG_MAP
        assert len(client.discovery()) == 2
        assert client.discovery().serves("apps/v1")


@pytest.mark.parametrize("plural", ["../secrets", "a/b", "A", "", "x?y"], ids=["up", "slash", "case", "empty", "query"])
def test_a_hostile_discovery_list_cannot_bend_a_path(plural: str) -> None:
    with serve(scripted(Answer({"items": []}))) as site, client_of(site) as client:
        site.discovery["/apis"] = [("x.io", "v1", [(plural, "Widget", "Cluster")])]
        with pytest.raises(NotFound):
            client.get(ObjectRef(api_version="x.io/v1", kind="Widget", name="w"))


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


def page(names: list[str], token: str = "", version: str = "10") -> Answer:
    items = [{"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": "1"}} for name in names]
    return Answer({"metadata": {"resourceVersion": version, "continue": token}, "items": items})


def test_a_list_whose_position_expires_starts_again_and_gives_nothing_twice() -> None:
    script = scripted(page(["a", "b"], "t1"), status(410, "Expired"), page(["a", "b"], "t2"), page(["c"]))
    with serve(script) as site, client_of(site) as client:
        found = list(client.list("v1", "ConfigMap", namespace="shop", labels="a=b"))
        assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]
        assert found[0]["kind"] == "ConfigMap"
        assert found[0]["apiVersion"] == "v1"
        assert "limit=500&labelSelector=a%3Db" in site.requests[2].path


def test_a_list_that_never_settles_ends() -> None:
    answers = [page(["a"], "t"), status(410, "Expired")] * 3
    with serve(scripted(*answers)) as site, client_of(site) as client, pytest.raises(NotYet):
        list(client.list("v1", "ConfigMap"))


def events(*changes: tuple[str, str, str]) -> Answer:
    lines = [
        {"type": kind, "object": {"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": version}}}
        for kind, name, version in changes
    ]
    return Answer(b"".join(json.dumps(line).encode() + b"\n" for line in lines), stream=True)


def test_a_watch_resumes_where_a_broken_stream_ended() -> None:
    script = scripted(
        page(["a"]),
        events(("ADDED", "b", "11"), ("BOOKMARK", "", "15")),
        Answer(act="reset"),
        events(("DELETED", "a", "16")),
        Answer(act="silence"),
    )
    with serve(script) as site, client_of(site) as client:
        watching = client.watch("v1", "ConfigMap", namespace="shop")
        seen = [next(watching) for _ in range(3)]
        watching.close()
        assert [(one.change, one.obj["metadata"]["name"]) for one in seen] == [
            (Change.ADDED, "a"),
            (Change.ADDED, "b"),
            (Change.DELETED, "a"),
        ]
        positions = [request.path for request in site.requests if "watch=true" in request.path]
        assert "resourceVersion=10" in positions[0]
        assert all("resourceVersion=15" in path for path in positions[1:])


def test_a_watch_that_lost_its_position_says_what_changed_meanwhile() -> None:
    expired = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
    later = page(["b", "c"], version="20")
    later.body["items"][0]["metadata"]["resourceVersion"] = "19"  # type: ignore[index]  # `page` makes a dict
    script = scripted(page(["a", "b"]), Answer(json.dumps(expired).encode() + b"\n", stream=True), later)
    with serve(script) as site, client_of(site) as client:
        watching = client.watch("v1", "ConfigMap")
        seen = [next(watching) for _ in range(5)]
        watching.close()
        assert [(one.change, one.obj["metadata"]["name"]) for one in seen[2:]] == [
            (Change.MODIFIED, "b"),
            (Change.ADDED, "c"),
            (Change.DELETED, "a"),
        ]


def test_a_watch_that_never_works_is_an_error() -> None:
    script = scripted(page([]), Answer(act="reset"))
    with serve(script) as site, client_of(site) as client, pytest.raises(SiteUnreachable):
        list(client.watch("v1", "ConfigMap"))


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


def deployment(name: str, ready: int) -> dict[str, Any]:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), ready)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"replicas": 1},
        "status": {**counts, "observedGeneration": 1, "conditions": [{"type": "Available", "status": "True"}]},
    }


REFS = [ObjectRef.of(deployment(name, 0)) for name in ("web", "api")]


def deployments(*objects: dict[str, Any], token: str = "") -> Answer:
    return Answer({"metadata": {"continue": token}, "items": list(objects)})


def test_waiting_uses_one_list_a_look_and_ends_when_all_are_current() -> None:
    script = scripted(
        deployments(deployment("web", 1)),
        status(503),
        deployments(deployment("web", 1), deployment("api", 0)),
        deployments(deployment("web", 1), deployment("api", 1), deployment("not-ours", 0)),
    )
    looks: list[list[str]] = []

    def note(healths: Any) -> None:
        looks.append([one.health for one in healths])

    with serve(script) as site, client_of(site) as client:
        healths = client.wait_for(REFS, health_of, within_s=20, every_s=0.01, on_progress=note)
        assert [one.ref for one in healths] == REFS
        assert looks == [
            ["Current", "NotFound"],
            ["Current", "NotFound"],
            ["Current", "InProgress"],
            ["Current", "Current"],
        ]
        assert site.paths()[2:] == ["/apis/apps/v1/namespaces/shop/deployments"] * 4


def test_waiting_asks_for_each_object_when_the_namespace_is_too_full_for_one_page() -> None:
    def script(request: Request) -> Answer:
        if "limit=" in request.path:
            return deployments(deployment("other", 0), token="more")
        return Answer(deployment(request.path.rpartition("/")[2], 1))

    with serve(script) as site, client_of(site) as client:
        client.wait_for(REFS, health_of, within_s=20, every_s=0.01)
        assert len(site.requests) == 2 + 3


def test_waiting_too_long_names_what_is_not_ready() -> None:
    script = scripted(deployments(deployment("web", 1), deployment("api", 0)))
    with serve(script) as site, client_of(site) as client, pytest.raises(NotYet) as caught:
        client.wait_for(REFS, health_of, within_s=0.05, every_s=0.01)
    assert caught.value.where["objects"] == "Deployment shop/api InProgress"
    assert "0 of 1 replicas" in caught.value.what


def test_waiting_on_a_silent_site_ends_with_its_silence() -> None:
    with serve(scripted(Answer(act="silence"))) as site, client_of(site) as client, pytest.raises(SiteSilent):
        client.wait_for([REF], health_of, within_s=0.05, every_s=0.01)


def test_a_failure_ends_the_waiting_at_once() -> None:
    failed = deployment("web", 0)
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
    failed["status"]["conditions"].append(condition)
    script = scripted(deployments(failed))
    with serve(script) as site, client_of(site) as client, pytest.raises(OperationFailed, match="too slow"):
        client.wait_for(REFS, health_of, within_s=60, every_s=10)


def test_a_judge_of_ones_own_decides() -> None:
    def strict(obj: Any) -> ObjectHealth:
        return health_of({**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "now"}})

    with serve(scripted(Answer(CONFIG_MAP))) as site, client_of(site) as client, pytest.raises(NotYet):
        client.wait_for([REF], strict, within_s=0.01, every_s=0.01)


def test_threads_share_a_client() -> None:
    with serve(scripted(Answer(CONFIG_MAP))) as site, client_of(site) as client:
        results: list[object] = []
        threads = [threading.Thread(target=lambda: results.append(client.apply(CONFIG_MAP))) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [CONFIG_MAP] * 24
