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
from edge.model.stamp import Parameter, ParameterType, ParameterValues, Stamp
from edge.policy.parameter_schema import check_constraints, check_schema, sample_of
from edge.policy.secret_values import check_reference, refuse_plain_secret
from edge.policy.values import each_value, refuse_unknown, values_of_site

BUILT_IN = ("site_name", "site_region", "site_tenant", "site_role")
"""Values that every stamp may use without declaring them; the caller gives them with the other parameters."""

MAX_VALUE = 4096

_FORMS = {
    ParameterType.INTEGER: re.compile(r"-?(0|[1-9][0-9]{0,17})"),
    ParameterType.NUMBER: re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?"),
    ParameterType.BOOLEAN: re.compile(r"true|false"),
}
_SAMPLE_REFERENCE = "sample/key"


def check_declaration(name: str, parameter: Parameter, *, file: str) -> None:
    """Raises InvalidInput when a parameter's declaration contradicts itself or takes a built-in name."""
    field = f"spec.parameters.{name}"
    if name in BUILT_IN:
        raise InvalidInput("Every stamp has this parameter already", file=file, field=field, value=name)
    if parameter.secret:
        _check_secret_declaration(parameter, file=file, field=field)
    check_constraints(parameter, file=file, field=field)
    _check_pattern(parameter, file=file, field=field)
    for value in parameter.enum:
        _check(name, value, parameter.model_copy(update={"enum": ()}), file=file, field=f"{field}.enum")
    if parameter.default is not None:
        _check(name, parameter.default, parameter, file=file, field=f"{field}.default")


def check_values(values: ParameterValues, parameters: Mapping[str, Parameter], *, file: str) -> None:
    """Raises InvalidInput for a value that a stamp sets for a region, a tenant or a site and that does not fit."""
    for name, value, where in each_value(values, file=file):
        refuse_unknown(name, parameters, where)
        _check(name, value, parameters[name], **where)


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
            _check(name, value, parameter, stamp=stamp.name, parameter=name)
    for name in BUILT_IN:
        if name in parameters:
            _check(name, parameters[name], Parameter(), stamp=stamp.name, parameter=name)
    return values


def site_parameters(site: Site, given: Mapping[str, str], stamp: Stamp | None = None) -> dict[str, str]:
    """What a stamp is rendered with on this site: what is given, what `stamp` sets for the site, what the site says.

    What is given goes before what the stamp sets for the site, that before its tenant's values, those before its
    region's. Raises InvalidInput when something is given that the site itself says.
    """
    taken = sorted(set(given).intersection(BUILT_IN))
    if taken:
        raise InvalidInput("The site itself says this", parameter=taken[0], value=given[taken[0]])
    set_for_it = values_of_site(stamp.values, site) if stamp is not None else {}
    own = dict(zip(BUILT_IN, (site.name, site.region, site.tenant, site.role), strict=True))
    return {**set_for_it, **given, **own}


def texts_of(stamp: Stamp) -> frozenset[str]:
    """Names of the parameters whose values must stay text when a manifest has them without quotes."""
    declared = {name for name, parameter in stamp.parameters.items() if parameter.type is ParameterType.STRING}
    return frozenset({*declared, *BUILT_IN})


def sample_parameters(stamp: Stamp, given: Mapping[str, str]) -> dict[str, str]:
    """What is given, and for the rest values that fit, so that a stamp can be checked without a site.

    A parameter without a default for which nothing simple fits, such as one with a pattern, gets none.
    """
    samples = {
        name: sample
        for name, parameter in stamp.parameters.items()
        if parameter.default is None and (sample := _sample(name, parameter)) is not None
    }
    return {**{name: name.replace("_", "-") for name in BUILT_IN}, **samples, **given}


def _sample(name: str, parameter: Parameter) -> str | None:
    if parameter.secret:
        return _SAMPLE_REFERENCE
    if parameter.pattern is not None and not parameter.enum:
        return None
    sample = parameter.enum[0] if parameter.enum else sample_of(parameter)
    try:
        _check(name, sample, parameter)
    except InvalidInput:
        return None
    return sample


def _check_secret_declaration(parameter: Parameter, *, file: str, field: str) -> None:
    """Nothing can be asked of a text that is not here; only where it comes from is known."""
    narrowed = parameter.pattern is not None or parameter.enum or parameter.constraints
    if narrowed or parameter.type is not ParameterType.STRING:
        what = "A secret parameter has no type, pattern, enum or limits: its values are references"
        raise InvalidInput(what, file=file, field=field)


def _check_pattern(parameter: Parameter, *, file: str, field: str) -> None:
    try:
        TypeAdapter(Annotated[str, StringConstraints(pattern=parameter.pattern)])
        _matcher(parameter.pattern)
    except SchemaError as error:
        said = "This is not a pattern that can be used (no look-around, no back-references)"
        raise InvalidInput(said, file=file, field=f"{field}.pattern", value=parameter.pattern) from error


def _check(name: str, value: str, declared: Parameter, /, **where: str) -> None:
    """Raises InvalidInput for a value that does not fit. What may be a secret is looked at first and never repeated."""
    if declared.secret:
        check_reference(value, **where)
    elif declared.type is ParameterType.STRING and not declared.enum:
        refuse_plain_secret(name, value, **where)
    if len(value) > MAX_VALUE or not value.isprintable():
        raise InvalidInput(f"A value is one line of at most {MAX_VALUE} printable characters", **where)
    form = _FORMS.get(declared.type)
    if form is not None and not form.fullmatch(value):
        raise InvalidInput(f"This is not of type {declared.type}", value=value, **where)
    if declared.enum and value not in declared.enum:
        raise InvalidInput(
            "This is not one of the values allowed", value=value, allowed=", ".join(declared.enum), **where
        )
    _check_match(value, declared, **where)
    check_schema(value, declared, **where)


def _check_match(value: str, declared: Parameter, /, **where: str) -> None:
    try:
        _matcher(declared.pattern).validate_python(value)
    except ValidationError as error:
        raise InvalidInput("This does not match the pattern", value=value, pattern=declared.pattern, **where) from error


@functools.lru_cache(maxsize=256)
def _matcher(pattern: str | None) -> TypeAdapter[str]:
    whole = f"^(?:{pattern})$" if pattern is not None else None
    return TypeAdapter(Annotated[str, StringConstraints(pattern=whole)])
