"""A stamp's files become a stamp, or an error that says where they are wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from edge.errors import InvalidInput
from edge.model.base import Value
from edge.model.names import SemVer, StampName
from edge.model.stamp import Component, Parameter, ParameterType, Stamp, StampSource
from edge.policy.manifests import parse_manifests
from edge.policy.parameters import BUILT_IN, check_declaration
from edge.policy.substitute import templates_in, unknown_variable
from edge.policy.yaml_text import parse_yaml

STAMP_FILE = "stamp.yaml"
MANIFEST_ENDINGS = (".yaml", ".yml", ".json")

_Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
_ClusterKind = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{0,62}(\.[a-z0-9.-]+)?$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[_a-zA-Z][_a-zA-Z0-9]{0,62}$")]


def _as_text(value: object) -> object:
    """Values of parameters are text; YAML's whole numbers and booleans are exact, so they may be written bare."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


_Text = Annotated[str, BeforeValidator(_as_text), StringConstraints(max_length=4096)]


class _Part(Value):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class _ParameterSpec(_Part):
    type: ParameterType = ParameterType.STRING
    description: str = Field(default="", max_length=1024)
    default: _Text | None = None
    pattern: str | None = Field(default=None, max_length=512)
    enum: tuple[_Text, ...] = Field(default=(), max_length=100)


class _ComponentSpec(_Part):
    name: StampName
    path: str = Field(min_length=1, max_length=512)


class _Metadata(_Part):
    name: StampName


class _Spec(_Part):
    version: SemVer
    description: str = Field(default="", max_length=1024)
    namespaces: tuple[_Namespace, ...] = Field(min_length=1, max_length=100)
    cluster_kinds: tuple[_ClusterKind, ...] = Field(default=(), max_length=100)
    parameters: dict[_Name, _ParameterSpec] = Field(default={}, max_length=200)
    components: tuple[_ComponentSpec, ...] = Field(min_length=1, max_length=100)


class _Header(_Part):
    """The content of stamp.yaml."""

    api_version: Literal["edge-platform.io/v1"]
    kind: Literal["Stamp"]
    metadata: _Metadata
    spec: _Spec


def parse_stamp(source: StampSource) -> Stamp:
    """The stamp that these files describe. Raises InvalidInput with file and field; nothing is believed before.

    Checked are stamp.yaml, the components' paths, every manifest's syntax and head, and that each variable is declared
    or has a default. Where the objects go depends on the parameters' values: see `edge.policy.render`.
    """
    origin = source.origin
    if STAMP_FILE not in source.files:
        raise InvalidInput(f"There is no {STAMP_FILE}", file=origin)
    spec_file = f"{origin}/{STAMP_FILE}"
    header = _header(source.files[STAMP_FILE], spec_file)
    spec = header.spec
    parameters = {name: Parameter(**dict(said)) for name, said in spec.parameters.items()}
    for name, parameter in parameters.items():
        check_declaration(name, parameter, file=spec_file)
    components = tuple(Component(name=said.name, path=said.path.rstrip("/")) for said in spec.components)
    stamp = Stamp(
        name=header.metadata.name,
        version=spec.version,
        description=spec.description,
        namespaces=spec.namespaces,
        cluster_kinds=spec.cluster_kinds,
        parameters=parameters,
        components=components,
        manifests=_manifest_files(source, components, spec_file),
        digest=digest_of(source.files),
    )
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


def _header(text: str, file: str) -> _Header:
    document = parse_yaml(text, origin=file)
    if not isinstance(document, dict):
        raise InvalidInput("A stamp must be a mapping", file=file, value=type(document).__name__)
    try:
        return _Header.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        value = repr(first["input"])[:100] if first["type"] != "missing" else None
        raise InvalidInput(first["msg"], file=file, field=field, value=value) from error


def _manifest_files(source: StampSource, components: tuple[Component, ...], spec_file: str) -> dict[str, str]:
    """Path and text of every manifest, by component and then by path. Each file belongs to one component."""
    found: dict[str, str] = {}
    names: set[str] = set()
    for component in components:
        where = {"file": spec_file, "field": f"spec.components.{component.name}"}
        if component.name in names:
            raise InvalidInput("There are two components of this name", value=component.name, **where)
        names.add(component.name)
        paths = _files_of(component, source.files, where)
        twice = next((path for path in paths if path in found), None)
        if twice is not None:
            raise InvalidInput("This file belongs to two components", value=twice, **where)
        found.update({path: source.files[path] for path in paths})
    return found


def _files_of(component: Component, files: Mapping[str, str], where: dict[str, str]) -> list[str]:
    path = component.path
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput("A component's path must be inside the stamp's folder", value=path, **where)
    inside = sorted(file for file in files if file == path or file.startswith(f"{path}/"))
    manifests = [file for file in inside if file != STAMP_FILE and file.endswith(MANIFEST_ENDINGS)]
    if not manifests:
        raise InvalidInput("This component has no manifests", value=path, **where)
    return manifests


def _check_manifests(stamp: Stamp) -> None:
    known = {*stamp.parameters, *BUILT_IN}
    manifests = parse_manifests(tuple(stamp.manifests.items()))
    if not manifests:
        raise InvalidInput("The stamp has no objects", file=STAMP_FILE, field="spec.components")
    for _, manifest in manifests:
        for template in templates_in(manifest):
            for variable in template.variables():
                if variable.name not in known and variable.default is None:
                    raise unknown_variable(variable.name, template)


@contextmanager
def _below(origin: str) -> Iterator[None]:
    """Errors name a manifest by its path inside the stamp; here, put the stamp's place in front of it."""
    try:
        yield
    except InvalidInput as error:
        error.where["file"] = f"{origin}/{error.where['file']}"
        raise
