"""What differs between two versions of a stamp: its parts, its parameters, and every object it comes to.

The objects are those that are shown, with references in place of secrets; the text of a Secret's own data is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge.model.base import Value
from edge.model.kube import KubeObject
from edge.model.stamp import Stamp
from edge.policy.render import VERSION_ANNOTATION

HIDDEN = "(not shown)"
_LONGEST = 200
_SECRET_FIELDS = ("data", "stringData")
_OWN = frozenset({"components", "parameters", "values", "checks", "waivers", "manifests", "files", "digest", "version"})


class FieldDifference(Value):
    """One field. `before` and `after` are short JSON; "" where the field is not there."""

    field: str
    before: str = ""
    after: str = ""


class Difference(Value):
    """What is added, removed, or changed: a name or an object, and for what is changed the fields."""

    name: str
    fields: tuple[FieldDifference, ...] = ()


class Differences(Value):
    """Things of one kind."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Difference, ...] = ()

    def is_empty(self) -> bool:
        """Whether there is no difference."""
        return not (self.added or self.removed or self.changed)


class StampDifference(Value):
    """Everything that differs. `stamp` is about the fields of stamp.yaml that belong to no list."""

    before: str
    after: str
    stamp: tuple[FieldDifference, ...] = ()
    components: Differences
    parameters: Differences
    values: Differences
    checks: Differences
    waivers: Differences
    objects: Differences

    def is_empty(self) -> bool:
        """Whether the two come to the same."""
        parts = (self.components, self.parameters, self.values, self.checks, self.waivers, self.objects)
        return not self.stamp and all(part.is_empty() for part in parts)


def diff_stamps(
    before: Stamp, after: Stamp, objects_before: Sequence[KubeObject], objects_after: Sequence[KubeObject]
) -> StampDifference:
    """What `after` adds to, takes from and changes in `before`, each rendered with the same values."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    fields = [field for field in old if field not in _OWN]
    return StampDifference(
        before=f"{before.name} {before.version}",
        after=f"{after.name} {after.version}",
        stamp=tuple(_fields({key: old[key] for key in fields}, {key: new[key] for key in fields})),
        components=_compared(_by_name(old["components"]), _by_name(new["components"])),
        parameters=_compared(old["parameters"], new["parameters"]),
        values=_compared(_levels(old["values"]), _levels(new["values"])),
        checks=_compared(_by_name(old["checks"]), _by_name(new["checks"])),
        waivers=_compared(_waivers(old["waivers"]), _waivers(new["waivers"])),
        objects=_hidden(_compared(_by_identity(objects_before), _by_identity(objects_after))),
    )


def _compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Differences:
    both = [name for name in old if name in new]
    changed = [Difference(name=name, fields=tuple(_fields(old[name], new[name]))) for name in both]
    return Differences(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(one for one in changed if one.fields),
    )


def _fields(old: Any, new: Any, path: str = "") -> Iterator[FieldDifference]:
    """Leaves that differ. Lists of equal length are compared item by item, others as a whole."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _field(old, new, key, f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _fields(one, other, f"{path}[{number}]")
    else:
        yield FieldDifference(field=path, before=_short(old), after=_short(new))


def _field(old: dict[str, Any], new: dict[str, Any], key: str, path: str) -> Iterator[FieldDifference]:
    if key in old and key in new:
        yield from _fields(old[key], new[key], path)
    else:
        before, after = (_short(said[key]) if key in said else "" for said in (old, new))
        yield FieldDifference(field=path, before=before, after=after)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _by_name(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {item["name"]: item for item in items}


def _levels(values: Mapping[str, Any]) -> dict[str, Any]:
    """`sites.mill-1` -> parameter -> value."""
    return {f"{level}.{name}": given for level, named in values.items() for name, given in named.items()}


def _waivers(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {" ".join(filter(None, (item["code"], item["object"]))): item for item in items}


def _by_identity(objects: Sequence[KubeObject]) -> dict[str, Any]:
    """An object's name for people -> what matters of it. The version stands in each, so it is no difference."""
    return {_name(obj): _without_version(obj) for obj in objects}


def _name(obj: KubeObject) -> str:
    meta = obj["metadata"]
    group = obj["apiVersion"].rpartition("/")[0]
    kind = f"{obj['kind']}.{group}" if group else obj["kind"]
    return f"{kind} {meta['namespace']}/{meta['name']}" if meta.get("namespace") else f"{kind} {meta['name']}"


def _without_version(obj: KubeObject) -> dict[str, Any]:
    annotations = obj["metadata"].get("annotations") or {}
    kept = {key: value for key, value in annotations.items() if key != VERSION_ANNOTATION}
    return {**obj, "metadata": {**obj["metadata"], "annotations": kept}}


def _hidden(found: Differences) -> Differences:
    """Which of a Secret's fields changed stays to be seen; what is in them does not."""
    changed = [_without_texts(one) if one.name.startswith("Secret ") else one for one in found.changed]
    return found.model_copy(update={"changed": tuple(changed)})


def _without_texts(difference: Difference) -> Difference:
    fields = [
        FieldDifference(field=one.field, before=one.before and HIDDEN, after=one.after and HIDDEN)
        if one.field.partition(".")[0] in _SECRET_FIELDS
        else one
        for one in difference.fields
    ]
    return difference.model_copy(update={"fields": tuple(fields)})
