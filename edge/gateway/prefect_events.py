"""Tells the Prefect server which devices registered and which sites are back, with Prefect's own client: it knows
credentials and CSRF.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.events import Event, Resource
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from edge.errors import CredentialRejected, EdgeError, InvalidInput, Rejected, ServerFault, SiteSilent, SiteUnreachable

EVENT = "edge.devices.registered"
"""The event that the trigger of the onboarding deployment expects."""

RETURNED = "edge.sites.returned"
"""The event that the trigger of the deployment of catching up expects."""

_TIMEOUT_S = 10.0


class PrefectEvents:
    """Sends events about one gateway. Not thread-safe: settings and connection belong to the thread that entered it.

    The client's own retries are off, since whoever uses this tries again for as long as it takes.
    """

    def __init__(self, gateway: str) -> None:
        self.resource = f"edge.gateway.{gateway}"
        self._settings = ExitStack()
        self._client: SyncPrefectClient | None = None

    def __enter__(self) -> Self:
        self._settings.enter_context(temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()
        self._settings.close()

    def send(self, batch: str, devices: list[str]) -> None:
        """Send one event about these devices. Returns when the server has it; else raises one of our errors.

        Each call makes an event with its own id: the server drops an event whose id it has seen, and then a batch
        that is sent again would start no run.
        """
        self._post(EVENT, {"batch": batch, "devices": devices})

    def send_returned(self, sites: list[str]) -> None:
        """Send one event about sites that are back; as `send` otherwise."""
        self._post(RETURNED, {"sites": sites})

    def _post(self, kind: str, payload: dict[str, object]) -> None:
        event = Event(event=kind, resource=Resource({"prefect.resource.id": self.resource}), payload=payload)
        try:
            self._connected().request("POST", "/events", json=[event.model_dump(mode="json")])
        except httpx.HTTPError as error:
            self._hang_up()
            raise _ours(error) from error

    def _connected(self) -> SyncPrefectClient:
        if self._client is None:
            if not prefect_url():  # without an address the client would start a server of its own
                raise InvalidInput("No Prefect server is configured", field="PREFECT_API_URL")
            self._client = get_client(httpx_settings={"timeout": _TIMEOUT_S}, sync_client=True).__enter__()
        return self._client

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None


def prefect_url() -> str | None:
    """The API address of the configured Prefect server; None when there is none."""
    found: str | None = PREFECT_API_URL.value()
    return found or None


def _ours(error: httpx.HTTPError) -> EdgeError:
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status in {401, 403}:
            return CredentialRejected("The Prefect server does not accept the gateway", status=status)
        kind = ServerFault if status >= 500 or status in {408, 429} else Rejected
        return kind("The Prefect server did not take the event", status=status)
    if isinstance(error, httpx.TimeoutException):
        return SiteSilent("The Prefect server does not answer", within=f"{_TIMEOUT_S:g} s")
    return SiteUnreachable("The Prefect server cannot be reached", fault=type(error).__name__)
