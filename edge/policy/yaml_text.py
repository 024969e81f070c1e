"""Strict YAML: the one way in which text from outside becomes values.

A person's file, a kubeconfig, a stamp: each may be wrong or hostile. The text is read event by event, so that depth,
aliases and size are refused before anything large is built. libyaml's time is quadratic in open brackets: it spends
more than ten minutes on 900,000 of them, and a check of the finished tree would come after that.

Plain scalars mean what they mean to Kubernetes (YAML 1.1 without its dates and base-60 numbers): `yes`, `no`, `on`,
`off`, `y` and `n` are booleans, `0644` is octal, dates stay text. What Kubernetes would bend into shape is refused
here: keys that are not text, NaN, infinity, numbers beyond 64 bits, and merge keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from edge.errors import InvalidInput

MAX_BYTES = 1_000_000
MAX_DEPTH = 100

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS: dict[str, object] = {
    **{word: True for bare in ("true", "yes", "on") for word in (bare, bare.title(), bare.upper())},
    **{word: False for bare in ("false", "no", "off") for word in (bare, bare.title(), bare.upper())},
    **dict.fromkeys(("y", "Y"), True),
    **dict.fromkeys(("n", "N"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NUMERIC_START = frozenset("+-.0123456789")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 70
_LONGEST_PATH = 12

TakeTemplate = Callable[[str, bool, int], object]
"""Called with a scalar's text, whether it is plain (unquoted), and its line; what it answers stands in its place."""
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")


def parse_yaml(text: str | bytes, *, origin: str, max_bytes: int = MAX_BYTES) -> object:
    """The one document of a text as dicts, lists, str, int, float, bool and None; None for an empty text.

    `origin` names the text in errors, usually a file. Raises InvalidInput with file, line, column and field.
    """
    documents = list(_documents(text, origin, max_bytes, limit=1))
    return documents[0] if documents else None


def parse_documents(
    text: str | bytes, *, origin: str, max_bytes: int = MAX_BYTES, take_template: TakeTemplate | None = None
) -> list[object]:
    """All documents of a text in order; empty ones are left out, as kubectl does. Otherwise like `parse_yaml`.

    `take_template` is asked about each value (not key) with a `$` in it.
    """
    found = _documents(text, origin, max_bytes, take_template=take_template)
    return [document for document in found if document is not None]


def _documents(
    text: str | bytes,
    origin: str,
    max_bytes: int,
    *,
    limit: int | None = None,
    take_template: TakeTemplate | None = None,
) -> Iterator[object]:
    reader = _Reader(_decoded(text, origin, max_bytes), origin, take_template)
    try:
        yield from reader.documents(limit)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise reader.fault(f"This is not YAML: {error.problem or error.context}", mark) from error
    except yaml.YAMLError as error:
        raise reader.fault(f"This is not YAML: {error}".replace("\n", " "), None) from error


def _decoded(text: str | bytes, origin: str, max_bytes: int) -> str:
    size = len(text) if isinstance(text, bytes) else _utf8_size(text, origin)
    if size > max_bytes:
        raise InvalidInput("The file is too large", file=origin, value=f"{size} bytes", allowed=f"{max_bytes} bytes")
    try:
        return text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("The file is not UTF-8 text", file=origin, value=f"byte {error.start}") from error


def _utf8_size(text: str, origin: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput("The text holds half a character", file=origin, value=f"character {error.start}") from error


class _Reader:
    """Builds values from libyaml's events. `_path` is where we are, for errors."""

    def __init__(self, text: str, origin: str, take_template: TakeTemplate | None) -> None:
        self.origin = origin
        self._take_template = take_template
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._path: list[str] = []

    def documents(self, limit: int | None) -> Iterator[object]:
        """Every document, at most `limit` of them."""
        count = 0
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            count += 1
            if limit is not None and count > limit:
                raise self.fault("There are several documents where one belongs", event.start_mark)
            yield self._node(next(self._events))
            next(self._events)

    def fault(self, what: str, mark: Any, value: str | None = None) -> InvalidInput:
        """An error at this place. A scalar's text is not quoted in it, since it may be a credential."""
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        field = ".".join(filter(None, self._path[:_LONGEST_PATH])) or None
        return InvalidInput(what, file=self.origin, line=line, column=column, field=field, value=value)

    def _node(self, event: Any) -> object:
        if isinstance(event, yaml.ScalarEvent):
            return self._value(event)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self.fault("Anchors and aliases are not allowed", event.start_mark, value=event.anchor)
        if event.tag is not None:
            raise self.fault("This tag is not allowed", event.start_mark, value=event.tag)
        if len(self._path) >= MAX_DEPTH:
            raise self.fault(f"This is nested deeper than {MAX_DEPTH} levels", event.start_mark)
        return self._mapping() if isinstance(event, yaml.MappingStartEvent) else self._sequence()

    def _sequence(self) -> list[object]:
        items: list[object] = []
        self._path.append("")
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._path[-1] = str(len(items))
            items.append(self._node(event))
        self._path.pop()
        return items

    def _mapping(self) -> dict[str, object]:
        fields: dict[str, object] = {}
        self._path.append("")
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, fields)
            self._path[-1] = key
            fields[key] = self._node(next(self._events))
        self._path.pop()
        return fields

    def _key(self, event: Any, fields: dict[str, object]) -> str:
        self._path[-1] = "<key>"
        key = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._node(event)
        if not isinstance(key, str):
            said = getattr(event, "value", None)
            raise self.fault("A key must be text; put it in quotes", event.start_mark, value=said)
        if key == "<<" and event.implicit[0]:
            raise self.fault("Merge keys are not allowed", event.start_mark, value=key)
        if key in fields:
            self._path[-1] = key
            raise self.fault("This key stands here twice", event.start_mark, value=key)
        return key

    def _value(self, event: Any) -> object:
        value = self._scalar(event)
        if self._take_template is None or "$" not in event.value:
            return value
        return self._take_template(event.value, event.implicit[0] and event.tag is None, event.start_mark.line + 1)

    def _scalar(self, event: Any) -> object:
        if event.anchor is not None:
            raise self.fault("Anchors and aliases are not allowed", event.start_mark, value=event.anchor)
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            raise self.fault("This tag is not allowed", event.start_mark, value=event.tag)
        if not event.implicit[0] or event.tag is not None:
            return event.value
        try:
            return plain_value(event.value)
        except ValueError as error:
            raise self.fault(str(error), event.start_mark) from error


def plain_value(text: str) -> object:
    """What an unquoted scalar means. Raises ValueError for a number that JSON or 64 bits cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START:
        return text
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("Infinity and NaN are not numbers here")
    return _number(text)


def _number(text: str) -> object:
    digits = text.replace("_", "")
    whole = _INTEGER.fullmatch(digits)
    if whole is None and not _FLOAT.fullmatch(digits):
        return text
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("The number is too long")
    value = _integer(whole) if whole else float(digits)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError("The number does not fit into 64 bits")
    if value in (float("inf"), float("-inf")):
        raise ValueError("The number is too large")
    return value


def _integer(found: re.Match[str]) -> int:
    sign, *forms = found.groups()
    value = next(int(digits, base) for digits, base in zip(forms, _BASES, strict=True) if digits is not None)
    return -value if sign == "-" else value
