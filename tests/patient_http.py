"""A client for a Prefect server that asks again while the server's database is locked, as Prefect's own client does."""

from __future__ import annotations

import time

import httpx

BUSY = 503
TRIES = 20
PAUSE_S = 0.5


class PatientTransport(httpx.HTTPTransport):
    """Repeats a request that was answered with 503: Prefect says so when SQLite was locked, and nothing was done."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The first answer that is another, or the last."""
        for _ in range(TRIES - 1):
            answer = super().handle_request(request)
            if answer.status_code != BUSY:
                return answer
            answer.close()
            time.sleep(PAUSE_S)
        return super().handle_request(request)


def prefect_client(api: str) -> httpx.Client:
    """A client for the server with this address."""
    return httpx.Client(base_url=api, timeout=30, transport=PatientTransport())
