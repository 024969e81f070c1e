"""Find a block: with a Prefect server, the document of that name; without one, what the environment says."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.settings import get_current_settings

from edge.errors import InvalidInput, ServerFault
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
        url = get_current_settings().api.url
        raise ServerFault("The Prefect server does not answer as it should", url=url) from error


def _from_environment(kind: type[B], name: str) -> B:
    if name != DEFAULT:
        remedy = "Set PREFECT_API_URL to the server that has it"
        raise InvalidInput("A named block needs a Prefect server", remedy=remedy, field=kind.__name__, value=name)
    return kind.from_settings(Settings())
