"""A gateway on a loopback port for tests: its ledger, a client that may send, and one that may not."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from edge.gateway.app import create_app
from edge.gateway.settings import GatewaySettings
from edge.ledger import Ledger

TOKEN, NEXT_TOKEN, KEY, NEXT_KEY = (f"{word}-secret-for-this-test" for word in ("token", "next", "key", "nextkey"))
STRUCTURED = "application/cloudevents+json"
LIMIT = 64 * 1024


class Served:
    """A running gateway, its ledger, and a client that may send."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.url = url
        self.ledger = ledger
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
        self.stranger = httpx.Client(base_url=url, timeout=10)

    def post(self, body: object, kind: str = STRUCTURED, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post("/events", content=content, headers={"Content-Type": kind, **headers})

    def stored(self) -> int:
        return sum(self.ledger.inbox.counts().values())


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[Served]:
    """A gateway that passes nothing on, with a ledger in the folder."""
    secrets = {"tokens": (SecretStr(TOKEN), SecretStr(NEXT_TOKEN)), "hmac_keys": (SecretStr(KEY), SecretStr(NEXT_KEY))}
    told = {"dispatch": False, "max_body": LIMIT, "body_timeout_s": 0.5, **secrets, **settings}
    with Ledger.open(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        app = create_app(GatewaySettings.model_validate(told), ledger)
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None)
        listener = config.bind_socket()
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        running = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", ledger)
        try:
            yield running
        finally:
            running.client.close()
            running.stranger.close()
            server.should_exit = True
            thread.join()
