"""What a parameter's declaration allows, as JSON Schema (draft 2020-12), compiled once for each declaration.

Values are text, since they are substituted into text; a schema looks at what the text means for the declared type.
`pattern` and `enum` are not here: they are about the text itself (see `edge.policy.parameters`).
"""

from __future__ import annotations

import functools
import json
from typing import Any, Literal

import jsonschema_rs

from edge.errors import InvalidInput
from edge.model.stamp import Parameter, ParameterType

Format = Literal["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"]
"""The formats that are checked. An unknown one would be ignored by JSON Schema, so it is refused."""

_NUMERIC = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_TEXTUAL = frozenset({"minLength", "maxLength", "format"})
_FITTING = {
    ParameterType.STRING: _TEXTUAL,
    ParameterType.INTEGER: _NUMERIC,
    ParameterType.NUMBER: _NUMERIC,
    ParameterType.BOOLEAN: frozenset(),
}


def check_constraints(parameter: Parameter, *, file: str, field: str) -> None:
    """Raises InvalidInput for a keyword that says nothing about this type, and for limits that nothing can meet."""
    said = parameter.constraints
    for keyword in said:
        if keyword != "const" and keyword not in _FITTING[parameter.type]:
            what = f"This keyword says nothing about a parameter of type {parameter.type}"
            raise InvalidInput(what, file=file, field=f"{field}.{keyword}")
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength")):
        if low in said and high in said and said[low] > said[high]:
            limits = f"{said[low]} and {said[high]}"
            raise InvalidInput(f"No value is between {low} and {high}", file=file, field=f"{field}.{low}", value=limits)
    _validator(_frozen(parameter))


def check_schema(value: str, parameter: Parameter, /, **where: str) -> None:
    """Raises InvalidInput with the schema's own words when the value, which is of the right type, does not meet it."""
    if not parameter.constraints:
        return
    try:
        _validator(_frozen(parameter)).validate(typed(value, parameter.type))
    except jsonschema_rs.ValidationError as error:
        raise InvalidInput(f"This value does not fit: {error.message}", value=value, **where) from error


def typed(value: str, kind: ParameterType) -> str | int | float | bool:
    """What the text means. It must be of the form that `edge.policy.parameters` asks for."""
    if kind is ParameterType.INTEGER:
        return int(value)
    if kind is ParameterType.NUMBER:
        return float(value)
    return value == "true" if kind is ParameterType.BOOLEAN else value


def sample_of(parameter: Parameter) -> str:
    """A value of the type, near what the constraints ask for. It may still not fit."""
    said = parameter.constraints
    if "const" in said:
        return _text(said["const"])
    if parameter.type is ParameterType.BOOLEAN:
        return "true"
    if parameter.type is not ParameterType.STRING:
        return _text(said.get("minimum", said.get("multipleOf", min(1, said.get("maximum", 1)))))
    sample = _SAMPLES.get(said.get("format", ""), "sample").ljust(said.get("minLength", 0), "e")
    return sample[: said.get("maxLength", len(sample))]


_SAMPLES = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "sample@example.com",
    "hostname": "sample.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/sample",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _frozen(parameter: Parameter) -> str:
    return json.dumps({"type": parameter.type, **parameter.constraints}, sort_keys=True)


@functools.lru_cache(maxsize=1024)
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(schema), validate_formats=True)
