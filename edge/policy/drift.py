"""Drift told from field ownership: what the platform wants of an object, beside who owns what of it on the site.

A field that is still ours holds what we applied: another's write takes it from us. So values are compared only where a
field is not ours any more, and what the server makes of a value (a quantity in another form, a default) is no drift.
Fields that we do not set are not looked at, whoever owns them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from edge.model.drift import DriftKind
from edge.model.kube import KubeObject
from edge.policy.owned_fields import MANAGER, FieldSet, has_below, union
from edge.policy.quantity import parse

_ABSENT: Final = object()
_UNTRACKED: Final = {
    (),
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata", "f:name"),
    ("f:metadata", "f:namespace"),
    ("f:status",),
}
"""What identifies an object, or is not applied: servers leave it out of what anybody owns."""

Place = tuple[str, ...]
"""A field's path in the elements of `managedFields`."""


class Owner(NamedTuple):
    """Another manager, the time of its last write, and what it owns at a place."""

    manager: str
    since: datetime | None
    fields: FieldSet | None


class Difference(NamedTuple):
    """One difference of one object. `wanted` and `found` are the values themselves, secrets and all."""

    kind: DriftKind
    place: Place = ()
    manager: str = ""
    since: datetime | None = None
    wanted: Any = None
    found: Any = None


class _Spot(NamedTuple):
    """The same place in what is wanted, what is there, and what each owns."""

    place: Place
    wanted: Any
    found: Any
    ours: FieldSet | None
    others: tuple[Owner, ...]

    def below(self, element: str, wanted: Any, found: Any) -> _Spot:
        others = tuple(owner._replace(fields=(owner.fields or {}).get(element)) for owner in self.others)
        return _Spot((*self.place, element), wanted, found, (self.ours or {}).get(element), others)

    @property
    def sets(self) -> tuple[FieldSet, ...]:
        """What is owned here, by whomever."""
        return tuple(fields for fields in (self.ours, *(one.fields for one in self.others)) if fields is not None)

    @property
    def owners(self) -> tuple[Owner, ...]:
        """The others that own something here, the latest to write first."""
        here = [owner for owner in self.others if owner.fields is not None]
        return tuple(sorted(here, key=lambda owner: owner.since.timestamp() if owner.since else 0.0, reverse=True))


def differences(wanted: KubeObject, live: KubeObject | None, manager: str = MANAGER) -> tuple[Difference, ...]:
    """Where an object differs from what is wanted of it. `live` is as the site has it, None when it has none.

    `manager` is who applies it for us.
    """
    if live is None or "deletionTimestamp" in live["metadata"]:
        return (Difference(DriftKind.MISSING, found=None if live is None else "it is being deleted"),)
    ours, others = _owners(live, manager)
    found = tuple(_walk(_Spot((), dict(wanted), live, ours, others)))
    if ours is None and not others:
        # Somebody wiped the record. Which items of a list are set, and which the server made, cannot be told any more.
        return (Difference(DriftKind.TAKEN_OVER), *(one for one in found if not isinstance(one.found, list)))
    return _gathered(found) if ours is None else found


