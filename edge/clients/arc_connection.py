"""How each of Microsoft's SDKs reaches Azure Resource Manager here: the same address, time-outs and retries."""

from __future__ import annotations

from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from azure.core.credentials import TokenCredential

from edge.clients.arc_retry import RequestRetries
from edge.clients.retry import RetryPolicy
from edge.model.base import Value

Sdk = TypeVar("Sdk")


class ArcPatience(Value):
    """How long to wait, in seconds, for a connection, an answer and an operation; and how requests are retried."""

    connect_s: float = 10.0
    read_s: float = 60.0
    operation_s: float = 1800.0
    busy_s: float = 180.0
    """How long a delete waits for another operation on the resource, such as the PUT whose answer was lost."""
    retry: RetryPolicy = RetryPolicy()


_PATIENT = ArcPatience()


class ArcConnection(Generic[Sdk]):
    """What is one subscription's, through one SDK. Safe to share between threads; close it at the end.

    `endpoint` is Resource Manager's address, `ca_file` a CA for it when it is not a public one. The credential is
    closed with the connection.
    """

    _make: ClassVar[type[Any]]
    """The SDK's client."""

    def __init__(
        self,
        endpoint: str,
        subscription_id: str,
        credential: TokenCredential,
        ca_file: str | None = None,
        patience: ArcPatience = _PATIENT,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.subscription_id = subscription_id
        self._patience = patience
        self._credential = credential
        self._sdk: Sdk = self._make(
            credential,
            subscription_id,
            base_url=self.endpoint,
            credential_scopes=[f"{self.endpoint}/.default"],
            retry_policy=RequestRetries(patience.retry),
            connection_verify=ca_file or True,
            connection_timeout=patience.connect_s,
            read_timeout=patience.read_s,
            user_agent="edge-cluster-platform",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections, the credential's too."""
        for one in (self._sdk, self._credential):
            close = getattr(one, "close", None)  # not every credential has one
            if close is not None:
                close()
