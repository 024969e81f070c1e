"""What a server holds against metadata beyond names and labels: annotation keys, finalizers, owners."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edge.lab.kube.errors import Cause, cause

_PREFIX = r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
_QUALIFIED = re.compile(rf"{_PREFIX}[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character"
)
_STANDARD_FINALIZERS = frozenset({"foregroundDeletion", "kubernetes", "orphan"})


def metadata_faults(meta: Mapping[str, Any], *, builtin: bool) -> Iterator[Cause]:
    """Faults of annotations, finalizers and owner references. Custom resources may have finalizers of any name."""
    for key in meta.get("annotations") or ():
        if not _QUALIFIED.fullmatch(key.lower()):
            yield cause("metadata.annotations", "FieldValueInvalid", f'Invalid value: "{key}": {_NAME_PART}')
    if builtin:
        for place, name in enumerate(meta.get("finalizers") or ()):
            yield from _finalizer(f"metadata.finalizers[{place}]", name or "")
    yield from _owners([owner or {} for owner in meta.get("ownerReferences") or ()])


def _finalizer(path: str, name: str) -> Iterator[Cause]:
    if not _QUALIFIED.fullmatch(name):
        yield cause(path, "FieldValueInvalid", f'Invalid value: "{name}": {_NAME_PART}')
    elif "/" not in name and name not in _STANDARD_FINALIZERS:
        text = "name is neither a standard finalizer name nor is it fully qualified"
        yield cause(path, "FieldValueInvalid", f'Invalid value: "{name}": {text}')


def _owners(owners: Any) -> Iterator[Cause]:
    if sum(owner.get("controller") is True for owner in owners) > 1:
        text = "Invalid value: only one reference can have Controller set to true"
        yield cause("metadata.ownerReferences", "FieldValueInvalid", text)
