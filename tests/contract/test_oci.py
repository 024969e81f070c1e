"""Pulling a chart from registries that behave as real ones do, badly included."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from edge.clients.oci import CHART, ChartRef, pull_chart
from edge.clients.oci_registry import RegistryAccess
from edge.clients.retry import RetryPolicy
from edge.errors import CredentialRejected, InvalidInput, NotFound, Rejected, ServerFault, Throttled
from edge.lab.ca import Authority

CONTENT = b"a chart"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
QUICK = RetryPolicy(attempts=3, first_s=0.01, longest_s=0.02)


class Registry:
    """A registry whose behaviour a test sets."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.open(folder / "ca", "Test CA")
        self.ca_file = str(folder / "ca.crt")
        cert, key = map(str, authority.server(folder / "server"))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.layers: list[dict[str, Any]] = [{"mediaType": CHART, "digest": DIGEST, "size": len(CONTENT)}]
        self.blob = CONTENT
        self.token = ""
        self.login = ""
        self.refusals: list[Response] = []
        self.asked: list[str] = []
        routes = [
            Route("/v2/charts/agents/manifests/{reference}", self._manifest),
            Route("/v2/charts/agents/blobs/{digest}", self._blob),
            Route("/storage", self._storage),
            Route("/token", self._token),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            ssl_certfile=cert,
            ssl_keyfile=key,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()

    def manifest(self) -> bytes:
        return json.dumps({"schemaVersion": 2, "layers": self.layers}).encode()

    def pull(self, reference: str = ":1.0.0") -> bytes:
        return pull_chart(f"{self.host}/charts/agents{reference}", ca_file=self.ca_file, retry=QUICK)

    def _admit(self, request: Request) -> Response | None:
        self.asked.append(request.url.path)
        if self.refusals:
            return self.refusals.pop(0)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            challenge = f'Bearer realm="https://{self.host}/token",service="registry",scope="repository:agents:pull"'
            return Response(status_code=401, headers={"WWW-Authenticate": challenge})
        return None

    async def _manifest(self, request: Request) -> Response:
        if request.path_params["reference"] == "9.9.9":
            return JSONResponse({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, 404)
        return self._admit(request) or Response(self.manifest())

    async def _blob(self, request: Request) -> Response:
        return self._admit(request) or RedirectResponse(f"https://{self.host}/storage")

    async def _storage(self, request: Request) -> Response:
        return Response(self.blob)

    async def _token(self, request: Request) -> Response:
        assert request.query_params["scope"] == "repository:agents:pull"
        if self.login and request.headers.get("Authorization") != f"Basic {self.login}":
            return JSONResponse({"errors": [{"code": "UNAUTHORIZED"}]}, 401)
        return JSONResponse({"token": self.token})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    served = Registry(tmp_path)
    yield served
    served.close()


def test_a_chart_is_pulled_by_tag_and_through_a_redirect(registry: Registry) -> None:
    assert registry.pull() == CONTENT


def test_a_chart_is_pulled_by_digest(registry: Registry) -> None:
    assert registry.pull(f"@sha256:{hashlib.sha256(registry.manifest()).hexdigest()}") == CONTENT


def test_an_old_chart_is_a_plain_gzipped_tar(registry: Registry) -> None:
    other = {"mediaType": "text/plain", "digest": "sha256:0"}
    registry.layers = [other, {"mediaType": "application/tar+gzip", "digest": DIGEST}]
    assert registry.pull() == CONTENT


def test_an_anonymous_token_is_fetched_once_when_the_registry_asks(registry: Registry) -> None:
    registry.token = "anonymous"
    assert registry.pull() == CONTENT
    assert len(registry.asked) == 3


def test_a_token_is_fetched_with_the_login_in_docker_s_file(registry: Registry, tmp_path: Path) -> None:
    registry.token, registry.login = "personal", base64.b64encode(b"somebody:word").decode()
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {f"https://{registry.host}/v1/": {"auth": registry.login}}}))
    where = f"{registry.host}/charts/agents:1.0.0"
    assert pull_chart(where, access=RegistryAccess(registry.ca_file, file), retry=QUICK) == CONTENT
    with pytest.raises(CredentialRejected):
        registry.pull()


@pytest.mark.parametrize("written", ["{", '{"auths": ["a"]}', '{"auths": {"HOST": {"auth": "word of somebody"}}}'])
def test_an_unusable_file_with_logins_is_named_and_not_quoted(registry: Registry, tmp_path: Path, written: str) -> None:
    registry.token = "personal"
    file = tmp_path / "config.json"
    file.write_text(written.replace("HOST", registry.host))
    with pytest.raises(InvalidInput) as caught:
        pull_chart(f"{registry.host}/charts/agents:1", access=RegistryAccess(registry.ca_file, file), retry=QUICK)
    assert caught.value.where["file"] == str(file)
    assert "somebody" not in str(caught.value)


@pytest.mark.parametrize("status", [pytest.param(503, id="503"), pytest.param(429, id="429")])
def test_a_short_trouble_is_tried_again(registry: Registry, status: int) -> None:
    registry.refusals = [Response(status_code=status), Response(status_code=status)]
    assert registry.pull() == CONTENT


def test_content_with_another_digest_is_rejected(registry: Registry) -> None:
    registry.blob = b"another chart"
    with pytest.raises(Rejected, match="digest"):
        registry.pull()


def test_a_manifest_with_another_digest_is_rejected(registry: Registry) -> None:
    with pytest.raises(Rejected, match="digest"):
        registry.pull(f"@sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        pytest.param([], "not a Helm chart", id="no layer"),
        pytest.param([{"mediaType": "image", "digest": DIGEST}], "not a Helm chart", id="an image"),
        pytest.param([{"mediaType": CHART, "digest": DIGEST, "size": 10**9}], "larger", id="huge"),
    ],
)
def test_what_is_no_usable_chart_is_rejected(registry: Registry, layers: list[dict[str, Any]], why: str) -> None:
    registry.layers = layers
    with pytest.raises(Rejected, match=why):
        registry.pull()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(403, CredentialRejected, id="403"),
        pytest.param(401, CredentialRejected, id="401 without a challenge"),
        pytest.param(410, Rejected, id="410"),
        pytest.param(503, ServerFault, id="503 that lasts"),
        pytest.param(429, Throttled, id="429 that lasts"),
    ],
)
def test_lasting_refusals_have_their_own_errors(registry: Registry, status: int, error: type[Exception]) -> None:
    registry.refusals = [Response(status_code=status) for _ in range(9)]
    with pytest.raises(error):
        registry.pull()


def test_an_unknown_tag_is_not_found(registry: Registry) -> None:
    with pytest.raises(NotFound):
        registry.pull(":9.9.9")


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        pytest.param("host/a/b:1.2.3", ("host", "a/b", "1.2.3"), id="tag"),
        pytest.param("oci://host:5000/a:1", ("host:5000", "a", "1"), id="scheme and port"),
        pytest.param(f"host/a@{DIGEST}", ("host", "a", DIGEST), id="digest"),
    ],
)
def test_an_address_is_taken_apart(text: str, ref: tuple[str, str, str]) -> None:
    assert ChartRef.parse(text) == ref


@pytest.mark.parametrize(
    "text", ["", "host", "host/a", "https://host/a:1", "host/a:1:2/", "user@host/a:1", "host/a@sha256:12"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        ChartRef.parse(text)
