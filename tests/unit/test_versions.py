"""Versions: which one is newer, in the order of semver.org, and that a site does not go back by accident."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edge.errors import InvalidInput
from edge.policy.versions import compare, is_newer, refuse_downgrade

ASCENDING = (
    "0.9.9",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1-rc",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
    "10.0.0",
)


@pytest.mark.parametrize(("older", "newer"), list(pairwise(ASCENDING)), ids=lambda version: version)
def test_versions_are_ordered_as_semver_says(older: str, newer: str) -> None:
    assert (compare(older, newer), compare(newer, older), compare(newer, newer)) == (-1, 1, 0)


def test_build_metadata_does_not_count() -> None:
    assert compare("1.0.0+a", "1.0.0+b") == 0


def test_only_a_version_can_be_newer_than_another() -> None:
    assert is_newer("v1.2.0+build", "1.1.0")
    assert not is_newer("1.1.0", "1.1.0")
    assert not is_newer("Linux", "1.0.0")
    assert not is_newer("1.0.0", "")


def test_a_version_that_goes_back_is_refused_with_its_site() -> None:
    with pytest.raises(InvalidInput, match="older") as refused:
        refuse_downgrade("1.10.0", "1.9.0", site="mill-1", stamp="press")
    assert refused.value.where == {"has": "1.10.0", "version": "1.9.0", "site": "mill-1", "stamp": "press"}
    refuse_downgrade("1.9.0", "1.9.0")
    refuse_downgrade("1.9.0", "1.10.0")


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="semantic version"):
        compare("1.x.0", "1.0.0")
