"""Sets of fields as `managedFields` writes them (`fieldsV1`), and who owns which of an object.

A key is a path element (`f:image`, `k:{"name":"app"}`, `v:"x"`), its value the set below. `{}`, and a set with the key
".", says that the place itself is in the set. Nothing here changes an argument.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edge.model.kube import KubeObject

FieldSet = Mapping[str, Any]
Entry = Mapping[str, Any]

MANAGER: Final = "edge-platform"
SELF: Final = "."


def is_member(fields: FieldSet | None) -> bool:
    """Whether the place itself is in the set (None: nothing of it is)."""
    return fields is not None and (not fields or SELF in fields)


def has_below(fields: FieldSet | None) -> bool:
    """Whether something below the place is in the set."""
    return bool(fields) and any(key != SELF for key in fields or ())


def union(left: FieldSet | None, right: FieldSet | None) -> FieldSet | None:
    """What is in either set."""
    if left is None or right is None:
        return left if right is None else right
    keys = [key for key in dict.fromkeys((*left, *right)) if key != SELF]
    return _set(is_member(left) or is_member(right), {key: union(left.get(key), right.get(key)) for key in keys})


def intersection(left: FieldSet | None, right: FieldSet | None) -> FieldSet | None:
    """What is in both sets; None when that is nothing."""
    if left is None or right is None:
        return None
    below = {key: intersection(left[key], right[key]) for key in left if key != SELF and key in right}
    return _set(is_member(left) and is_member(right), below)


def difference(left: FieldSet | None, right: FieldSet | None) -> FieldSet | None:
    """What is in the left set only; None when that is nothing."""
    if left is None or right is None:
        return left
    below = {key: difference(left[key], right.get(key)) for key in left if key != SELF}
    return _set(is_member(left) and not is_member(right), below)


def within(fields: FieldSet | None, value: Any) -> FieldSet | None:
    """Those fields of the set that the value has; None when it has none of them."""
    if fields is None:
        return None
    found = {key: _step(value, key) for key in fields if key != SELF}
    return _set(is_member(fields), {key: within(fields[key], one[0]) for key, one in found.items() if one})


def _step(value: Any, element: str) -> tuple[Any, ...]:
    """What is at this path element, as a tuple of one; empty when nothing is."""
    kind, text = element[:2], element[2:]
    if kind == "f:" and isinstance(value, Mapping):
        return (value[text],) if text in value else ()
    if kind in ("k:", "v:") and isinstance(value, list):
        wanted = json.loads(text)
        fits = (item for item in value if (wanted.items() <= item.items() if kind == "k:" else wanted == item))
        return tuple(itertools.islice(fits, 1))
    return ()


def _set(member: bool, below: Mapping[str, FieldSet | None]) -> FieldSet | None:
    kept = {key: fields for key, fields in below.items() if fields is not None}
    if member:
        return {SELF: {}, **kept} if kept else {}
    return kept or None


def entries_of(obj: KubeObject | None) -> tuple[Entry, ...]:
    """Who owns what, but for the subresources' (a status is the server's)."""
    entries = ((obj or {}).get("metadata") or {}).get("managedFields") or ()
    return tuple(entry for entry in entries if not entry.get("subresource"))


def is_ours(entry: Entry) -> bool:
    """Whether the platform wrote this entry."""
    return entry.get("manager") == MANAGER


def fields_of(obj: KubeObject | None, *, ours: bool) -> FieldSet | None:
    """What the platform owns of an object, or what all others together own; None when nothing."""
    found: FieldSet | None = None
    for entry in entries_of(obj):
        if is_ours(entry) is ours and entry.get("fieldsV1"):
            found = union(found, entry["fieldsV1"])
    return found


def paths(fields: FieldSet | None, before: str = "") -> Iterator[str]:
    """Each field of the set in readable form, such as `spec.replicas`."""
    for key, below in (fields or {}).items():
        if key != SELF:
            place = f"{before}.{key[2:]}".lstrip(".") if key.startswith("f:") else f"{before}[{key[2:]}]"
            if is_member(below):
                yield place
            yield from paths(below, place)
