"""Sites and tenants: a site is one cluster at one place."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.names import SiteName, TenantName


class OfflinePolicy(StrEnum):
    """What a missing site means for a rollout."""

    NORMAL = "normal"
    """The site should be there: it is tried, and its absence counts as a failure."""
    EXPECTED = "expected"
    """The site is often away: its absence uses none of the failure budget."""
    ERROR = "error"
    """The site must be there: its absence stops the rollout whatever the budget."""


class SiteState(StrEnum):
    """Where a site is in its life."""

    KNOWN = "known"
    """Named in the ledger, not yet connected."""
    CONNECTED = "connected"
    DECOMMISSIONED = "decommissioned"


class Tenant(Value):
    """Who owns sites."""

    name: TenantName
    display_name: str = ""


class Site(Value):
    """One cluster at one place.

    `arc_id` is the Azure resource id when the site is connected through Azure Arc, else None: a site needs only a
    kubeconfig. The credential itself is never here; the site credentials source finds it by the site's name.
    """

    name: SiteName
    tenant: TenantName = "default"
    region: str = "unknown"
    role: str = "edge"
    labels: dict[str, str] = {}
    when_offline: OfflinePolicy = OfflinePolicy.NORMAL
    time_zone: str = "UTC"
    state: SiteState = SiteState.KNOWN
    arc_id: str | None = None
    stamp: str | None = None
    """Name of the stamp that the assignment rule wants here; None: none."""
    arc_resource_group: str | None = None
    """Where its connected cluster lives; None: as the Arc subscription says."""
    arc_location: str | None = None


class SiteIdentity(Value):
    """The clock of a site's Arc identity, as Azure last told it.

    The certificate lasts 90 days and renews itself between day 46 and day 90, when the site is in contact.
    """

    site: SiteName
    expires_at: AwareDatetime | None = None
    last_connected_at: AwareDatetime | None = None
    connectivity: str = ""
    seen_at: AwareDatetime


class SiteSelector(Value):
    """Which sites: those that match everything that is set. Nothing set means all."""

    names: tuple[SiteName, ...] = ()
    tenant: TenantName | None = None
    region: str | None = None
    role: str | None = None
    labels: dict[str, str] = {}
