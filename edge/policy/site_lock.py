"""A site's own lock: people at a site say "not now" by an annotation on the platform's namespace there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from edge.errors import InvalidInput
from edge.model.kube import KubeObject, ObjectRef
from edge.model.placement import HoldKind, SiteHold
from edge.policy.fencing import NAMESPACE

HOLD_UNTIL: Final = "edge-platform.io/hold-until"
HOLD_REASON: Final = "edge-platform.io/hold-reason"
BY_THE_SITE: Final = "the site"
"""Who holds it, on record."""

PLACE: Final = ObjectRef(api_version="v1", kind="Namespace", name=NAMESPACE)


def lock_of(namespace: KubeObject, site: str, now: datetime) -> SiteHold | None:
    """The lock that is in force; None without one, or when it is over.

    A time without a zone is UTC. Raises InvalidInput for an annotation that is no time: what people meant is not
    guessed, and the site is left alone.
    """
    annotations = namespace["metadata"].get("annotations") or {}
    said = str(annotations.get(HOLD_UNTIL) or "").strip()
    if not said:
        return None
    try:
        until = datetime.fromisoformat(said)
    except ValueError as error:
        remedy = "Write 2027-03-01T18:00Z, or remove the annotation"
        raise InvalidInput(
            "The site's own lock has no time that can be read", remedy=remedy, site=site, field=HOLD_UNTIL, value=said
        ) from error
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    if until <= now:
        return None
    reason = str(annotations.get(HOLD_REASON) or "").strip()[:500] or "The site did not say why"
    return SiteHold(site=site, kind=HoldKind.ROLLOUTS, until=until, reason=reason, by=BY_THE_SITE)
