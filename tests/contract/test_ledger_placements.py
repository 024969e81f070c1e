"""What sites have, what failed there, and which sites ask to be left alone."""

from __future__ import annotations

from datetime import timedelta

from edge.ledger import Ledger
from edge.model.drift import DriftKind, Finding
from edge.model.kube import ObjectRef
from edge.model.placement import FailedVersion, HoldKind, Placement, SiteHold
from tests.contract.conftest import START
from tests.contract.ledger_rollouts import actions

REF = ObjectRef(api_version="apps/v1", kind="Deployment", name="web", namespace="line")
PLACED = Placement(
    site="s1",
    stamp="line",
    version="1.0.0",
    digest="a" * 64,
    content="c" * 64,
    rollout_id="r1",
    at=START,
    inventory=(REF,),
    parameters={"x": "1"},
)
FAILED = FailedVersion(
    site="s1", stamp="line", version="1.0.0", digest="a" * 64, rollout_id="r1", at=START, reason="not healthy"
)


def hold(kind: HoldKind = HoldKind.ROLLOUTS, hours: int = 1, reason: str = "busy") -> SiteHold:
    return SiteHold(site="s1", kind=kind, until=START + timedelta(hours=hours), reason=reason, by="ann")


def test_what_a_site_has_comes_back_with_its_objects(book: Ledger) -> None:
    book.placements.put(PLACED)
    assert book.placements.get("s1", "line") == PLACED
    assert book.placements.get("s1", "other") is None


def test_a_new_version_takes_the_place_of_the_old_one(ledger: Ledger) -> None:
    newer = PLACED.model_copy(update={"version": "2.0.0", "digest": "b" * 64, "inventory": ()})
    for placed in (PLACED, PLACED, newer):
        ledger.placements.put(placed)
    assert ledger.placements.of_site("s1") == (newer,)
    assert [entry.detail["version"] for entry in ledger.audit.entries()] == ["1.0.0", "2.0.0"]


def test_placements_are_found_by_site_and_by_stamp(book: Ledger) -> None:
    for site, stamp in (("s2", "line"), ("s1", "line"), ("s1", "base")):
        book.placements.put(PLACED.model_copy(update={"site": site, "stamp": stamp}))
    assert [placed.stamp for placed in book.placements.of_site("s1")] == ["base", "line"]
    assert [placed.site for placed in book.placements.of_stamp("line")] == ["s1", "s2"]
    assert len(book.placements.list()) == 3


def test_what_was_taken_off_a_site_is_gone(book: Ledger) -> None:
    book.placements.put(PLACED)
    assert [book.placements.drop("s1", "line") for _ in range(2)] == [True, False]
    assert book.placements.get("s1", "line") is None
    assert actions(book) == ["placement.put", "placement.dropped"]


def test_a_version_that_failed_on_a_site_is_known_by_its_content(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.placements.fail(FAILED)
    assert ledger.placements.failed("line", "a" * 64) == {"s1"}
    assert ledger.placements.failed("line", "b" * 64) == frozenset()
    assert ledger.placements.failures("s1") == (FAILED,)


def test_a_version_that_works_on_a_site_has_not_failed_there_any_more(book: Ledger) -> None:
    book.placements.fail(FAILED)
    book.placements.fail(FAILED.model_copy(update={"digest": "b" * 64}))
    book.placements.put(PLACED)
    book.placements.put(PLACED)
    assert [failed.digest for failed in book.placements.failures("s1")] == ["b" * 64]
    assert actions(book).count("placement.forgiven") == 1


def test_why_it_failed_is_stored_without_what_looks_like_a_secret(book: Ledger) -> None:
    book.placements.fail(FAILED.model_copy(update={"reason": "cannot pull https://me:hunter2@registry/x"}))
    assert "hunter2" not in book.placements.failures("s1")[0].reason
    assert "hunter2" not in str(book.audit.entries())


def test_a_hold_is_in_force_until_its_moment_comes(book: Ledger) -> None:
    book.holds.put(hold())
    for kind, later, found in (
        (HoldKind.ROLLOUTS, timedelta(minutes=59), hold()),
        (HoldKind.ROLLOUTS, timedelta(hours=1), None),
        (HoldKind.DRIFT, timedelta(), None),
    ):
        assert book.holds.get("s1", kind, now=START + later) == found
        assert book.holds.all(kind, now=START + later) == ({"s1": found} if found else {})


def test_a_new_hold_takes_the_place_of_the_one_of_its_kind(ledger: Ledger) -> None:
    longer = hold(hours=5, reason="still busy")
    for one in (hold(), longer, hold(HoldKind.DRIFT)):
        ledger.holds.put(one)
    assert ledger.holds.get("s1", HoldKind.ROLLOUTS, now=START) == longer
    assert ledger.holds.get("s1", HoldKind.DRIFT, now=START) == hold(HoldKind.DRIFT)


def test_a_site_is_let_go_and_the_trail_says_by_whom(book: Ledger) -> None:
    book.holds.put(hold())
    assert [book.holds.drop("s1", HoldKind.ROLLOUTS, by="ben") for _ in range(2)] == [True, False]
    assert book.holds.all(HoldKind.ROLLOUTS, now=START) == {}
    assert [(entry.action, entry.actor) for entry in book.audit.entries()] == [
        ("site.held", "ann"),
        ("site.released", "ben"),
    ]


def test_drift_is_on_record_from_its_first_sight_until_it_is_gone(ledger: Ledger) -> None:
    ledger.placements.put(PLACED)
    found = Finding(site="s1", stamp="line", kind=DriftKind.CHANGED, ref=REF, path=".spec.replicas", found="3")
    assert ledger.drift.record("s1", "line", []) == ()
    [first] = ledger.drift.record("s1", "line", [found])
    [again] = ledger.drift.record("s1", "line", [found.model_copy(update={"found": "4"})])
    assert (again.first_seen, again.found) == (first.first_seen, "4")
    assert again.last_seen != first.last_seen
    assert ledger.drift.list() == (again,) == ledger.drift.list(site="s1")
    assert ledger.drift.record("s1", "line", [], mended=True) == ()
    assert ledger.drift.list() == ()
    assert actions(ledger) == ["placement.put", "drift.found", "drift.mended"]
