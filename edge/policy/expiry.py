"""Which sites will lose their identity in Azure, and by when somebody must go there.

A site renews its identity by itself between day 46 and day 90 of the certificate, when it is in contact. What decides
is therefore how long a dark site will stay dark. Nobody knows that; what is known is how long it has been dark, and a
site that has been away for a time is expected to be away for as long again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from edge.model.expiry import ExpiryPlan, ExpiryRules, IdentityOutlook
from edge.model.site import SiteIdentity

NEEDS_VISIT = (IdentityOutlook.EXPIRED, IdentityOutlook.WILL_EXPIRE)
"""Where waiting does not help."""

GONE = "NotFound"
"""Our word for the connectivity of a site whose connected cluster is no longer in Azure."""

DEFAULT_RULES = ExpiryRules()

_URGENCY = {outlook: rank for rank, outlook in enumerate(IdentityOutlook)}
_NOTHING = timedelta(0)


def plan_expiry(
    identities: Sequence[SiteIdentity], *, now: datetime, rules: ExpiryRules = DEFAULT_RULES
) -> tuple[ExpiryPlan, ...]:
    """What to do about each identity, the most urgent first.

    `now` counts for at least as late as Azure last heard of any of the sites: our clock may be behind Azure's.
    """
    at = as_of(identities, now)
    return tuple(sorted((site_expiry(one, now=at, rules=rules) for one in identities), key=_urgency))


def as_of(identities: Iterable[SiteIdentity], now: datetime) -> datetime:
    """The later of `now` and the last time that Azure is known to have heard of anybody."""
    heard = [one.last_connected_at for one in identities if one.last_connected_at is not None]
    return max([now, *heard])


def site_expiry(identity: SiteIdentity, *, now: datetime, rules: ExpiryRules = DEFAULT_RULES) -> ExpiryPlan:
    """What to do about one identity."""
    last, end = identity.last_connected_at, identity.expires_at
    dark_for = None if last is None else max(now - last, _NOTHING)
    plan = ExpiryPlan(
        site=identity.site,
        outlook=IdentityOutlook.NEVER_SEEN,
        last_connected_at=last,
        expires_at=end,
        dark_for=dark_for,
    )
    if identity.connectivity == GONE:
        why = "Azure has no connected cluster for it: connect the site anew"
        return plan.model_copy(update={"outlook": IdentityOutlook.EXPIRED, "why": why})
    if end is None:
        return plan.model_copy(update={"why": "It has never called in"})
    rest = max(end - now, _NOTHING)
    outlook, why = _outlook(identity, now, rules)
    return plan.model_copy(
        update={
            "outlook": outlook,
            "why": why,
            "day": (now - (end - rules.life)).days,
            "may_stay_dark": rest,
            "visit_by": end - rules.margin if outlook in NEEDS_VISIT or _is_dark(identity, now, rules) else None,
        }
    )


def due(plans: Iterable[ExpiryPlan], within: timedelta) -> tuple[ExpiryPlan, ...]:
    """Those whose identity ends within that time, and those that need a visit anyway; in the order given."""
    return tuple(
        plan for plan in plans if needs_visit(plan) or (plan.may_stay_dark is not None and plan.may_stay_dark <= within)
    )


def plan_row(plan: ExpiryPlan) -> dict[str, str]:
    """The plan as a row for people: days are whole, times UTC."""
    return {
        "site": plan.site,
        "outlook": plan.outlook.value,
        "day": "" if plan.day is None else str(plan.day),
        "expires": _date(plan.expires_at),
        "visit_by": _date(plan.visit_by),
        "last_contact": _date(plan.last_connected_at),
        "may_stay_dark": "" if plan.may_stay_dark is None else f"{plan.may_stay_dark.days} d",
        "why": plan.why,
    }


def needs_visit(plan: ExpiryPlan) -> bool:
    """Whether somebody must go there."""
    return plan.outlook in NEEDS_VISIT


def _outlook(identity: SiteIdentity, now: datetime, rules: ExpiryRules) -> tuple[IdentityOutlook, str]:
    end = identity.expires_at
    assert end is not None
    if identity.connectivity == "Expired":
        return IdentityOutlook.EXPIRED, "Azure says so: connect the site anew"
    if now >= end:
        return IdentityOutlook.EXPIRED, "Its certificate has ended: connect the site anew"
    dark, in_window = _is_dark(identity, now, rules), now >= end - rules.life + rules.renews_after
    if not dark:
        return (IdentityOutlook.RENEWS, "It renews itself") if in_window else (IdentityOutlook.FINE, "It is in contact")
    stays = _stays_dark(identity, now, end, rules)
    if stays:
        return IdentityOutlook.WILL_EXPIRE, stays
    if in_window:
        return IdentityOutlook.WINDOW_DARK, "It renews itself as soon as it is in contact"
    return IdentityOutlook.FINE, "It is dark, with time left before it must renew"


def _is_dark(identity: SiteIdentity, now: datetime, rules: ExpiryRules) -> bool:
    last = identity.last_connected_at
    return identity.connectivity != "Connected" or last is None or now - last > rules.dark_after


def _stays_dark(identity: SiteIdentity, now: datetime, end: datetime, rules: ExpiryRules) -> str:
    """Why a dark site is not expected back in time; "" when it may be."""
    if now >= end - rules.margin:
        return f"Less than {rules.margin.days} days are left"
    last = identity.last_connected_at
    if last is None or now - last >= end - now:
        gone = "ever" if last is None else f"{(now - last).days} days"
        return f"It has been dark for {gone}, and {(end - now).days} days are left"
    return ""


def _date(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _urgency(plan: ExpiryPlan) -> tuple[int, float, str]:
    end = plan.expires_at.timestamp() if plan.expires_at else float("inf")
    return (_URGENCY[plan.outlook], end, plan.site)
