"""A stamp and a site's values become the objects of that site, and nothing outside the stamp's namespaces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edge.errors import InvalidInput
from edge.model.stamp import Stamp
from edge.policy.manifests import MAX_OBJECTS, Manifest
from edge.policy.mergeable import mergeable
from edge.policy.parameters import texts_of
from edge.policy.scope import Scopes, is_namespaced
from edge.policy.substitute import Filler

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "edge-platform"
STAMP_LABEL = "edge-platform.io/stamp"
VERSION_ANNOTATION = "edge-platform.io/version"

_NAME = re.compile(r"(?!\.{1,2}$)[^/%\x00-\x20\x7f]{1,253}")


class _Identity(NamedTuple):
    """What makes an object one and the same to a cluster; the version of its group does not."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def render_documents(
    stamp: Stamp, documents: Sequence[Manifest], values: Mapping[str, str]
) -> tuple[dict[str, Any], ...]:
    """The objects of these manifests, one for each and in their order; whichever engine made the manifests.

    `values` are those of `values_for`. Every object gets the platform's labels and the stamp's version, and the form
    that merges well. Raises InvalidInput for an object outside the stamp's namespaces, a cluster-wide kind that the
    stamp does not name, and for two objects that are one. The answer is the caller's own: it may be changed.
    """
    if len(documents) > MAX_OBJECTS:
        what = f"A stamp may have at most {MAX_OBJECTS} objects"
        raise InvalidInput(what, stamp=stamp.name, value=len(documents))
    filler = Filler(values, texts_of(stamp))
    filled: list[tuple[str, Any]] = [(file, filler.fill(manifest)) for file, manifest in documents]
    own = _own_scopes([obj for _, obj in filled])
    objects: dict[_Identity, dict[str, Any]] = {}
    for file, obj in filled:
        identity = _identity(obj, file)
        _check_place(stamp, identity, own, file)
        if identity in objects:
            raise InvalidInput("The stamp has this object twice", file=file, object=identity)
        objects[identity] = mergeable(_marked(obj, stamp))
    return tuple(objects.values())


def _own_scopes(objects: Sequence[Mapping[str, Any]]) -> Scopes:
    """The scopes of the kinds that the stamp itself defines. A definition without them is for the cluster to refuse."""
    specs = [obj.get("spec") for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    scopes: dict[tuple[str, str], bool] = {}
    for spec in specs:
        names = spec.get("names") if isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(names, dict):
            scopes[str(spec.get("group")), str(names.get("kind"))] = spec.get("scope") != "Cluster"
    return scopes


def _identity(obj: Mapping[str, Any], file: str) -> _Identity:
    meta = obj["metadata"]
    name, namespace = meta["name"], meta.get("namespace", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput("This is not a name", file=file, field="metadata.name", value=repr(name))
    if not isinstance(namespace, str):
        raise InvalidInput("This is not a name", file=file, field="metadata.namespace", value=repr(namespace))
    return _Identity(obj["apiVersion"].rpartition("/")[0], obj["kind"], namespace, name)


def _check_place(stamp: Stamp, place: _Identity, own: Scopes, file: str) -> None:
    where = {"file": file, "object": str(place)}
    if is_namespaced(place.group, place.kind, has_namespace=bool(place.namespace), own=own):
        if not place.namespace:
            raise InvalidInput("This object needs a namespace", field="metadata.namespace", **where)
        _check_namespace(stamp, place.namespace, {"field": "metadata.namespace", **where})
    elif place.namespace:
        raise InvalidInput("This kind has no namespace", field="metadata.namespace", value=place.namespace, **where)
    elif (place.group, place.kind) == ("", "Namespace"):
        _check_namespace(stamp, place.name, {"field": "metadata.name", **where})
    elif not {place.kind, f"{place.kind}.{place.group}"}.intersection(stamp.cluster_kinds):
        remedy = "Name the kind in spec.clusterKinds of stamp.yaml"
        what = "The stamp may not write cluster-wide objects of this kind"
        raise InvalidInput(what, remedy=remedy, field="kind", value=place.kind, **where)


def _check_namespace(stamp: Stamp, namespace: str, where: Mapping[str, str]) -> None:
    if namespace not in stamp.namespaces:
        allowed = ", ".join(stamp.namespaces)
        raise InvalidInput("The stamp may not write to this namespace", value=namespace, allowed=allowed, **where)


def _marked(obj: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    meta = obj["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    meta["labels"] = {**labels, MANAGED_BY_LABEL: MANAGED_BY, STAMP_LABEL: stamp.name}
    meta["annotations"] = {**annotations, VERSION_ANNOTATION: stamp.version}
    return obj
