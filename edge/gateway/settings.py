"""What a gateway can be told."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator

from edge.errors import InvalidInput
from edge.model.admission import Trust
from edge.model.base import Value
from edge.model.names import SiteName


class IntakeSettings(Value):
    """How events are taken, whichever way they come, and passed on. Times are in seconds, sizes in bytes.

    `name` becomes part of the resource id of the Prefect events, `edge.gateway.<name>`.
    """

    name: SiteName = "main"
    max_body: int = Field(default=1024 * 1024, ge=1024)
    """Event Grid delivers at most 1 MiB at once."""
    challenge_ttl_s: float = Field(default=900.0, ge=1, le=366 * 86400)
    """How long a challenge may be answered. Where answers wait for a connection, as in plants, make it longer."""
    challenges_per_device: int = Field(default=8, ge=1)
    """Unanswered challenges of one device; a further one takes the place of the oldest."""
    challenges_open: int = Field(default=100_000, ge=1)
    """Unanswered challenges of all devices together; more are refused until some have run out."""
    trust: Trust | None = None
    """Whose certificates a device may be renewed with. None: whoever uses this looks at the issuer."""
    dispatch: bool = True
    """Whether this process passes events on. Of several gateways on one ledger, one should."""
    window_s: float = Field(default=1.0, ge=0)
    """How long registrations are collected before they are passed on together."""
    batch_size: int = Field(default=200, ge=1, le=1000)
    rate: float | None = Field(default=None, gt=0)
    """Devices a second that are passed on, over all; None: as they come. What waits stays stored."""
    rate_window_s: float = Field(default=10.0, gt=0)
    """With a rate: so many seconds' worth of devices go on together, in one run."""
    poll_s: float = Field(default=1.0, gt=0)
    """How often the ledger is asked for what another gateway, or this one before a restart, has stored."""
    resend_after_s: float = Field(default=90.0, gt=0)
    """A batch that no run has claimed by then is sent again; the pause doubles each time, up to an hour."""
    reclaim_after_s: float = Field(default=120.0, gt=0)
    """A batch whose run has not renewed its claim for this long is sent again: the run is dead."""
    remember_s: float = Field(default=2 * 86400.0, ge=86400)
    """How long an event's id is remembered: at least a day."""


class GatewaySettings(IntakeSettings):
    """What the HTTP side needs besides. Several secrets may be active at once, so that they can be changed without a
    gap.
    """

    tokens: tuple[SecretStr, ...] = ()
    hmac_keys: tuple[SecretStr, ...] = ()
    signature_age_s: int = Field(default=300, ge=1)
    """How far a signature's timestamp may be from now."""
    allowed_origins: tuple[str, ...] = ("eventgrid.azure.net",)
    """Senders that may announce themselves with the CloudEvents OPTIONS handshake."""
    allowed_rate: int = Field(default=6000, ge=1)
    """Requests a minute that a sender is told it may send."""
    body_timeout_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _has_usable_secrets(self) -> GatewaySettings:
        for field, secrets in (("tokens", self.tokens), ("hmac_keys", self.hmac_keys)):
            if any(len(secret.get_secret_value()) < 16 for secret in secrets):
                raise InvalidInput("A secret of the gateway has fewer than 16 characters", field=field)
        if not self.tokens and not self.hmac_keys:
            remedy = "Set EDGE_GATEWAY_TOKENS or EDGE_GATEWAY_HMAC_KEYS to a JSON list of secrets"
            raise InvalidInput("The gateway has no secret, so it could let nobody in", field="tokens", remedy=remedy)
        return self
