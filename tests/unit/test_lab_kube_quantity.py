"""Quantities in the lab's quota and limits."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.quantity import parse, text


@pytest.mark.parametrize(
    ("word", "amount"),
    [
        ("250m", "0.25"),
        ("1", "1"),
        ("1.5", "1.5"),
        ("1Ki", "1024"),
        ("2Gi", str(2 * 2**30)),
        ("3k", "3000"),
        ("1e3", "1000"),
    ],
)
def test_a_quantity_is_read(word: str, amount: str) -> None:
    assert parse(word) == Decimal(amount)


@pytest.mark.parametrize("word", ["", "x", "1 Gi", "Gi", "--1", "NaN", "1e999999"])
def test_what_is_no_quantity_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        parse(word)


@given(st.integers(min_value=0, max_value=2**60), st.sampled_from(["", "1Gi", "1"]))
def test_a_written_quantity_reads_back_as_the_same_amount(amount: int, like: str) -> None:
    assert parse(text(Decimal(amount), like)) == amount


def test_the_unit_follows_the_example() -> None:
    assert text(Decimal(2**30), "4Gi") == "1Gi"
    assert text(Decimal(2**30), "5000000000") == str(2**30)
    assert text(Decimal("0.3"), "1") == "300m"
