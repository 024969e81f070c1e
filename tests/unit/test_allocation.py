"""Which of a rule's targets a device gets, and what becomes of devices when the targets change."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.assignment import Allocation, AllocationTarget
from edge.model.device import DeviceFacts, Position, Registration
from edge.policy.allocation import allocate, distance_km, hashed

BERLIN = Position(latitude=52.52, longitude=13.405)
MADRID = Position(latitude=40.4168, longitude=-3.7038)
SYDNEY = Position(latitude=-33.8688, longitude=151.2093)

names = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True), min_size=2, max_size=8, unique=True)
devices = st.lists(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True), min_size=1, max_size=12, unique=True)


def device(device_id: str = "dev-0001", **facts: Any) -> Registration:
    return Registration(device_id=device_id, certificate="", facts=DeviceFacts(**{"serial": "SN-1", **facts}))


def allocation(policy: str, *targets: dict[str, Any], expression: str = "") -> Allocation:
    return Allocation.model_validate({"policy": policy, "targets": targets, "expression": expression})


def target(name: str, weight: float = 1.0) -> AllocationTarget:
    return AllocationTarget(name=name, weight=weight)


@given(names, devices, st.data())
def test_a_target_that_goes_moves_only_its_own_devices(known: list[str], ids: list[str], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 9), min_size=len(known), max_size=len(known)))
    targets = [target(name, weight) for name, weight in zip(known, weights, strict=True)]
    gone = data.draw(st.sampled_from(targets))
    rest = [one for one in targets if one != gone]
    for name in ids:
        before = hashed(name, targets)
        assert before == gone or hashed(name, rest) == before


@given(names, devices)
def test_the_order_of_the_targets_does_not_matter(known: list[str], ids: list[str]) -> None:
    targets = [target(name) for name in known]
    assert [hashed(one, targets) for one in ids] == [hashed(one, targets[::-1]) for one in ids]


def test_shares_are_as_the_weights() -> None:
    targets = [target("small"), target("large", 3), target("empty", 0)]
    count = Counter(hashed(f"dev-{number}", targets).name for number in range(4_000))
    assert count["empty"] == 0
    assert 2_900 < count["large"] < 3_100  # 3,000 expected, with a standard deviation of 27


def test_a_heavier_target_takes_devices_and_loses_none() -> None:
    before = [target("a"), target("b"), target("c")]
    after = [target("a"), target("b", 2), target("c")]
    for number in range(300):
        old, new = (hashed(f"dev-{number}", targets).name for targets in (before, after))
        assert new in {old, "b"}


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        pytest.param(BERLIN, BERLIN, 0, id="same"),
        pytest.param(BERLIN, MADRID, 1_869, id="in-europe"),
        pytest.param(Position(latitude=0, longitude=179), Position(latitude=0, longitude=-179), 222, id="date-line"),
        pytest.param(Position(latitude=0, longitude=0), Position(latitude=0, longitude=180), 20_015, id="antipodes"),
        pytest.param(Position(latitude=90, longitude=0), Position(latitude=90, longitude=123), 0, id="pole"),
    ],
)
def test_distances_follow_the_great_circle(one: Position, other: Position, km: float) -> None:
    assert distance_km(one, other) == pytest.approx(km, abs=1.5)
    assert distance_km(other, one) == distance_km(one, other)


GEO = allocation(
    "geo", {"name": "berlin", "position": BERLIN.model_dump()}, {"name": "madrid", "position": MADRID.model_dump()}
)


def test_the_nearest_target_is_chosen() -> None:
    choice = allocate(GEO, device(position={"latitude": 48.85, "longitude": 2.35}))
    assert choice.target is not None
    assert choice.target.name == "berlin"
    assert choice.why == "Target berlin is nearest, 878 km away"


def test_of_equally_near_targets_the_first_by_name_is_chosen() -> None:
    twins = allocation(
        "geo", {"name": "z", "position": BERLIN.model_dump()}, {"name": "a", "position": BERLIN.model_dump()}
    )
    chosen = allocate(twins, device(position=SYDNEY.model_dump())).target
    assert chosen is not None
    assert chosen.name == "a"


def test_without_a_position_nothing_is_nearest_and_that_is_said() -> None:
    choice = allocate(GEO, device())
    assert (choice.target, "does not tell its position" in choice.why) == (None, True)


def test_an_expression_names_the_target() -> None:
    custom = allocation(
        "custom",
        {"name": "old", "region": "emea"},
        {"name": "new", "region": "amer"},
        expression="targets.filter(t, t.region == device.location)[0].name",
    )
    chosen = allocate(custom, device(location="amer")).target
    assert chosen is not None
    assert chosen.name == "new"
    with pytest.raises(InvalidInput, match="The expression fails"):
        allocate(custom, device(location="nowhere"))


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        pytest.param("'elsewhere'", "a target that the rule does not have", id="unknown-target"),
        pytest.param("1 + 1", "gives no name", id="no-text"),
        pytest.param("nonsense", "The expression fails", id="unknown-word"),
    ],
)
def test_an_expression_that_names_no_target_is_refused(expression: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        allocate(allocation("custom", {"name": "a"}, expression=expression), device())
    assert caught.value.where["field"] == "allocation.expression"


def test_an_expression_over_what_is_not_known_chooses_nothing() -> None:
    custom = allocation("custom", {"name": "a"}, expression="device.hardware.rack")
    assert allocate(custom, device()).target is None
    assert allocate(allocation("custom", {"name": "a"}, expression="owner.tenant"), device()).target is None
    assert allocate(allocation("custom", {"name": "a"}, expression="owner.tenant"), device(), "a").target is not None


def test_static_gives_the_one_target() -> None:
    choice = allocate(allocation("static", {"name": "only"}), device())
    assert choice.target is not None
    assert choice.target.name == "only"


@pytest.mark.parametrize(
    ("policy", "targets", "expression"),
    [
        pytest.param("static", [{"name": "a"}, {"name": "b"}], "", id="static-with-two"),
        pytest.param("hashed", [{"name": "a"}, {"name": "a"}], "", id="one-name-twice"),
        pytest.param("hashed", [{"name": "a", "weight": 0}], "", id="all-of-weight-0"),
        pytest.param("hashed", [{"name": "a", "weight": float("nan")}], "", id="weight-not-a-number"),
        pytest.param("hashed", [{"name": "a"}], "'a'", id="expression-that-nobody-asks"),
        pytest.param("hashed", [], "", id="no-targets"),
        pytest.param("geo", [{"name": "a"}], "", id="geo-without-a-position"),
        pytest.param("custom", [{"name": "a"}], "", id="custom-without-an-expression"),
    ],
)
def test_an_allocation_that_cannot_work_is_refused(policy: str, targets: list[Any], expression: str) -> None:
    with pytest.raises(ValidationError):
        allocation(policy, *targets, expression=expression)
