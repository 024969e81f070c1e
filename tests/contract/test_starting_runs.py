"""Starting a run on a work pool, against a small pretend Prefect server: what is told, and what fails in words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from edge.cli.runs import over, start_on_pool
from edge.errors import NotFound, OperationFailed

RUN = str(uuid4())


class Server:
    """A server with one deployment. `workers` are those of its pool, `ends` how its runs end."""

    def __init__(self) -> None:
        self.workers: list[dict[str, Any]] = []
        self.ends = {"type": "COMPLETED", "message": "3 are in"}
        self.pool = "process"
        self.started: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[], Any]] = {
            "/deployments/name/known/default": lambda: self._thing(work_pool_name="edge", flow_id=str(uuid4())),
            "/work_pools/edge": lambda: self._thing(name="edge", type=self.pool),
            "/work_pools/edge/workers/filter": lambda: self.workers,
            "/create_flow_run": self._run,
            f"/flow_runs/{RUN}": self._run,
        }

    def _thing(self, **more: Any) -> dict[str, Any]:
        return {"id": str(uuid4()), "name": "default", **more}

    def _run(self) -> dict[str, Any]:
        return {"id": RUN, "flow_id": str(uuid4()), "name": "a", "state": self.ends}

    def answer(self, path: str, body: Any) -> Any:
        found = next((self.answers[end] for end in self.answers if path.endswith(end)), None)
        if path.endswith("/create_flow_run"):
            self.started.append(body["parameters"])
        return found() if found else None


@pytest.fixture
def server() -> Iterator[Server]:
    pretend = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(None)

        def do_POST(self) -> None:
            self._say(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _say(self, body: Any) -> None:
            found = pretend.answer(self.path, body)
            data = json.dumps(found if found is not None else {"detail": "nothing"}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Silent."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{listening.server_port}/api"}):
        yield pretend
    listening.shutdown()
    listening.server_close()


def worker(status: str) -> dict[str, Any]:
    return {"id": str(uuid4()), "name": "w", "work_pool_id": str(uuid4()), "status": status}


@pytest.mark.parametrize(
    ("workers", "pool", "told"),
    [
        pytest.param([], "process", True, id="none"),
        pytest.param([worker("OFFLINE")], "process", True, id="offline"),
        pytest.param([worker("OFFLINE"), worker("ONLINE")], "process", False, id="online"),
        pytest.param([], "azure-container-instance:push", False, id="runs-start-by-themselves"),
    ],
)
def test_a_pool_without_workers_is_told_and_the_run_is_started_all_the_same(
    server: Server, capsys: pytest.CaptureFixture[str], workers: list[dict[str, Any]], pool: str, told: bool
) -> None:
    server.workers, server.pool = workers, pool
    assert start_on_pool("known/default", {"devices": ["a"]}) == RUN
    assert server.started == [{"devices": ["a"]}]
    assert ("No worker of the work pool 'edge' is online" in capsys.readouterr().err) is told


def test_a_run_is_waited_for_and_says_how_it_ended(server: Server) -> None:
    assert start_on_pool("known/default", {}, wait=True) == "3 are in"
    assert over([RUN])
    server.ends = {"type": "RUNNING", "message": ""}
    assert not over([RUN])


def test_a_run_that_died_and_a_deployment_that_is_not_there_are_told_in_words(server: Server) -> None:
    server.ends = {"type": "CRASHED", "message": "the node went away"}
    with pytest.raises(OperationFailed, match="died") as died:
        start_on_pool("known/default", {}, wait=True)
    assert died.value.where["said"] == "the node went away"
    with pytest.raises(NotFound) as missing:
        start_on_pool("unknown/default", {})
    assert "deployments.apply" in missing.value.remedy