def _gathered(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """Of an object of which nothing is ours any more, what has the right value is told in one line."""
    taken = [one for one in found if one.kind is DriftKind.TAKEN_OVER]
    rest = tuple(one for one in found if one.kind is not DriftKind.TAKEN_OVER)
    if not taken:
        return rest
    latest = max(taken, key=lambda one: one.since.timestamp() if one.since else 0.0)
    return (Difference(DriftKind.TAKEN_OVER, manager=latest.manager, since=latest.since), *rest)


def _owners(live: KubeObject, manager: str) -> tuple[FieldSet | None, tuple[Owner, ...]]:
    """What we applied and still own, and everybody else. What is written to a status is the server's own business."""
    ours: FieldSet | None = None
    others: list[Owner] = []
    for entry in live["metadata"].get("managedFields") or ():
        fields, subresource = entry.get("fieldsV1"), entry.get("subresource", "")
        if not fields or subresource == "status":
            continue
        is_applied = entry.get("operation") == "Apply" and not subresource
        if entry.get("manager") == manager and is_applied:
            ours = union(ours, fields)
        else:
            others.append(Owner(_name(entry, manager), _moment(entry.get("time")), fields))
    return ours, tuple(others)


def _name(entry: Mapping[str, Any], ours: str) -> str:
    """Our own name on what we did not apply is somebody else, or a write by hand: it is told apart."""
    name, subresource = str(entry.get("manager", "")), entry.get("subresource")
    if name == ours:
        return f"{name} ({subresource or entry.get('operation', '')})"
    return f"{name} ({subresource})" if subresource else name


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None


def _walk(spot: _Spot) -> Iterator[Difference]:
    if spot.place in _UNTRACKED and spot.place:
        return
    if spot.ours is None and (spot.found is _ABSENT or spot.found in ({}, [])):
        if not _is_nothing(spot.wanted):
            yield Difference(DriftKind.REMOVED, spot.place, wanted=spot.wanted)
    elif isinstance(spot.wanted, Mapping) and not _is_whole(spot):
        for key, value in spot.wanted.items():
            there = spot.found.get(key, _ABSENT) if isinstance(spot.found, Mapping) else _ABSENT
            yield from _walk(spot.below(f"f:{key}", value, there))
    elif isinstance(spot.wanted, list) and not _is_whole(spot):
        yield from _items(spot)
    else:
        yield from _leaf(spot)


def _is_whole(spot: _Spot) -> bool:
    """Whether it is owned as one thing: an empty object, an atomic list or map. Only owners know that, if any."""
    if not spot.wanted or (spot.sets and not any(has_below(fields) for fields in spot.sets)):
        return True
    return isinstance(spot.wanted, list) and not spot.sets


def _items(spot: _Spot) -> Iterator[Difference]:
    elements = tuple(dict.fromkeys(key for fields in spot.sets for key in fields if key[:2] in ("k:", "v:")))
    items = spot.found if isinstance(spot.found, list) else []
    owned: dict[int, str] = {}
    for element in elements:
        place = item_at(element, spot.wanted)
        if place is not None:
            owned.setdefault(place, element)
    for place, item in enumerate(spot.wanted):
        if place not in owned:
            yield Difference(DriftKind.REMOVED, (*spot.place, _unowned(item, elements)), wanted=item)
            continue
        there = next((one for one in items if _fits(owned[place], one)), _ABSENT)
        yield from _walk(spot.below(owned[place], item, there))


def item_at(element: str, items: Sequence[Any]) -> int | None:
    """Where in a list the item of this element is; None when it is not there.

    An item as it is wanted may leave out those of its keys that have a default: the one with most of them is meant.
    """
    said = json.loads(element[2:])
    if element.startswith("v:"):
        return next((place for place, item in enumerate(items) if item == said), None)
    agreed = {place: _agreed(said, item) for place, item in enumerate(items)}
    best = max(agreed, key=lambda place: agreed[place], default=None)
    return best if best is not None and agreed[best] else None


def _agreed(keys: Mapping[str, Any], item: Any) -> int:
    """How many of the keys an item has, all of them with these values; zero when one is another."""
    shared = [key for key in keys if key in item] if isinstance(item, Mapping) else []
    return len(shared) if all(keys[key] == item[key] for key in shared) else 0


def _fits(element: str, item: Any) -> bool:
    said = json.loads(element[2:])
    if element.startswith("v:"):
        return bool(said == item)
    return isinstance(item, Mapping) and all(item.get(key) == value for key, value in said.items())


def _unowned(item: Any, elements: Sequence[str]) -> str:
    """The element of an item that nobody owns, in the form of its neighbours; null for a key that it leaves out."""
    keys = next((json.loads(element[2:]) for element in elements if element.startswith("k:")), None)
    if keys is None or not isinstance(item, Mapping):
        return "v:" + json.dumps(item, sort_keys=True, default=str)
    return "k:" + json.dumps({key: item.get(key) for key in keys})


def _leaf(spot: _Spot) -> Iterator[Difference]:
    owners = spot.owners
    if spot.ours is not None:
        if owners and not _is_nothing(spot.wanted):
            names = ", ".join(dict.fromkeys(owner.manager for owner in owners))
            yield Difference(DriftKind.CO_OWNED, spot.place, names, owners[0].since, spot.wanted, spot.found)
        return
    same = _is_same(spot.wanted, spot.found)
    if same and not owners:
        return
    kind = DriftKind.TAKEN_OVER if same else DriftKind.CHANGED
    first = owners[0] if owners else Owner("", None, None)
    yield Difference(kind, spot.place, first.manager, first.since, spot.wanted, spot.found)


def _is_nothing(value: Any) -> bool:
    """Servers drop such values when they store an object, so that their absence says nothing."""
    if isinstance(value, Mapping):
        return all(_is_nothing(one) for one in value.values())
    return not value


def _is_same(wanted: Any, found: Any) -> bool:
    if wanted == found:
        return True
    if not isinstance(wanted, str | int | float) or not isinstance(found, str | int | float):
        return False
    try:
        return parse(wanted) == parse(found)
    except ValueError:
        return False
