"""The value checks of a schema, one small function per keyword, with the texts of the two kinds of validation.

`KEYWORDS` speak as the OpenAPI validator of custom resources, `BUILTIN_KEYWORDS` as the hand-written validation of
Kubernetes' own kinds.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

Found = tuple[str, str, str | None] | None
"""Reason, and the message before and after the path; the path is left out when there is nothing after it."""
Check = Callable[[Any, Any], Found]
"""Takes the value and the keyword's argument. A value of another type is no business of a check."""

INVALID: Final = "FieldValueInvalid"
TYPE_INVALID: Final = "FieldValueTypeInvalid"
LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def canonical_json(value: Any) -> str:
    """The same text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def shown(value: Any) -> str:
    """A value as Kubernetes prints it in a message."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _in_body(value: Any, text: str) -> Found:
    return INVALID, f"Invalid value: {shown(value)}: ", f" in body {text}"


def _plain(value: Any, text: str) -> Found:
    return INVALID, f"Invalid value: {shown(value)}: {text}", None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _enum(value: Any, allowed: list[Any]) -> Found:
    if value in allowed:
        return None
    texts = ", ".join(shown(each) for each in allowed)
    return "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {texts}", None


def _minimum(value: Any, limit: float) -> Found:
    if not _is_number(value) or value >= limit:
        return None
    return _in_body(value, f"should be greater than or equal to {limit}")


def _builtin_minimum(value: Any, limit: float) -> Found:
    return _plain(value, f"must be greater than or equal to {limit}") if _minimum(value, limit) else None


def _maximum(value: Any, limit: float) -> Found:
    if not _is_number(value) or value <= limit:
        return None
    return _in_body(value, f"should be less than or equal to {limit}")


def _builtin_maximum(value: Any, limit: float) -> Found:
    return _plain(value, f"must be less than or equal to {limit}") if _maximum(value, limit) else None


def _multiple_of(value: Any, step: float) -> Found:
    if not _is_number(value) or value % step == 0:
        return None
    return _in_body(value, f"should be a multiple of {step}")


def _min_length(value: Any, limit: int) -> Found:
    if not isinstance(value, str) or len(value) >= limit:
        return None
    return _in_body(value, f"should be at least {limit} chars long")


def _max_length(value: Any, limit: int) -> Found:
    if not isinstance(value, str) or len(value) <= limit:
        return None
    return "FieldValueTooLong", f"Too long: may not be more than {limit} bytes", None


def _min_items(value: Any, limit: int) -> Found:
    if not isinstance(value, list) or len(value) >= limit:
        return None
    return _in_body(len(value), f"should have at least {limit} items")


def _not_empty(value: Any, limit: int) -> Found:
    short = isinstance(value, list | str) and len(value) < limit
    return ("FieldValueRequired", "Required value", None) if short else None


def _max_items(value: Any, limit: int) -> Found:
    return _too_many(value, limit) if isinstance(value, list) else None


def _min_properties(value: Any, limit: int) -> Found:
    if not isinstance(value, dict) or len(value) >= limit:
        return None
    return _in_body(len(value), f"should have at least {limit} properties")


def _max_properties(value: Any, limit: int) -> Found:
    return _too_many(value, limit) if isinstance(value, dict) else None


def _too_many(value: dict[str, Any] | list[Any], limit: int) -> Found:
    if len(value) <= limit:
        return None
    return "FieldValueTooMany", f"Too many: {len(value)}: must have at most {limit} items", None


def _unique_items(value: Any, wanted: bool) -> Found:
    if not wanted or not isinstance(value, list):
        return None
    distinct = {canonical_json(item) for item in value}
    return None if len(distinct) == len(value) else _in_body(value, "shouldn't contain duplicates")


@lru_cache(maxsize=2048)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:  # RE2 knows a few things that Python does not; such a pattern is not enforced
        return None


def _pattern(value: Any, pattern: str) -> Found:
    rule = _compiled(pattern)
    if not isinstance(value, str) or rule is None or rule.search(value):
        return None
    return _in_body(value, f"should match '{pattern}'")


_QUANTITY: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE]?)")


def is_quantity(value: Any) -> bool:
    """Whether a value can be read as a quantity such as `250m` or `1Gi`."""
    return _is_number(value) or (isinstance(value, str) and _QUANTITY.fullmatch(value) is not None)


def _format(value: Any, name: str) -> Found:
    return None if _FORMATS.get(name, _anything)(value) else _in_body(value, f"must be of type {name}: {shown(value)}")


def _builtin_format(value: Any, name: str) -> Found:
    if _FORMATS.get(name, _anything)(value):
        return None
    if name == "dns-label":
        return _plain(value, LABEL_RULE)
    text = _DECODING.get(name, "json: cannot unmarshal number {0} into Go value of type {1}")
    return TYPE_INVALID, text.format(shown(value), name), None


def _anything(_: Any) -> bool:
    return True


_DECODING: Final = {
    "byte": "illegal base64 data at input byte 0",
    "date-time": 'parsing time {0} as "2006-01-02T15:04:05Z07:00": cannot parse {0} as "2006"',
}


def _text_that(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        try:
            return not isinstance(value, str) or parse(value) is not None
        except (ValueError, binascii.Error):
            return False

    return test


def _matches(pattern: str) -> Callable[[Any], bool]:
    rule = re.compile(pattern)
    return lambda value: not isinstance(value, str) or rule.fullmatch(value) is not None


def _between(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: not _is_number(value) or low <= value <= high


_FORMATS: Final[dict[str, Callable[[Any], bool]]] = {
    "byte": _text_that(lambda text: base64.b64decode(text, validate=True)),
    "cidr": _text_that(lambda text: ipaddress.ip_network(text, strict=False)),
    "date": _matches(r"\d{4}-\d\d-\d\d"),
    "date-time": _text_that(lambda text: datetime.fromisoformat(text) if "T" in text.upper() else None),
    "dns-label": _matches(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"),
    "duration": _matches(r"[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h|d|w))+|0"),
    "email": _matches(r"[^@\s]+@[^@\s]+"),
    "hostname": _matches(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?"),
    "int32": _between(-(2**31), 2**31 - 1),
    "int64": _between(-(2**63), 2**63 - 1),
    "ipv4": _text_that(ipaddress.IPv4Address),
    "ipv6": _text_that(ipaddress.IPv6Address),
    "uri": _matches(r"(?i)([a-z][a-z0-9+.-]*:\S+|/\S*)"),
    "uuid": _text_that(UUID),
}

KEYWORDS: Final[dict[str, Check]] = {
    "enum": _enum,
    "format": _format,
    "maxItems": _max_items,
    "maxLength": _max_length,
    "maxProperties": _max_properties,
    "maximum": _maximum,
    "minItems": _min_items,
    "minLength": _min_length,
    "minProperties": _min_properties,
    "minimum": _minimum,
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "uniqueItems": _unique_items,
}

BUILTIN_KEYWORDS: Final[dict[str, Check]] = {
    **KEYWORDS,
    "format": _builtin_format,
    "maximum": _builtin_maximum,
    "minItems": _not_empty,
    "minLength": _not_empty,
    "minimum": _builtin_minimum,
}
