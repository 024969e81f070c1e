"""A stamp's files become a stamp, or an error that says where they are wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edge.errors import InvalidInput
from edge.model.check import CelCheck, Check, HttpCheck, PromqlCheck
from edge.model.kube import ObjectRef
from edge.model.rule import Waiver
from edge.model.stamp import (
    Component,
    ComponentKind,
    Parameter,
    ParameterType,
    ParameterValues,
    Requirements,
    Stamp,
    StampSource,
)
from edge.policy.checks import compile_checks
from edge.policy.component_files import STAMP_FILE, engine_files, manifest_files, place_of
from edge.policy.components import in_dependency_order
from edge.policy.manifests import parse_manifests
from edge.policy.parameter_schema import typed
from edge.policy.parameters import BUILT_IN, check_declaration, check_values
from edge.policy.secret_values import refuse_plain_secret
from edge.policy.stamp_header import CelSpec, CheckSpec, ComponentSpec, ParameterSpec, Spec, parse_header
from edge.policy.substitute import Template, parse_template, templates_in, unknown_variable

__all__ = ["STAMP_FILE", "digest_of", "parse_stamp"]


def parse_stamp(source: StampSource) -> Stamp:
    """The stamp that these files describe. Raises InvalidInput with file and field; nothing is believed before.

    Checked are stamp.yaml, the values it sets for sites, the components' order and paths, every manifest's syntax and
    head, where a kustomization leads, and that each variable is declared or has a default. Where the objects go depends
    on the parameters' values: see `edge.policy.render`.
    """
    origin = source.origin
    if STAMP_FILE not in source.files:
        raise InvalidInput(f"There is no {STAMP_FILE}", file=origin)
    spec_file = f"{origin}/{STAMP_FILE}"
    header = parse_header(source.files[STAMP_FILE], spec_file)
    spec = header.spec
    components = _components(spec, spec_file)
    stamp = Stamp(
        name=header.metadata.name,
        version=spec.version,
        description=spec.description,
        namespaces=spec.namespaces,
        cluster_kinds=spec.cluster_kinds,
        **_values(spec, spec_file),
        components=components,
        requires=Requirements(**dict(spec.requires)),
        checks=tuple(_check(said) for said in spec.checks),
        waivers=tuple(Waiver(**dict(said)) for said in spec.policies.waivers),
        required_step=spec.required_step,
        manifests=manifest_files(source, components, spec_file),
        files=engine_files(source, components, spec_file),
        digest=digest_of(source.files),
    )
    with _in_file(spec_file, "spec."):
        compile_checks(stamp.checks)
    _check_component_values(stamp, spec_file)
    with _below(origin):
        _check_manifests(stamp)
    return stamp


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 in hex over all files, by path. Lengths go in as well, so that no two sets of files look alike."""
    digest = hashlib.sha256()
    for path in sorted(files):
        for part in (path.encode(), files[path].encode()):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def _values(spec: Spec, file: str) -> dict[str, Any]:
    """The parameters, and the values that the stamp sets for some sites; all of them fit."""
    parameters = {name: _parameter(name, said, file) for name, said in spec.parameters.items()}
    for name, parameter in parameters.items():
        check_declaration(name, parameter, file=file)
    levels = {
        level: {
            name: {
                key: _text(value, parameters.get(key), f"spec.values.{level}.{name}.{key}", file)
                for key, value in given.items()
            }
            for name, given in named.items()
        }
        for level, named in spec.values
    }
    values = ParameterValues(**levels)
    check_values(values, parameters, file=file)
    return {"parameters": parameters, "values": values}


def _parameter(name: str, said: ParameterSpec, file: str) -> Parameter:
    field = f"spec.parameters.{name}"
    blank = Parameter(type=said.type, description=said.description, pattern=said.pattern, secret=said.secret)
    const = None if said.const is None else _text(said.const, blank, f"{field}.const", file)
    constraints = said.constraints()
    if const is not None:
        constraints["const"] = _typed(const, said.type, f"{field}.const", file)
    update = {
        "default": None if said.default is None else _text(said.default, blank, f"{field}.default", file),
        "enum": tuple(_text(value, blank, f"{field}.enum", file) for value in said.enum),
        "constraints": constraints,
    }
    return blank.model_copy(update=update)


def _text(value: str | float, parameter: Parameter | None, field: str, file: str) -> str:
    """A fraction of YAML is exact only as a number: as text, 1.10 would become 1.1."""
    if isinstance(value, str):
        return value
    if parameter is None or parameter.type is not ParameterType.NUMBER:
        what = "A fraction may be written bare only for a parameter of type number"
        raise InvalidInput(what, remedy="Put it in quotes", file=file, field=field)
    return str(value)


