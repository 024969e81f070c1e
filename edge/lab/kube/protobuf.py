"""Reads the protobuf bodies that kubectl's typed commands send, into the JSON form everything else works on.

Kubernetes wraps a message in `k8s\\0` and an envelope that names its kind. The field numbers we know are data
(data/protobuf.yaml); a field that is not in there is refused, never dropped silently.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from edge.lab.kube.errors import bad_request

MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_UNREAD = frozenset({"Empty", "AnyFields"})
"""Messages whose content the server fills in itself: what a client sends there is not looked at."""


@cache
def _tables() -> Mapping[str, Any]:
    text = files("edge.lab.kube").joinpath("data/protobuf.yaml").read_text(encoding="utf-8")
    tables: Mapping[str, Any] = yaml.safe_load(text)
    return tables


def decode(body: bytes) -> dict[str, Any]:
    """The object in a Kubernetes protobuf envelope. Raises ApiError 400 for a kind or field the lab does not know."""
    if not body.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = dict(_fields(body[len(MAGIC) :]))
        head = {number: bytes(text).decode() for number, text in _fields(envelope.get(1, b""))}
        api_version, kind = head.get(1, ""), head.get(2, "")
        message = _tables()["kinds"].get(kind)
        if message is None:
            raise bad_request(f"the lab does not read {kind} ({api_version}) as protobuf; send JSON")
        return {"apiVersion": api_version, "kind": kind, **_message(envelope.get(2, b""), message)}
    except (AttributeError, IndexError, OSError, OverflowError, TypeError, ValueError) as broken:
        raise bad_request(f"broken protobuf body: {broken}") from broken


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) pairs; a value is an int, or bytes for everything with a length."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        size, position = _size(data, position, wire)
        if position + size > len(data):
            raise ValueError("unexpected end")
        yield number, data[position : position + size]
        position += size


def _size(data: bytes, position: int, wire: int) -> tuple[int, int]:
    if wire == _BYTES:
        return _varint(data, position)
    if wire in (_FIXED32, _FIXED64):
        return (4 if wire == _FIXED32 else 8), position
    raise ValueError(f"wire type {wire}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def _message(data: bytes, name: str) -> dict[str, Any]:
    if name in _UNREAD:
        return {}
    known = _tables()["messages"][name]
    result: dict[str, Any] = {}
    for number, raw in _fields(data):
        if number not in known:
            raise bad_request(f"the lab does not read field {number} of {name} as protobuf; send JSON")
        word, kind, *inline = known[number]
        if inline:
            result.update(_message(raw, kind))
        else:
            _put(result, word, kind, raw)
    return result


def _put(result: dict[str, Any], word: str, kind: str, raw: Any) -> None:
    if kind.endswith("[]"):
        result.setdefault(word, []).append(_value(raw, kind[:-2]))
    elif kind.endswith("{}"):
        entry = dict(_fields(raw))
        result.setdefault(word, {})[entry.get(1, b"").decode()] = _value(entry.get(2, b""), kind[:-2])
    else:
        value = _value(raw, kind)
        # Go writes plain fields even when they are empty, and leaves them out of JSON.
        if value is not None and value != "":
            result[word] = value


def _value(raw: Any, kind: str) -> Any:
    simple = _SCALARS.get(kind)
    return simple(raw) if simple else _message(raw, kind)


def _signed(raw: int) -> int:
    return raw - (1 << 64) if raw >> 63 else raw


def _time(raw: bytes) -> str | None:
    seconds = dict(_fields(raw)).get(1, 0)
    return datetime.fromtimestamp(_signed(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None


def _quantity(raw: bytes) -> str:
    return str(dict(_fields(raw)).get(1, b"0"), "utf-8")


def _int_or_string(raw: bytes) -> int | str:
    fields = dict(_fields(raw))
    return str(fields.get(3, b""), "utf-8") if fields.get(1) else _signed(fields.get(2, 0))


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": lambda raw: raw.decode(),
    "int": _signed,
    "count": lambda raw: _signed(raw) or None,
    "bool": bool,
    "flag": lambda raw: bool(raw) or None,
    "bytes": lambda raw: base64.b64encode(raw).decode(),
    "time": _time,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
}
