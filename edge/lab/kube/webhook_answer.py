"""What an admission webhook of the lab answers, as data for annotations and for the weather."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from edge.model.base import Value


class WebhookMode(StrEnum):
    """How a webhook behaves."""

    ALLOW = "allow"
    REJECT = "reject"
    SILENT = "silent"
    """It never answers: the API server gives up after the webhook's `timeoutSeconds`."""
    REFUSED = "refused"
    """Nobody listens."""
    ERROR = "error"
    """It answers 500."""


class WebhookAnswer(Value):
    """What a webhook answers. `code` and `message` are of a refusal; `delay_s` lab seconds pass first."""

    mode: WebhookMode = WebhookMode.ALLOW
    message: str = ""
    code: Annotated[int, Field(ge=400, le=599)] = 403
    delay_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