def _typed(value: str, kind: ParameterType, field: str, file: str) -> str | int | float | bool:
    try:
        return typed(value, kind)
    except ValueError:
        raise InvalidInput(f"This is not of type {kind}", file=file, field=field) from None


def _components(spec: Spec, file: str) -> tuple[Component, ...]:
    """The components as they were written down; each name once, and no circle among them."""
    components = tuple(_component(said, spec, file) for said in spec.components)
    names: set[str] = set()
    for component in components:
        if component.name in names:
            what = "There are two components of this name"
            raise InvalidInput(what, value=component.name, **place_of(component, file))
        names.add(component.name)
    with _in_file(file):
        in_dependency_order(components)
    return components


def _component(said: ComponentSpec, spec: Spec, file: str) -> Component:
    component = Component(
        name=said.name, path=said.path.rstrip("/"), kind=said.kind, depends_on=said.depends_on, values=said.values
    )
    place = place_of(component, file)
    if said.kind is not ComponentKind.HELM:
        for_helm = {"namespace": said.namespace, "release": said.release, "chartVersion": said.chart_version}
        given = [word for word, value in {**for_helm, "values": said.values or None}.items() if value is not None]
        if given:
            what = f"A component of kind {said.kind} has no {given[0]}"
            raise InvalidInput(what, remedy="This is for kind: helm", **place)
        return component
    if said.namespace is None and len(spec.namespaces) > 1:
        what = "A Helm component needs a namespace, since the stamp has several"
        raise InvalidInput(what, allowed=", ".join(spec.namespaces), **place)
    namespace = said.namespace or spec.namespaces[0]
    if namespace not in spec.namespaces:
        allowed = ", ".join(spec.namespaces)
        raise InvalidInput("The stamp may not write to this namespace", value=namespace, allowed=allowed, **place)
    update = {
        "namespace": namespace,
        "release": said.release or said.name,
        "chart_version": said.chart_version or "",
    }
    return component.model_copy(update=update)


def _check(said: CheckSpec) -> Check:
    if isinstance(said, CelSpec):
        place = said.object
        ref = ObjectRef(
            api_version=place.api_version, kind=place.kind, name=place.name, namespace=place.namespace or ""
        )
        return CelCheck(name=said.name, ref=ref, expression=said.expression)
    return HttpCheck(**dict(said)) if said.type == "http" else PromqlCheck(**dict(said))


def _check_component_values(stamp: Stamp, file: str) -> None:
    """Every `${name}` in the values for a chart is a parameter or has a default, and no secret stands there."""
    known = {*stamp.parameters, *BUILT_IN}
    for component in stamp.components:
        field = f"spec.components.{component.name}.values"
        for key, text in _texts_in(component.values, field):
            template = parse_template(text, plain=False, file=file, line=0)
            if isinstance(template, Template):
                _check_variables(template, known, field=key)
            else:
                refuse_plain_secret(key.rpartition(".")[2], text, file=file, field=key)


def _texts_in(node: object, path: str) -> Iterator[tuple[str, str]]:
    """Every text, and where it stands; an item of a list stands where the list does."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict):
        for key, inner in node.items():
            yield from _texts_in(inner, f"{path}.{key}")
    elif isinstance(node, list):
        for inner in node:
            yield from _texts_in(inner, path)


def _check_manifests(stamp: Stamp) -> None:
    known = {*stamp.parameters, *BUILT_IN}
    manifests = parse_manifests(tuple(stamp.manifests.items()))
    if not manifests and not stamp.files and all(one.kind is ComponentKind.MANIFESTS for one in stamp.components):
        raise InvalidInput("The stamp has no objects", file=STAMP_FILE, field="spec.components")
    for _, manifest in manifests:
        for template in templates_in(manifest):
            _check_variables(template, known)


def _check_variables(template: Template, known: set[str], field: str | None = None) -> None:
    for variable in template.variables():
        if variable.name not in known and variable.default is None:
            error = unknown_variable(variable.name, template)
            if field is not None:
                error.where.pop("line", None)
                error.where["field"] = field
            raise error


@contextmanager
def _in_file(file: str, prefix: str = "") -> Iterator[None]:
    """Put the file, and what its fields begin with, in front of what an error says about stamp.yaml."""
    try:
        yield
    except InvalidInput as error:
        error.where = {"file": file, **error.where, "field": prefix + error.where["field"]}
        raise


@contextmanager
def _below(origin: str) -> Iterator[None]:
    """Errors name a manifest by its path inside the stamp; here, put the stamp's place in front of it."""
    try:
        yield
    except InvalidInput as error:
        error.where["file"] = f"{origin}/{error.where['file']}"
        raise
