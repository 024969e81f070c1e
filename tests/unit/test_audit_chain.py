"""The hash chain finds what was edited, removed or reordered, and names the first bad row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ChainBroken
from edge.model.audit import AuditEntry, VerifiedChain
from edge.policy.audit import NOTHING, append, canonical, verify
from edge.policy.redact import text_without_secrets, without_secrets

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def entry(number: int, **changes: object) -> AuditEntry:
    fields = {"sequence": 1, "at": AT + timedelta(seconds=number), "actor": "me", "action": "site.added"}
    return AuditEntry.model_validate(
        {**fields, "subject": f"s{number}", "detail": {"n": number}, "previous": "", "digest": "", **changes}
    )


def trail(length: int, start: VerifiedChain = NOTHING) -> list[AuditEntry]:
    rows: list[AuditEntry] = []
    chain = start
    for number in range(1, length + 1):
        rows.append(append(chain, entry(number)))
        chain = head(rows)
    return rows


def head(rows: list[AuditEntry]) -> VerifiedChain:
    return VerifiedChain(count=rows[-1].sequence, head=rows[-1].digest)


ROWS = trail(5)
HEAD = head(ROWS)


def test_an_untouched_trail_verifies() -> None:
    assert verify(ROWS, HEAD) == HEAD


def test_an_empty_trail_verifies() -> None:
    assert verify([], NOTHING) == VerifiedChain(count=0, head="0" * 64)


def test_the_digest_is_what_the_documentation_says() -> None:
    first = append(NOTHING, entry(1, detail={"b": "ü", "a": 1.5, "c": None}))
    text = f'["{"0" * 64}",1,"2026-03-01T12:30:01.000000+00:00","me","site.added","s1",{{"a":1.5,"b":"ü","c":null}}]'
    assert first.digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_does_not_depend_on_the_time_zone_a_time_is_given_in() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))
    assert append(NOTHING, entry(1, at=AT)).digest == append(NOTHING, entry(1, at=elsewhere)).digest


def _edited(rows: list[AuditEntry]) -> None:
    rows[2] = rows[2].model_copy(update={"subject": "another"})


def _edited_with_new_digest(rows: list[AuditEntry]) -> None:
    rows[2] = append(head(rows[:2]), rows[2].model_copy(update={"subject": "another"}))


def _removed_in_the_middle(rows: list[AuditEntry]) -> None:
    del rows[2]


def _removed_and_renumbered(rows: list[AuditEntry]) -> None:
    del rows[2]
    rows[2:] = [row.model_copy(update={"sequence": row.sequence - 1}) for row in rows[2:]]


def _removed_first(rows: list[AuditEntry]) -> None:
    del rows[0]


def _swapped(rows: list[AuditEntry]) -> None:
    rows[2], rows[3] = rows[3], rows[2]


def _swapped_and_renumbered(rows: list[AuditEntry]) -> None:
    rows[2], rows[3] = rows[3].model_copy(update={"sequence": 3}), rows[2].model_copy(update={"sequence": 4})


def _removed_at_the_end(rows: list[AuditEntry]) -> None:
    del rows[4]


def _all_removed(rows: list[AuditEntry]) -> None:
    rows.clear()


def _added_behind_the_head(rows: list[AuditEntry]) -> None:
    rows.append(append(head(rows), entry(6)))


def _rewritten_to_the_end(rows: list[AuditEntry]) -> None:
    _edited_with_new_digest(rows)
    for place in (3, 4):
        rows[place] = append(head(rows[:place]), rows[place])


@pytest.mark.parametrize(
    ("tamper", "first_bad"),
    [
        pytest.param(_edited, 3, id="edited"),
        pytest.param(_edited_with_new_digest, 4, id="edited-with-new-digest"),
        pytest.param(_removed_in_the_middle, 3, id="removed"),
        pytest.param(_removed_and_renumbered, 3, id="removed-and-renumbered"),
        pytest.param(_removed_first, 1, id="removed-first"),
        pytest.param(_swapped, 3, id="swapped"),
        pytest.param(_swapped_and_renumbered, 3, id="swapped-and-renumbered"),
        pytest.param(_removed_at_the_end, 5, id="removed-at-the-end"),
        pytest.param(_all_removed, 1, id="all-removed"),
        pytest.param(_added_behind_the_head, 6, id="added-behind-the-head"),
        pytest.param(_rewritten_to_the_end, 6, id="rewritten-to-the-end"),
    ],
)
def test_a_trail_that_was_tampered_with_does_not_verify(
    tamper: Callable[[list[AuditEntry]], None], first_bad: int
) -> None:
    rows = list(ROWS)
    tamper(rows)
    with pytest.raises(ChainBroken) as found:
        verify(rows, HEAD)
    assert found.value.where["sequence"] == str(first_bad)


def test_a_trail_that_goes_on_from_a_kept_head_verifies() -> None:
    assert verify(ROWS, HEAD, head(ROWS[:3])) == HEAD
    assert verify(ROWS, HEAD, NOTHING) == HEAD


def test_a_trail_rewritten_with_its_recorded_head_is_found_by_a_kept_head() -> None:
    rows = list(ROWS)
    _rewritten_to_the_end(rows)
    assert verify(rows, head(rows)) == head(rows)
    with pytest.raises(ChainBroken) as found:
        verify(rows, head(rows), HEAD)
    assert found.value.where["sequence"] == "5"


def test_a_trail_shortened_with_its_recorded_head_is_found_by_a_kept_head() -> None:
    with pytest.raises(ChainBroken) as found:
        verify(ROWS[:3], head(ROWS[:3]), HEAD)
    assert found.value.where["sequence"] == "4"


FLAT = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    max_size=4,
)


@given(FLAT, st.integers(0, 3), st.sampled_from(["actor", "action", "subject"]), st.text(max_size=3))
def test_any_edit_of_any_row_is_found(detail: dict[str, object], place: int, field: str, suffix: str) -> None:
    rows = trail(3)
    rows.append(append(head(rows), entry(4, detail=detail)))
    recorded = head(rows)
    assert verify(rows, recorded) == recorded
    edited = rows[place]
    rows[place] = edited.model_copy(update={field: getattr(edited, field) + suffix + "x"})
    with pytest.raises(ChainBroken) as found:
        verify(rows, recorded)
    assert found.value.where["sequence"] == str(edited.sequence)


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"share": float("nan")})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("password", "x", id="password"),
        pytest.param("admin_token", "x", id="a-token"),
        pytest.param("client-secret", "x", id="a-secret"),
        pytest.param("privateKey", "x", id="private-key"),
        pytest.param("note", "-----BEGIN EC PRIVATE KEY-----\nMHc", id="pem"),
        pytest.param("note", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLXRleHQ", id="web-token"),
        pytest.param("note", "postgresql://me:hunter2@db/edge", id="url"),
        pytest.param("names", ["fine", "Authorization: Bearer 0123456789abcdef"], id="in-a-list"),
    ],
)
def test_what_looks_like_a_secret_is_replaced(key: str, value: object) -> None:
    assert without_secrets({key: value, "objects": 3}) == {key: "[redacted]", "objects": 3}


@pytest.mark.parametrize(
    "detail",
    [
        pytest.param({"token_expires": "2026-03-01"}, id="about-a-token"),
        pytest.param({"secrets": 3}, id="a-count"),
        pytest.param({"url": "https://host:8443/path"}, id="a-port"),
        pytest.param({"digest": "0" * 64}, id="a-digest"),
    ],
)
def test_what_is_no_secret_stays(detail: dict[str, object]) -> None:
    assert without_secrets(detail) == detail


def test_a_secret_in_a_sentence_is_replaced_and_the_rest_stays() -> None:
    assert text_without_secrets("No answer from https://me:pw@host/x") == "No answer from https://[redacted]@host/x"
