"""A pretend Prefect server on loopback that takes events, and can be strict, broken or away."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CSRF = "csrf-token-of-the-pretend-server"


class PretendPrefect:
    """Takes events as a Prefect server does. `status` is its answer; `csrf` makes it ask for a token first."""

    def __init__(self, port: int = 0) -> None:
        self.events: list[dict[str, Any]] = []
        self.credentials: list[str | None] = []
        self.tries = 0
        self.status = 204
        self.csrf = False
        self.taken: Callable[[dict[str, Any]], None] = lambda _event: None
        """Called with each event before the sender gets its answer: a trigger may be that fast."""
        pretend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if not pretend.csrf:
                    self._say(422, {"detail": "CSRF protection is disabled."})
                else:
                    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
                    self._say(200, {"token": CSRF, "client": "c", "expiration": later})

            def do_POST(self) -> None:
                status = pretend.status  # as it was before anybody could see the try
                pretend.tries += 1
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if pretend.csrf and self.headers.get("Prefect-Csrf-Token") != CSRF:
                    return self._say(403, {"detail": "Invalid CSRF token or client identifier."})
                pretend.credentials.append(self.headers.get("Authorization"))
                if status == 204 and self.path == "/api/events":
                    pretend.events += body
                    for event in body:
                        pretend.taken(event)
                return self._say(status, None)

            def _say(self, status: int, body: object) -> None:
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/api"

    @property
    def devices(self) -> list[list[str]]:
        return [event["payload"]["devices"] for event in self.events]

    @property
    def batches(self) -> list[str]:
        return [event["payload"]["batch"] for event in self.events]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
