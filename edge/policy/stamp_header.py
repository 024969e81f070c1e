"""The form of stamp.yaml: what may stand in it. What it means is said in `edge.model.stamp`.

Mistakes are answered with the field as it is written in the file. What could be a secret is not repeated.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from edge.errors import InvalidInput
from edge.model.base import Value
from edge.model.check import CheckName
from edge.model.names import SemVer, StampName
from edge.model.stamp import ComponentKind, ParameterType
from edge.policy.parameter_schema import Format
from edge.policy.yaml_text import parse_yaml

Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
ClusterKind = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{0,62}(\.[a-z0-9.-]+)?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[_a-zA-Z][_a-zA-Z0-9]{0,62}$")]
Level = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$")]
ChartVersion = Annotated[
    str, StringConstraints(pattern=r"^(\d{1,9}\.\d{1,9}\.\d{1,9}(-[0-9A-Za-z.-]{1,64})?|sha256:[0-9a-f]{64})$")
]
"""A chart's semantic version, or its digest: the one that a registry cannot change."""
Controller = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][-a-z0-9]{0,62}/[a-z0-9][-a-z0-9.]{0,252}$")]

_SAFE_TO_REPEAT = frozenset({"type", "pattern", "secret", "format"})
_NUMBER_TYPES = frozenset({"int", "float", "constrained-int", "constrained-float"})
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LONGEST_VALUE = 4096
_LONGEST_INPUT = 100


