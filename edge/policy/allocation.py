"""Which of a rule's targets a device gets: by its hash, its place, an expression, or because there is only one.

These are the allocation policies of Azure's Device Provisioning Service, as data of the operator's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from edge.errors import InvalidInput
from edge.model.assignment import Allocation, AllocationPolicy, AllocationTarget, Choice
from edge.model.device import Position, Registration
from edge.policy.device_facts import Unknown, ask, facts_of, owner_words

_EARTH_KM = 6371.0088
"""Mean radius of the earth (IUGG)."""


def allocate(allocation: Allocation, registration: Registration, owner: str | None = None) -> Choice:
    """The target for this device and why; none when what the policy goes by is not known of the device.

    Raises InvalidInput when a custom expression fails or names a target that the rule does not have.
    """
    match allocation.policy:
        case AllocationPolicy.HASHED:
            target = hashed(registration.device_id, allocation.targets)
            return Choice(target=target, why=f"The device's id is hashed to target {target.name}")
        case AllocationPolicy.GEO:
            return _nearest(registration.facts.position, allocation.targets)
        case AllocationPolicy.CUSTOM:
            return _custom(allocation, registration, owner)
        case AllocationPolicy.STATIC:
            return Choice(target=allocation.targets[0], why=f"Target {allocation.targets[0].name} is the only one")


def hashed(device_id: str, targets: Sequence[AllocationTarget]) -> AllocationTarget:
    """Weighted rendezvous hashing: each target draws a lot for the device, and the best lot wins.

    A target's lots do not depend on the other targets, so that one that goes moves only its own devices, and one that
    comes takes its share from all. Over many devices shares are as the weights.
    """
    return max((target for target in targets if target.weight > 0), key=lambda target: _lot(device_id, target))


def _lot(device_id: str, target: AllocationTarget) -> float:
    """An exponentially distributed waiting time, negated: the shortest wait at the target's rate wins."""
    digest = sha256(f"{target.name}\n{device_id}".encode()).digest()
    drawn = (int.from_bytes(digest[:8]) + 1) / (2**64 + 1)
    return math.log(drawn) / target.weight


def distance_km(one: Position, other: Position) -> float:
    """Along the great circle, in kilometres, on a sphere."""
    north, other_north = math.radians(one.latitude), math.radians(other.latitude)
    up = math.sin((other_north - north) / 2) ** 2
    across = math.sin(math.radians(other.longitude - one.longitude) / 2) ** 2
    share = up + math.cos(north) * math.cos(other_north) * across
    return 2 * _EARTH_KM * math.asin(math.sqrt(min(share, 1.0)))


def _nearest(position: Position | None, targets: Sequence[AllocationTarget]) -> Choice:
    """The first by name of those that are equally near."""
    if position is None:
        return Choice(target=None, why="The device does not tell its position, and the rule allocates by it")
    away = [(distance_km(position, target.position), target.name, target) for target in targets if target.position]
    km, name, target = min(away, key=lambda one: one[:2])
    return Choice(target=target, why=f"Target {name} is nearest, {km:.0f} km away")


def _custom(allocation: Allocation, registration: Registration, owner: str | None) -> Choice:
    try:
        found = _asked_name(allocation, registration, owner)
    except Unknown as missing:
        return Choice(target=None, why=f"{missing}, and the rule allocates by it")
    for target in allocation.targets:
        if target.name == found:
            return Choice(target=target, why=f"The expression gives target {found}")
    names = ", ".join(target.name for target in allocation.targets)
    what = "The allocation names a target that the rule does not have"
    raise InvalidInput(what, field="allocation.expression", value=found, remedy=f"Use {names}")


def _asked_name(allocation: Allocation, registration: Registration, owner: str | None) -> str:
    """What a custom expression says. Raises Unknown, or InvalidInput when it is not text."""
    words = {
        "device": facts_of(registration),
        "owner": owner_words(owner),
        "targets": [_words_of(target) for target in allocation.targets],
    }
    found = ask(allocation.expression, words, field="allocation.expression")
    if not isinstance(found, str):
        what = "The allocation's expression gives no name"
        raise InvalidInput(what, field="allocation.expression", value=allocation.expression)
    return found


def _words_of(target: AllocationTarget) -> dict[str, Any]:
    return target.model_dump(include={"name", "region", "weight", "position"}, exclude_none=True)
