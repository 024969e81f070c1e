"""Find a block: with a Prefect server, the document of that name; without one, what the environment says."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.settings import get_current_settings

from edge.errors import CredentialRejected, EdgeError, InvalidInput, ServerFault
from edge.settings import Settings

DEFAULT = "default"


class Configured(Protocol):
    """A block that can also be made from the environment."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The block as `EDGE_*` describes it."""


B = TypeVar("B", bound=Configured)


def load(kind: type[B], name: str = DEFAULT) -> B:
    """The block `name` of this kind. Raises InvalidInput when there is none."""
    if get_current_settings().api.url is None:
        return _from_environment(kind, name)
    assert issubclass(kind, Block)
    try:
        return kind.load(name)
    except ValueError as missing:
        remedy = "Register the blocks with `python -m deployments.apply`"
        raise InvalidInput("No such block", remedy=remedy, field=kind.__name__, value=name) from missing
    except httpx.HTTPError as error:
        raise server_fault(error) from error


def server_fault(error: httpx.HTTPError) -> EdgeError:
    """Our error for what the Prefect server, or the way to it, did. A password in its address is not repeated."""
    said = get_current_settings().api.url or ""
    try:
        url = httpx.URL(said)
    except httpx.InvalidURL:
        return InvalidInput("This is no address", field="PREFECT_API_URL")
    if url.scheme not in ("http", "https") or not url.host:
        return InvalidInput("This is no address of a Prefect server", field="PREFECT_API_URL", value=said[:200])
    shown = url.copy_with(userinfo=b"", query=None)
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403):
        return CredentialRejected("The Prefect server does not accept the credential", url=shown)
    return ServerFault("The Prefect server does not answer as it should", url=shown, fault=type(error).__name__)


def _from_environment(kind: type[B], name: str) -> B:
    if name != DEFAULT:
        remedy = "Set PREFECT_API_URL to the server that has it"
        raise InvalidInput("A named block needs a Prefect server", remedy=remedy, field=kind.__name__, value=name)
    return kind.from_settings(Settings())