def _scalar(value: object) -> str | float:
    """YAML's whole numbers and booleans are exact, so they may be written bare. A fraction is for the type to judge."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str) and len(str(value)) <= _LONGEST_VALUE:
        return str(value)
    if isinstance(value, float):
        return value
    raise ValueError(f"This must be text of at most {_LONGEST_VALUE} characters, a number, or true or false")


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_time(value: object) -> object:
    """A day alone means its beginning in UTC."""
    return f"{value}T00:00:00Z" if isinstance(value, str) and _DATE.fullmatch(value) else value


Scalar = Annotated[Any, PlainValidator(_scalar)]
"""Text, or a fraction that only a parameter of type number may have."""
_Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Positive = Annotated[int, Field(strict=True, gt=0)] | Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_Length = Annotated[int, Field(strict=True, ge=0, le=_LONGEST_VALUE)]
_Port = Annotated[str, BeforeValidator(_as_text), StringConstraints(pattern=r"^[a-z0-9][-a-z0-9]{0,62}$")]
_Time = Annotated[AwareDatetime, BeforeValidator(_as_time)]


class _Part(Value):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class ParameterSpec(_Part):
    """JSON Schema of a scalar, with `secret` beside it."""

    type: ParameterType = ParameterType.STRING
    description: str = Field(default="", max_length=1024)
    default: Scalar | None = None
    secret: StrictBool = False
    pattern: str | None = Field(default=None, max_length=512)
    enum: tuple[Scalar, ...] = Field(default=(), max_length=100)
    const: Scalar | None = None
    minimum: _Number | None = None
    maximum: _Number | None = None
    exclusive_minimum: _Number | None = None
    exclusive_maximum: _Number | None = None
    multiple_of: _Positive | None = None
    min_length: _Length | None = None
    max_length: _Length | None = None
    format: Format | None = None

    def constraints(self) -> dict[str, Any]:
        """The further keywords of JSON Schema that were given, as they are written."""
        known = {"type", "description", "default", "secret", "pattern", "enum", "const"}
        return self.model_dump(by_alias=True, exclude=known, exclude_none=True)


class ComponentSpec(_Part):
    name: StampName
    path: str = Field(min_length=1, max_length=512)
    kind: ComponentKind = ComponentKind.MANIFESTS
    depends_on: tuple[StampName, ...] = Field(default=(), max_length=100)
    namespace: Namespace | None = None
    release: StampName | None = None
    chart_version: ChartVersion | None = None
    values: dict[str, Any] = Field(default={})


class ValuesSpec(_Part):
    regions: dict[Level, dict[Name, Scalar]] = Field(default={}, max_length=1000)
    tenants: dict[Level, dict[Name, Scalar]] = Field(default={}, max_length=1000)
    sites: dict[Level, dict[Name, Scalar]] = Field(default={}, max_length=10_000)


class RequiresSpec(_Part):
    kinds: tuple[ClusterKind, ...] = Field(default=(), max_length=100)
    controllers: tuple[Controller, ...] = Field(default=(), max_length=100)
    architectures: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{2,16}$")], ...] = ()
    kubernetes: Annotated[str, StringConstraints(pattern=r"^(\d{1,3}\.\d{1,3})?$")] = ""


class HttpSpec(_Part):
    type: Literal["http"]
    name: CheckName
    namespace: Namespace
    service: Namespace
    port: _Port
    scheme: Literal["http", "https"] = "http"
    path: str = Field(default="/", pattern="^/", max_length=1024)
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field(default=(200,), min_length=1, max_length=20)
    contains: str = Field(default="", max_length=1024)


class PromqlSpec(_Part):
    type: Literal["promql"]
    name: CheckName
    query: str = Field(min_length=1, max_length=4096)
    holds: str = Field(default="value > 0.0", max_length=1024)
    absent_is_good: StrictBool = False
    namespace: Namespace = "monitoring"
    service: Namespace = "prometheus"
    port: _Port = "9090"


class ObjectSpec(_Part):
    api_version: str = Field(min_length=1, max_length=317)
    kind: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1, max_length=253)
    namespace: Namespace | None = None


class CelSpec(_Part):
    type: Literal["cel"]
    name: CheckName
    object: ObjectSpec
    expression: str = Field(min_length=1, max_length=4096)


CheckSpec = Annotated[HttpSpec | PromqlSpec | CelSpec, Field(discriminator="type")]


class WaiverSpec(_Part):
    code: str = Field(pattern=r"^[a-z][a-z0-9-]{2,62}$")
    owner: str = Field(min_length=1, max_length=256)
    reason: str = Field(min_length=1, max_length=1024)
    expires: _Time
    object: str = Field(default="", max_length=253)


class PoliciesSpec(_Part):
    waivers: tuple[WaiverSpec, ...] = Field(default=(), max_length=100)


class Spec(_Part):
    version: SemVer
    description: str = Field(default="", max_length=1024)
    namespaces: tuple[Namespace, ...] = Field(min_length=1, max_length=100)
    cluster_kinds: tuple[ClusterKind, ...] = Field(default=(), max_length=100)
    parameters: dict[Name, ParameterSpec] = Field(default={}, max_length=200)
    values: ValuesSpec = ValuesSpec()
    components: tuple[ComponentSpec, ...] = Field(min_length=1, max_length=100)
    requires: RequiresSpec = RequiresSpec()
    checks: tuple[CheckSpec, ...] = Field(default=(), max_length=100)
    policies: PoliciesSpec = PoliciesSpec()
    required_step: StrictBool = False


class Metadata(_Part):
    name: StampName


class Header(_Part):
    """The content of stamp.yaml."""

    api_version: Literal["edge-platform.io/v1"]
    kind: Literal["Stamp"]
    metadata: Metadata
    spec: Spec


def parse_header(text: str, file: str) -> Header:
    """Raises InvalidInput with file and field, and the value where it cannot be a secret."""
    document = parse_yaml(text, origin=file)
    if not isinstance(document, dict):
        raise InvalidInput("A stamp must be a mapping", file=file, value=type(document).__name__)
    try:
        return Header.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = [str(part) for part in first["loc"]]
        value = repr(first["input"])[:_LONGEST_INPUT] if _may_be_shown(path, first["type"]) else None
        # The cause is cut off: pydantic's own text repeats the input.
        raise InvalidInput(first["msg"], file=file, field=_field(path), value=value) from None


def _may_be_shown(path: list[str], fault: str) -> bool:
    if fault == "missing":
        return False
    return path[:2] not in (["spec", "parameters"], ["spec", "values"]) or path[-1] in _SAFE_TO_REPEAT


def _field(path: list[str]) -> str:
    """Where the mistake is, without what pydantic adds: a check's type after its number, a number's type at the end."""
    if path[:2] == ["spec", "parameters"] and path[-1] in _NUMBER_TYPES:
        path = path[:-1]
    if path[:2] == ["spec", "checks"] and path[3:4] and path[3] in ("http", "promql", "cel"):
        path = [*path[:3], *path[4:]]
    return ".".join(path)
