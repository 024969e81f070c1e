"""Request bodies: JSON, YAML or protobuf in, plain data out."""

from __future__ import annotations

from typing import Any

import orjson
import yaml

from edge.lab.kube import protobuf
from edge.lab.kube.errors import bad_request, unsupported_media

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
READABLE = (JSON, "application/yaml", PROTOBUF)
APPLY = "application/apply-patch+yaml"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    APPLY,
    "application/strategic-merge-patch+json",
)
_DEEP = 200
"""Brackets below this number cannot nest too deeply to be written."""

_CBase: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_CBase):  # type: ignore[misc]  # the base is chosen at run time
    """YAML as Kubernetes reads it: a time stays text, and an alias is refused, since nesting them eats memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _CBase.yaml_implicit_resolvers.items()
}


def media_type(header: str) -> str:
    """A content type without its parameters, in small letters."""
    return header.partition(";")[0].strip().lower()


def decode_object(body: bytes, content_type: str) -> dict[str, Any]:
    """One object from a POST, PUT or DELETE body. ApiError 400 or 415 when it cannot be read."""
    media = media_type(content_type) or JSON
    if media == PROTOBUF:
        return protobuf.decode(body)
    if media not in READABLE:
        raise unsupported_media(media, READABLE)
    value = _json(body) if media == JSON else _yaml(body)
    if not isinstance(value, dict):
        raise bad_request("the body of the request is not an object")
    return value


def decode_patch(body: bytes, content_type: str) -> Any:
    """A patch: a list for a JSON patch, an object for the others. ApiError 400 when it cannot be read."""
    return _yaml(body) if media_type(content_type) == APPLY and body[:1] != b"{" else _json(body)


def _json(body: bytes) -> Any:
    try:
        value = orjson.loads(body)
        # Reading goes deeper than writing; what could not be written again must not be stored.
        if body.count(b"{") + body.count(b"[") > _DEEP:
            orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as broken:
        raise bad_request(f"error decoding JSON: {broken}") from broken
    return value


def _yaml(body: bytes) -> Any:
    """YAML as JSON: keys become text, and what JSON cannot say is refused."""
    try:
        value = yaml.load(body, Loader=_Loader)  # noqa: S506 - derived from the safe loader
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except (yaml.YAMLError, orjson.JSONEncodeError, RecursionError, ValueError) as broken:
        raise bad_request(f"error decoding YAML: {broken}") from broken
