"""What an object must become so that it is as it was, but for what others have done to it since.

A field that another manager owns now stays as it is. One that only another owned before and that is gone was given up
by that manager, and stays gone. Everything else is as it was before: our fields, and what came or went with them
(defaults of ours). Lists are compared item by item where `managedFields` names items, else as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from edge.policy.owned_fields import FieldSet, has_below, is_member


class _Missing:
    """Stands for a value that is not there; None is a value."""


MISSING: Final = _Missing()


class Claims(NamedTuple):
    """Who owns a place and what is below it, now and before; None: nobody of these."""

    others: FieldSet | None
    ours: FieldSet | None
    others_before: FieldSet | None
    ours_before: FieldSet | None

    def at(self, element: str) -> Claims:
        """The claims one step down."""
        return Claims(*((fields or {}).get(element) for fields in self))


def blend(was: Any, now: Any, claims: Claims, *, anew: bool = False) -> Any:
    """The value to go back to, or MISSING. `anew`: what holds it was not there before."""
    if not (has_below(claims.others) or has_below(claims.others_before)):
        return _whole(was, now, claims, anew)
    if isinstance(now, _Missing) and is_member(claims.ours_before) and not is_member(claims.others_before):
        return was  # The place was ours, and went with all that others had in it when we gave it up.
    if isinstance(was, Mapping | _Missing) and isinstance(now, Mapping | _Missing):
        return _mapping(was, now, claims)
    if isinstance(was, list | _Missing) and isinstance(now, list | _Missing):
        return _list(was, now, claims)
    return now if claims.others is not None else was


def _whole(was: Any, now: Any, claims: Claims, anew: bool) -> Any:
    if claims.others is not None:
        if not (has_below(claims.ours) or has_below(claims.ours_before)):
            return now
        # Theirs is that the place is there, ours what is in it.
        return _empty(now) if isinstance(was, _Missing) else was
    if isinstance(now, _Missing) and is_member(claims.others_before) and claims.ours_before is None:
        return MISSING
    if anew and claims.ours is None:
        return now
    return was


def _empty(like: Any) -> Any:
    return [] if isinstance(like, list) else {}


def _mapping(was: Any, now: Any, claims: Claims) -> Any:
    before: Mapping[str, Any] = {} if isinstance(was, _Missing) else was
    after: Mapping[str, Any] = {} if isinstance(now, _Missing) else now
    anew = isinstance(was, _Missing)
    found = {
        key: blend(before.get(key, MISSING), after.get(key, MISSING), claims.at(f"f:{key}"), anew=anew)
        for key in dict.fromkeys((*before, *after))
    }
    kept = {key: value for key, value in found.items() if value is not MISSING}
    return kept or _when_empty(was, now, claims)


def _list(was: Any, now: Any, claims: Claims) -> Any:
    elements = _elements(claims)
    before, after = _by_identity(was, elements), _by_identity(now, elements)
    if before is None or after is None:
        return now if claims.ours is None else was
    anew = isinstance(was, _Missing)
    found = {
        identity: blend(
            before.get(identity, MISSING),
            after.get(identity, MISSING),
            claims.at(elements.get(identity, "")),
            anew=anew,
        )
        for identity in (*after, *(one for one in before if one not in after))
    }
    kept = {identity: value for identity, value in found.items() if value is not MISSING}
    # The old order when only old items are left, else the order that those who added to it have found.
    order = before if kept.keys() <= before.keys() else kept
    return [kept[identity] for identity in order if identity in kept] or _when_empty(was, now, claims)


def _when_empty(was: Any, now: Any, claims: Claims) -> Any:
    if isinstance(was, _Missing):
        return now if not isinstance(now, _Missing) and not now and claims.others is not None else MISSING
    return MISSING if isinstance(now, _Missing) and was else _empty(was)


def _elements(claims: Claims) -> dict[str, str]:
    """The path element of each item that somebody owns, by the item's identity."""
    found = {}
    for fields in claims:
        for element in fields or ():
            if element[:2] in ("k:", "v:"):
                found[_identity(json.loads(element[2:]))] = element
    return found


def _by_identity(items: Any, elements: Mapping[str, str]) -> dict[str, Any] | None:
    """The items by identity, in their order; None when they cannot be told apart."""
    listed: Sequence[Any] = () if isinstance(items, _Missing) else items
    names: set[str] = set()
    for element in elements.values():
        if element.startswith("k:"):
            names.update(json.loads(element[2:]))
    found: dict[str, Any] = {}
    for item in listed:
        keyed = isinstance(item, Mapping)
        found[_identity({name: item[name] for name in names if name in item} if keyed else item)] = item
    return found if elements and len(found) == len(listed) else None


def _identity(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
