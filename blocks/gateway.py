"""What senders of events must know."""

from __future__ import annotations

from typing import Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from edge.settings import Settings


class GatewaySecret(Block):
    """Secrets of the gateway. Several may be active, so that they can be changed without a gap."""

    _block_type_name = "Edge gateway secret"
    _block_type_slug = "edge-gateway-secret"

    tokens: list[SecretStr] = Field(default=[], description="Bearer tokens that are accepted.")
    hmac_keys: list[SecretStr] = Field(default=[], description="Keys whose HMAC-SHA256 signatures are accepted.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The secrets in `EDGE_GATEWAY_TOKENS` and `EDGE_GATEWAY_HMAC_KEYS`."""
        return cls(tokens=list(settings.gateway_tokens), hmac_keys=list(settings.gateway_hmac_keys))
