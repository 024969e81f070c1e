"""When a site's identity in Azure ends, and whether somebody must go there before."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.names import SiteName


class IdentityOutlook(StrEnum):
    """How a site's identity will fare. The text is a contract: it stands in reports and events."""

    EXPIRED = "expired"
    """It has ended: no waiting brings it back, the site must be connected anew."""
    WILL_EXPIRE = "will-expire-in-the-dark"
    """The site is dark and is not expected back in time."""
    WINDOW_DARK = "renewal-window-and-dark"
    """It could renew itself now, if it were in contact."""
    NEVER_SEEN = "never-seen"
    """The site has never called in: it has no identity yet that could end."""
    RENEWS = "renews-when-it-calls"
    """It is in the renewal window and in contact."""
    FINE = "fine"


class ExpiryRules(Value):
    """The clock of an identity, and how carefully to plan with it."""

    life: timedelta = timedelta(days=90)
    renews_after: timedelta = timedelta(days=46)
    margin: timedelta = timedelta(days=7)
    """A visit is planned this long before the end."""
    dark_after: timedelta = timedelta(days=1)
    """Who was last in contact longer ago counts as dark, whatever Azure said then: what is on record may be old."""


class ExpiryPlan(Value):
    """One site's identity, and what follows. Times are UTC; ages and rests are never negative but for a clock ahead.

    `visit_by` is set where somebody must go, and may be in the past: then at once. `may_stay_dark` is how long the site
    can be without contact, from now, until its identity ends.
    """

    site: SiteName
    outlook: IdentityOutlook
    expires_at: AwareDatetime | None = None
    day: int | None = None
    """Which day of the certificate's life it is, from 0."""
    last_connected_at: AwareDatetime | None = None
    dark_for: timedelta | None = None
    may_stay_dark: timedelta | None = None
    visit_by: AwareDatetime | None = None
    why: str = ""
