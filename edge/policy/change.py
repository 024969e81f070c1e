"""What applying a stamp changes on a site: the object as it is, beside what the site's dry run says it would become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge.model.kube import KubeObject, ObjectRef
from edge.model.plan import Action, FieldChange, ObjectChange

SERVER_SET = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
"""Of metadata: what the server writes, and nobody asked for."""

MASK = "(secret)"
MOST_FIELDS = 200
_LONGEST = 200
_ABSENT = object()


def change_of(live: KubeObject | None, after: KubeObject) -> ObjectChange:
    """From `live` (None: it is not there) to `after`, the answer of a dry run. Values of Secrets are masked."""
    ref = ObjectRef.of(after)
    if live is None:
        return ObjectChange(ref=ref, action=Action.CREATE)
    fields = tuple(_fields(_plain(live), _plain(after)))
    if ref.kind == "Secret":
        fields = tuple(_masked(one) for one in fields)
    action = Action.CHANGE if fields else Action.NONE
    return ObjectChange(
        ref=ref, action=action, fields=fields[:MOST_FIELDS], more_fields=max(0, len(fields) - MOST_FIELDS)
    )


def removed(ref: ObjectRef) -> ObjectChange:
    """An object that the version before brought and this one does not have."""
    return ObjectChange(ref=ref, action=Action.REMOVE)


def _plain(obj: KubeObject) -> dict[str, Any]:
    """The object without status and what the server sets."""
    meta = {word: value for word, value in obj["metadata"].items() if word not in SERVER_SET}
    return {**{word: value for word, value in obj.items() if word not in ("status", "metadata")}, "metadata": meta}


def _fields(before: object, after: object, path: str = "") -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for word in sorted({*before, *after}, key=str):
            yield from _fields(before.get(word, _ABSENT), after.get(word, _ABSENT), _below(path, str(word)))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _items(before, after, path)
    else:
        yield FieldChange(path=path, before=_text(before), after=_text(after))


def _items(before: list[Any], after: list[Any], path: str) -> Iterator[FieldChange]:
    """Items by their names where all have one, as in a list of containers; else by place."""
    if all(isinstance(one, Mapping) and "name" in one for one in (*before, *after)):
        old, new = ({f"[name={one['name']}]": one for one in items} for items in (before, after))
    else:
        old, new = ({f"[{place}]": one for place, one in enumerate(items)} for items in (before, after))
    for key in dict.fromkeys((*old, *new)):
        yield from _fields(old.get(key, _ABSENT), new.get(key, _ABSENT), path + key)


def _below(path: str, word: str) -> str:
    if "." in word or "/" in word:
        return f"{path}[{word}]"
    return f"{path}.{word}" if path else word


def _text(value: object) -> str | None:
    """A value in one line; None when it is absent."""
    if value is _ABSENT:
        return None
    if isinstance(value, str):
        said = value
    elif isinstance(value, bool) or value is None:
        said = {True: "true", False: "false", None: "null"}[value]
    else:
        said = str(value)
    said = " ".join(said.split())
    return said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."


def _masked(one: FieldChange) -> FieldChange:
    """Labels and type of a Secret may be seen; its data may not, nor an annotation, which may repeat it."""
    if one.path.startswith(("metadata.labels", "type", "immutable")):
        return one
    hidden = {"before": one.before and MASK, "after": one.after and MASK}
    return one.model_copy(update=hidden)
