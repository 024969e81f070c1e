"""Parameters of a stamp: what may be declared, and which values a site is rendered with.

A value is one line of text without control characters. Patterns are matched by pydantic's engine, which takes linear
time whatever the pattern, so that a stamp cannot stop a rollout with a pattern that never ends.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from edge.errors import InvalidInput
from edge.model.site import Site
from edge.model.stamp import Parameter, ParameterType, Stamp

BUILT_IN = ("site_name", "site_region", "site_tenant", "site_role")
"""Values that every stamp may use without declaring them; the caller gives them with the other parameters."""

MAX_VALUE = 4096

_FORMS = {
    ParameterType.INTEGER: re.compile(r"-?(0|[1-9][0-9]{0,17})"),
    ParameterType.NUMBER: re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?"),
    ParameterType.BOOLEAN: re.compile(r"true|false"),
}
_SAMPLES = {
    ParameterType.STRING: "sample",
    ParameterType.INTEGER: "1",
    ParameterType.NUMBER: "1",
    ParameterType.BOOLEAN: "true",
}


def check_declaration(name: str, parameter: Parameter, *, file: str) -> None:
    """Raises InvalidInput when a parameter's declaration contradicts itself or takes a built-in name."""
    field = f"spec.parameters.{name}"
    if name in BUILT_IN:
        raise InvalidInput("Every stamp has this parameter already", file=file, field=field, value=name)
    try:
        TypeAdapter(Annotated[str, StringConstraints(pattern=parameter.pattern)])
        _matcher(parameter.pattern)
    except SchemaError as error:
        said = "This is not a pattern that can be used (no look-around, no back-references)"
        raise InvalidInput(said, file=file, field=f"{field}.pattern", value=parameter.pattern) from error
    for value in parameter.enum:
        _check(value, parameter.model_copy(update={"enum": ()}), file=file, field=f"{field}.enum")
    if parameter.default is not None:
        _check(parameter.default, parameter, file=file, field=f"{field}.default")


def values_for(stamp: Stamp, parameters: Mapping[str, str]) -> dict[str, str]:
    """Every value that the stamp is rendered with: what is given, and defaults for the rest.

    Raises InvalidInput for a value that no parameter takes, one that does not fit, and a parameter without a value.
    """
    unknown = sorted(name for name in parameters if name not in stamp.parameters and name not in BUILT_IN)
    if unknown:
        known = ", ".join(sorted(stamp.parameters)) or "none"
        raise InvalidInput("The stamp has no such parameter", stamp=stamp.name, parameter=unknown[0], known=known)
    values = dict(parameters)
    for name, parameter in stamp.parameters.items():
        value = values.setdefault(name, parameter.default or "")
        if name not in parameters and parameter.default is None:
            raise InvalidInput("This parameter has no default and needs a value", stamp=stamp.name, parameter=name)
        if name in parameters:
            _check(value, parameter, stamp=stamp.name, parameter=name)
    for name in BUILT_IN:
        if name in parameters:
            _check(parameters[name], Parameter(), stamp=stamp.name, parameter=name)
    return values


def site_parameters(site: Site, parameters: Mapping[str, str]) -> dict[str, str]:
    """What a stamp is rendered with on this site: the parameters given, and what every stamp may use of the site.

    Raises InvalidInput when one of the latter is given.
    """
    taken = sorted(set(parameters).intersection(BUILT_IN))
    if taken:
        raise InvalidInput("The site itself says this", parameter=taken[0], value=parameters[taken[0]])
    own = dict(zip(BUILT_IN, (site.name, site.region, site.tenant, site.role), strict=True))
    return {**parameters, **own}


def texts_of(stamp: Stamp) -> frozenset[str]:
    """Names of the parameters whose values must stay text when a manifest has them without quotes."""
    declared = {name for name, parameter in stamp.parameters.items() if parameter.type is ParameterType.STRING}
    return frozenset({*declared, *BUILT_IN})


def sample_parameters(stamp: Stamp, given: Mapping[str, str]) -> dict[str, str]:
    """What is given, and for the rest values that fit, so that a stamp can be checked without a site.

    A parameter with a pattern and neither default nor enum gets none: nobody can guess it.
    """
    samples = {
        name: parameter.enum[0] if parameter.enum else _SAMPLES[parameter.type]
        for name, parameter in stamp.parameters.items()
        if parameter.default is None and (parameter.enum or parameter.pattern is None)
    }
    return {**{name: name.replace("_", "-") for name in BUILT_IN}, **samples, **given}


def _check(value: str, declared: Parameter, /, **where: str) -> None:
    if len(value) > MAX_VALUE or not value.isprintable():
        raise InvalidInput(f"A value is one line of at most {MAX_VALUE} printable characters", **where)
    form = _FORMS.get(declared.type)
    if form is not None and not form.fullmatch(value):
        raise InvalidInput(f"This is not of type {declared.type}", value=value, **where)
    if declared.enum and value not in declared.enum:
        raise InvalidInput(
            "This is not one of the values allowed", value=value, allowed=", ".join(declared.enum), **where
        )
    try:
        _matcher(declared.pattern).validate_python(value)
    except ValidationError as error:
        raise InvalidInput("This does not match the pattern", value=value, pattern=declared.pattern, **where) from error


@functools.lru_cache(maxsize=256)
def _matcher(pattern: str | None) -> TypeAdapter[str]:
    whole = f"^(?:{pattern})$" if pattern is not None else None
    return TypeAdapter(Annotated[str, StringConstraints(pattern=whole)])
