"""The right to write to a site, for as long as a run works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge.clients.kubernetes import SiteClient
from edge.clients.site_lease import SiteLease
from edge.errors import EdgeError, SiteSilent, SiteUnreachable

LASTS_S = 120.0
"""How long a site waits for a run that says nothing any more, before another run may have it."""


@contextmanager
def fenced(client: SiteClient, site: str, holder: str, *, lasts_s: float = LASTS_S) -> Iterator[SiteClient]:
    """A client of the site whose writes carry a token, for as long as nobody has taken the site over.

    `holder` names the run; the same name takes over from itself at once, as a run that is started again does, and
    from others when their `lasts_s` seconds are over. The client's own calls renew the lease, waiting for health
    included. Raises NotYet with `holder` and `until` when another run has the site; a write of a run that was
    overtaken raises FencedOff. `client.fence` says the token and who guards it.
    """
    try:
        lease = SiteLease(client, site, holder, lasts_s)
    except EdgeError as error:
        error.where.setdefault("site", site)
        raise
    try:
        yield lease.client
    except (SiteUnreachable, SiteSilent):
        raise  # A site that is away is not asked again: its lease ends by itself.
    except BaseException:
        lease.release()
        raise
    lease.release()
