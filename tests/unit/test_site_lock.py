"""A site's own lock, as its annotation says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.errors import InvalidInput
from edge.model.placement import HoldKind
from edge.policy.fencing import namespace_object
from edge.policy.site_lock import BY_THE_SITE, HOLD_REASON, HOLD_UNTIL, lock_of

NOW = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)


def said(until: str, reason: str = "") -> dict[str, Any]:
    found = namespace_object()
    found["metadata"]["annotations"] = {HOLD_UNTIL: until, HOLD_REASON: reason}
    return found


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2026-05-02T13:00Z", NOW + timedelta(hours=1)),
        ("2026-05-02T13:00", NOW + timedelta(hours=1)),
        ("2026-05-02T15:00+02:00", NOW + timedelta(hours=1)),
        (" 2026-05-03 ", NOW + timedelta(hours=12)),
        ("2026-05-02T12:00:00Z", None),
        ("2026-05-01", None),
        ("", None),
    ],
    ids=["in UTC", "without a zone", "in its own zone", "a day", "just over", "over", "empty"],
)
def test_a_lock_is_in_force_until_its_time(until: str, expected: datetime | None) -> None:
    found = lock_of(said(until), "s", NOW)
    assert (found.until if found else None) == expected


def test_a_lock_says_who_and_why() -> None:
    found, silent = lock_of(said("2027-01-01", " stocktaking "), "s", NOW), lock_of(said("2027-01-01"), "s", NOW)
    assert found is not None
    assert silent is not None
    assert (found.site, found.kind, found.reason, found.by) == ("s", HoldKind.ROLLOUTS, "stocktaking", BY_THE_SITE)
    assert silent.reason == "The site did not say why"


def test_a_namespace_without_annotations_is_no_lock() -> None:
    assert lock_of(namespace_object(), "s", NOW) is None


@pytest.mark.parametrize("until", ["next friday", "1777723200", "2026-13-01"], ids=["words", "a number", "no month"])
def test_what_is_no_time_is_refused_by_name(until: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        lock_of(said(until), "s", NOW)
    assert refused.value.where == {"site": "s", "field": HOLD_UNTIL, "value": until}
