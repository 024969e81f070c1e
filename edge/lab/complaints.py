"""What is wrong with a scenario or a fault, in words: pydantic's own speak of tags, unions and classes."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError

from edge.lab.weather import FaultKind

_KINDS = frozenset(FaultKind)
_SHOWN = 200


class Complaint(NamedTuple):
    """The first thing that is wrong: a sentence, the path of the field ("" is the whole), the value as text."""

    what: str
    field: str
    value: str


def complaint(error: ValidationError) -> Complaint:
    """The first error of a validation. Its path is that of the input: the kinds in pydantic's path are left out."""
    first: Any = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"] if part not in _KINDS]
    if first["type"] == "union_tag_invalid":
        known = ", ".join(FaultKind)
        return Complaint(f"no such kind of fault; known kinds: {known}", _path(place, "kind"), first["ctx"]["tag"])
    if first["type"] == "union_tag_not_found":
        return Complaint("the fault says no kind", _path(place, "kind"), _shown(first["input"]))
    if first["type"] == "model_type":
        return Complaint("these should be fields with values", _path(place), _shown(first["input"]))
    return Complaint(first["msg"], _path(place), _shown(first["input"]))


def _path(place: list[str], *more: str) -> str:
    return ".".join([*place, *more])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
