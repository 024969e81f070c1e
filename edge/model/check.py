"""Checks: one mechanism by which stamps, releases and drills ask whether something works."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.model.base import Value
from edge.model.kube import ObjectRef

CheckName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class HttpCheck(Value):
    """A request through the API server's proxy to a Service. `path` begins with a slash; `status` are good answers."""

    type: Literal["http"] = "http"
    name: CheckName
    namespace: str
    service: str
    port: str
    """Number or name."""
    scheme: Literal["http", "https"] = "http"
    path: str = "/"
    status: tuple[int, ...] = (200,)
    contains: str = ""


class PromqlCheck(Value):
    """An instant query; the check holds when its CEL expression `holds` over `value` is true.

    `value` is the first sample's number. No sample means that it does not hold, unless `absent_is_good`.
    """

    type: Literal["promql"] = "promql"
    name: CheckName
    query: str
    holds: str = "value > 0.0"
    absent_is_good: bool = False
    namespace: str = "monitoring"
    service: str = "prometheus"
    port: str = "9090"


class CelCheck(Value):
    """A CEL expression over `object`, one object of the site."""

    type: Literal["cel"] = "cel"
    name: CheckName
    ref: ObjectRef
    expression: str


Check = Annotated[HttpCheck | PromqlCheck | CelCheck, Field(discriminator="type")]


class CheckResult(Value):
    """How one check went. `message` says what was seen; never a secret."""

    name: str
    good: bool
    message: str = ""
