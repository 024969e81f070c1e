"""Whether a site itself says "not now", which counts like a hold in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.clients.kubernetes import SiteClient
from edge.errors import NotFound
from edge.model.placement import SiteHold
from edge.policy.site_lock import PLACE, lock_of
from tasks.waves import WavesJob


def is_locked(job: WavesJob, client: SiteClient, site: str) -> bool:
    """Whether the site is locked; its lock is on record then, so that the rollout waits for its end by its own rule.

    Raises InvalidInput when the site's annotation cannot be read.
    """
    found = _lock(client, site)
    if found is not None:
        job.ledger.holds.put(found)
    return found is not None


def _lock(client: SiteClient, site: str) -> SiteHold | None:
    try:
        return lock_of(client.get(PLACE), site, datetime.now(UTC))
    except NotFound:  # the platform was never here
        return None
