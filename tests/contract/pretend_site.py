"""A pretend API server for tests of what a healthy one cannot be made to do.

It listens on loopback and answers from a script: any status, a reset, silence, half an answer, a stream.
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

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from edge.clients.access import SiteAccess
from edge.clients.kube_transport import Timeouts
from edge.clients.kubernetes import SiteClient
from edge.clients.retry import RetryPolicy
from edge.model.kube import ObjectRef

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
    """What the pretend site does: answers, or `act`s on the raw connection (`reset`, `silence`, `cut`, `drip`)."""

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
        if answer.act == "drip":
            self.wfile.write(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
            while not self.server.site.done.wait(0.02):  # type: ignore[attr-defined]  # set by `serve`
                self.wfile.write(b" ")
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
