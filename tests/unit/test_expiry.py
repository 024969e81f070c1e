"""Which sites lose their identity in the dark, and by when somebody must go there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.model.expiry import IdentityOutlook as Outlook
from edge.model.site import SiteIdentity
from edge.policy.expiry import as_of, due, needs_visit, plan_expiry, site_expiry

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
END = ISSUED + timedelta(days=90)
SECOND = timedelta(seconds=1)


def seen(
    last: datetime | None = ISSUED, connectivity: str = "Connected", *, end: datetime | None = END, site: str = "s"
) -> SiteIdentity:
    return SiteIdentity(site=site, expires_at=end, last_connected_at=last, connectivity=connectivity, seen_at=ISSUED)


def day(number: float) -> datetime:
    return ISSUED + timedelta(days=number)


@pytest.mark.parametrize(
    ("identity", "now", "outlook"),
    [
        pytest.param(seen(day(10)), day(10), Outlook.FINE, id="young-and-in-contact"),
        pytest.param(seen(day(46)), day(46) - SECOND, Outlook.FINE, id="a-second-before-day-46"),
        pytest.param(seen(day(46)), day(46), Outlook.RENEWS, id="day-46-exactly"),
        pytest.param(seen(day(40), "Offline"), day(46) - SECOND, Outlook.FINE, id="dark-before-the-window"),
        pytest.param(seen(day(40), "Offline"), day(46), Outlook.WINDOW_DARK, id="dark-at-day-46"),
        pytest.param(seen(day(60)), day(61), Outlook.RENEWS, id="a-day-without-contact-is-contact"),
        pytest.param(seen(day(60)), day(61) + SECOND, Outlook.WINDOW_DARK, id="more-than-a-day-is-dark"),
        pytest.param(seen(day(50), "Offline"), day(70) - SECOND, Outlook.WINDOW_DARK, id="away-less-than-is-left"),
        pytest.param(seen(day(50), "Offline"), day(70), Outlook.WILL_EXPIRE, id="away-as-long-as-is-left"),
        pytest.param(seen(day(1), "Offline"), day(45.5), Outlook.WILL_EXPIRE, id="long-dark-before-the-window"),
        pytest.param(seen(day(82), "Offline"), day(83) - SECOND, Outlook.WINDOW_DARK, id="before-the-margin"),
        pytest.param(seen(day(82), "Offline"), day(83), Outlook.WILL_EXPIRE, id="the-margin-has-begun"),
        pytest.param(seen(day(90), "Connected"), day(90) - SECOND, Outlook.RENEWS, id="a-second-before-day-90"),
        pytest.param(seen(day(90), "Connected"), day(90), Outlook.EXPIRED, id="day-90-exactly"),
        pytest.param(seen(day(5), "Expired"), day(6), Outlook.EXPIRED, id="azure-says-expired"),
        pytest.param(seen(None, "Connecting", end=None), day(6), Outlook.NEVER_SEEN, id="never-seen"),
        pytest.param(seen(None, "Offline"), day(6), Outlook.WILL_EXPIRE, id="an-end-but-no-contact-on-record"),
        pytest.param(seen(day(20)), day(10), Outlook.FINE, id="last-contact-in-our-future"),
        pytest.param(seen(day(-3), "Connected"), day(-3), Outlook.FINE, id="issued-in-our-future"),
    ],
)
def test_the_outlook_follows_from_the_day_and_the_contact(
    identity: SiteIdentity, now: datetime, outlook: Outlook
) -> None:
    assert site_expiry(identity, now=now).outlook is outlook


def test_a_dark_site_has_a_date_to_visit_it_by_and_how_long_it_may_stay_dark() -> None:
    plan = site_expiry(seen(day(50), "Offline"), now=day(80))
    assert (plan.visit_by, plan.may_stay_dark, plan.dark_for) == (day(83), timedelta(days=10), timedelta(days=30))
    assert (plan.day, needs_visit(plan)) == (80, True)
    assert "30 days" in plan.why
    assert "10 days are left" in plan.why


def test_nobody_is_sent_to_a_site_that_is_in_contact() -> None:
    plan = site_expiry(seen(day(60)), now=day(60))
    assert (plan.visit_by, needs_visit(plan), plan.may_stay_dark) == (None, False, timedelta(days=30))


def test_an_expired_site_may_not_stay_dark_any_longer_and_its_visit_is_overdue() -> None:
    plan = site_expiry(seen(day(5), "Offline"), now=day(100))
    assert (plan.may_stay_dark, plan.visit_by, plan.day) == (timedelta(0), day(83), 100)


def test_a_clock_of_ours_that_is_behind_azures_is_set_right_by_what_azure_heard_last() -> None:
    fleet = [seen(day(5), "Offline", site="dark"), seen(day(100), end=day(150), site="awake")]
    assert as_of(fleet, day(10)) == day(100)
    assert as_of(fleet, day(101)) == day(101)
    assert {plan.site: plan.outlook for plan in plan_expiry(fleet, now=day(10))} == {
        "dark": Outlook.EXPIRED,
        "awake": Outlook.FINE,
    }


def test_the_most_urgent_comes_first() -> None:
    fleet = [
        seen(day(69), site="awake", end=day(140)),
        seen(None, "Connecting", end=None, site="new"),
        seen(day(69), "Offline", site="window", end=day(100)),
        seen(day(30), "Offline", site="later", end=day(95)),
        seen(day(30), "Offline", site="sooner"),
        seen(day(5), "Expired", site="gone", end=day(60)),
        seen(day(69), site="renews", end=day(110)),
    ]
    planned = plan_expiry(fleet, now=day(70))
    assert [plan.site for plan in planned] == ["gone", "sooner", "later", "window", "new", "renews", "awake"]
    assert [plan.site for plan in due(planned, timedelta(days=25))] == ["gone", "sooner", "later"]
