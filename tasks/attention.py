"""Tells whoever listens which devices a person must look at: no later run mends them by itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from prefect.events import emit_event

from edge.model.bulk import CauseGroup
from edge.model.outcome import Outcome
from edge.policy.bulk import by_cause, needing_attention

NEEDS_ATTENTION = "edge.device.needs-attention"
_MOST = 500
"""Names in one event: it must stay small."""


def escalate(outcomes: Sequence[Outcome], given_up: Collection[str] = ()) -> int:
    """One event for each cause, with the devices and what to do; answers how many were sent.

    An automation on `edge.device.needs-attention` makes a mail, a ticket or a call of it.
    """
    groups = [group for group in needing_attention(by_cause(outcomes), given_up) if group.code != "decommissioned"]
    for group in groups:
        _tell(group)
    return len(groups)


def _tell(group: CauseGroup) -> None:
    resource = {"prefect.resource.id": f"edge.cause.{group.name}", "prefect.resource.name": group.name}
    shown = group.devices[:_MOST]
    payload = group.model_dump(mode="json") | {"devices": list(shown), "count": len(group.devices)}
    emit_event(event=NEEDS_ATTENTION, resource=resource, payload=payload)
