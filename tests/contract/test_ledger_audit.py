"""The audit trail in a database: what a person with SQL does to it is found."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from edge.errors import ChainBroken, InvalidInput, LedgerMismatch
from edge.ledger import Ledger
from edge.model.audit import VerifiedChain
from edge.model.site import Site


def run_sql(url: str, *statements: str) -> None:
    """What somebody with the database's password can do."""
    target = make_url(url)
    if target.get_backend_name() == "postgresql":
        target = target.set(drivername="postgresql+psycopg")
    engine = create_engine(target)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def tamper(url: str, *statements: str) -> None:
    """The same, after taking off what makes the table append-only."""
    if url.startswith("sqlite"):
        run_sql(url, "DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", *statements)
    else:
        run_sql(url, "ALTER TABLE audit DISABLE TRIGGER ALL", *statements)


@pytest.fixture
def trail(ledger: Ledger) -> VerifiedChain:
    """Five rows."""
    for number in range(1, 6):
        ledger.audit.append("me", "site.added", f"s{number}", {"n": number, "share": 0.5, "good": True, "none": None})
    return ledger.audit.verify()


def test_an_empty_trail_verifies(ledger: Ledger) -> None:
    assert ledger.audit.verify() == VerifiedChain(count=0, head="0" * 64)


def test_rows_come_back_as_they_were_added(ledger: Ledger) -> None:
    detail = {"n": 1, "share": 1.0, "text": "ü\n\x07", "good": False, "none": None}
    entry = ledger.audit.append("me", "site.added", "s1", detail)
    assert ledger.audit.entries() == (entry,)
    assert entry.at == datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)
    assert repr(sorted(ledger.audit.entries()[0].detail.items())) == repr(sorted(detail.items()))
    assert ledger.audit.verify() == VerifiedChain(count=1, head=entry.digest)


def test_rows_are_read_on_from_a_place(ledger: Ledger, trail: VerifiedChain) -> None:
    assert [entry.sequence for entry in ledger.audit.entries(after=2, limit=2)] == [3, 4]


def test_a_long_trail_verifies(ledger: Ledger) -> None:
    threads = [
        threading.Thread(target=lambda: [ledger.audit.append("me", "a", "s") for _ in range(70)]) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.audit.verify().count == 1400


@pytest.mark.parametrize(
    ("statements", "first_bad"),
    [
        pytest.param(["UPDATE audit SET subject = 'x' WHERE sequence = 3"], 3, id="edited-subject"),
        pytest.param(["UPDATE audit SET detail = '{}' WHERE sequence = 3"], 3, id="edited-detail"),
        pytest.param(["UPDATE audit SET detail = 'no' WHERE sequence = 3"], 3, id="unreadable-detail"),
        pytest.param(["UPDATE audit SET at = '2020-01-01 00:00:00.000000' WHERE sequence = 3"], 3, id="edited-time"),
        pytest.param(["DELETE FROM audit WHERE sequence = 2"], 2, id="removed"),
        pytest.param(
            [
                "DELETE FROM audit WHERE sequence = 2",
                "UPDATE audit SET sequence = 2 WHERE sequence = 3",
                "UPDATE audit SET sequence = 3 WHERE sequence = 4",
                "UPDATE audit SET sequence = 4 WHERE sequence = 5",
            ],
            2,
            id="removed-and-renumbered",
        ),
        pytest.param(
            [
                "UPDATE audit SET sequence = 99 WHERE sequence = 2",
                "UPDATE audit SET sequence = 2 WHERE sequence = 4",
                "UPDATE audit SET sequence = 4 WHERE sequence = 99",
            ],
            2,
            id="reordered",
        ),
        pytest.param(["DELETE FROM audit WHERE sequence = 5"], 5, id="removed-at-the-end"),
        pytest.param(["DELETE FROM audit"], 1, id="all-removed"),
    ],
)
def test_a_row_that_was_tampered_with_is_named(
    ledger: Ledger, ledger_url: str, trail: VerifiedChain, statements: list[str], first_bad: int
) -> None:
    tamper(ledger_url, *statements)
    with pytest.raises(ChainBroken) as found:
        ledger.audit.verify()
    assert found.value.where["sequence"] == str(first_bad)


def test_a_trail_shortened_together_with_its_head_is_found_by_a_head_kept_elsewhere(
    ledger: Ledger, ledger_url: str, trail: VerifiedChain
) -> None:
    third = ledger.audit.entries()[2]
    moved = f"UPDATE audit_head SET count = 3, digest = '{third.digest}'"
    tamper(ledger_url, "DELETE FROM audit WHERE sequence > 3", moved)
    assert ledger.audit.verify().count == 3
    with pytest.raises(ChainBroken) as found:
        ledger.audit.verify(trail)
    assert found.value.where["sequence"] == "4"


def test_a_trail_goes_on_from_a_head_kept_elsewhere(ledger: Ledger, trail: VerifiedChain) -> None:
    ledger.audit.append("me", "site.added", "s6")
    assert ledger.audit.verify(trail).count == 6


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE audit SET subject = 'x'", id="update"),
        pytest.param("DELETE FROM audit", id="delete"),
    ],
)
def test_the_database_itself_refuses_to_change_rows(
    ledger: Ledger, ledger_url: str, trail: VerifiedChain, statement: str
) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        run_sql(ledger_url, statement)
    assert ledger.audit.verify() == trail


def test_a_change_that_fails_leaves_no_row(ledger: Ledger) -> None:
    ledger.sites.put(Site(name="s1", tenant="one"))
    before = ledger.audit.verify()
    with pytest.raises(LedgerMismatch):
        ledger.sites.put(Site(name="s1", tenant="two"))
    assert ledger.audit.verify() == before


@pytest.mark.parametrize(
    "detail", [pytest.param({"a": {"b": 1}}, id="nested"), pytest.param({"a": float("nan")}, id="not-a-number")]
)
def test_a_detail_that_is_not_flat_json_is_refused(ledger: Ledger, detail: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        ledger.audit.append("me", "site.added", "s1", detail)
    assert ledger.audit.verify().count == 0


def test_what_looks_like_a_secret_does_not_enter_the_trail(ledger: Ledger) -> None:
    entry = ledger.audit.append("me", "login", "s1", {"token": "abc"})
    assert entry.detail == {"token": "[redacted]"}
    assert ledger.audit.verify().count == 1
