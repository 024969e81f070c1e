"""Server-side apply and the record of field managers, as `structured-merge-diff` does it in a real API server.

`server_side_apply` is one declarative write; `track_update` keeps the record right after every other kind of write.
Both are pure. What they return shares unchanged parts with what they were given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from edge.lab.kube.field_merge import merged, without
from edge.lab.kube.field_walk import NotTyped, applied_fields, changes
from edge.lab.kube.fields import FieldSet, difference, intersection, members, path_text, union
from edge.lab.kube.schema import Schema
from edge.lab.kube.schema_node import Json

APPLY: Final = "Apply"
UPDATE: Final = "Update"
BEFORE_FIRST_APPLY: Final = "before-first-apply"
Conflict = tuple[str, str, str]
"""Manager (as a real server words it), apiVersion, and the path of the field."""

SERVER_FIELDS: Final = (
    *("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields"),
    "resourceVersion",
)
"""Metadata that belongs to the server, so that no manager can own it."""
NOT_OWNED: Final[FieldSet] = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {".": {}, **{f"f:{name}": {} for name in SERVER_FIELDS}},
}
NOT_APPLIED: Final = frozenset(SERVER_FIELDS) - {"name", "namespace"} | {
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
}


class ApplyConflict(Exception):
    """Fields that would change belong to other managers. `conflicts` has one entry per manager and field."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        self.conflicts = list(conflicts)
        super().__init__(_conflict_text(self.conflicts))

    def causes(self) -> list[tuple[str, str]]:
        """(field path, message) of each conflict, for a Status with reason FieldManagerConflict."""
        return [(path, f"conflict with {_who(manager, version)}") for manager, version, path in self.conflicts]


class ApplyRefused(Exception):
    """The applied configuration cannot be read as an object of its kind: an unknown field, a wrong type, a missing key.

    A real server answers 500 with `failed to create typed patch object (<ns>/<name>; <apiVersion>, Kind=<kind>): ` and
    this text.
    """


def server_side_apply(  # noqa: PLR0913 - one write is all of these, and callers name them
    schema: Schema,
    live: Json | None,
    applied: Json,
    *,
    manager: str,
    force: bool,
    now: str,
    subresource: str = "",
) -> Json:
    """The object after `manager` applied `applied` over `live` (None: it does not exist yet).

    Fields that the manager applied before and now leaves out are removed when nobody else owns them. When nothing
    changes the result is `live` itself. Fields that a write to this `subresource` cannot set (status, spec) are the
    caller's to leave out. `now` is RFC 3339. Raises ApplyConflict unless `force`, and ApplyRefused.
    """
    applied = _applicable(applied)
    try:
        owned = difference(applied_fields(schema.root, applied), NOT_OWNED)
    except NotTyped as problem:
        raise ApplyRefused(str(problem)) from problem
    entries = _entries(live) or _never_tracked(schema, live, now)
    mine = next((entry for entry in entries if _is(entry, manager, APPLY, subresource)), None)
    others = [entry for entry in entries if entry is not mine]
    before = mine["fieldsV1"] if mine else {}
    after = _laid_over(schema, live, applied, (before, owned, others))
    if after is live and before == owned:
        return after
    others = _taken_from(schema, live, after, others, force)
    if live is not None and before == owned and _settles_as(schema, after, live):
        return live
    version = str(applied.get("apiVersion", ""))
    entry = _entry((manager, APPLY, version, subresource), owned, now)
    return _with_entries(after, [*others, *([entry] if owned else [])])


def track_update(  # noqa: PLR0913 - one write is all of these, and callers name them
    schema: Schema, before: Json | None, after: Json, *, manager: str, now: str, subresource: str = ""
) -> Json:
    """`after` with its managedFields after a create (`before` is None), update or patch by `manager`.

    Changed fields become the manager's and nobody else's; removed ones nobody's. A client may edit the record itself,
    but not through a subresource; an entry that is empty (`[{}]`) resets it, and an object without a record stays
    without one until somebody applies to it.
    """
    entries = _tracked(before, after, subresource)
    if before is not None and not entries:
        return _with_entries(after, [])
    version = str(after.get("apiVersion", ""))
    changed, removed = changes(schema.root, schema.skeleton if before is None else before, after)
    changed = difference(changed, NOT_OWNED)
    kept = []
    own: Json | None = None
    for entry in entries:
        if _is(entry, manager, UPDATE, subresource) and entry.get("apiVersion") == version:
            own = entry
            continue
        kept.extend(_less(entry, union(changed, removed)))
    fields = union(difference(own["fieldsV1"], removed) if own else {}, changed)
    if fields:
        time = now if changed or own is None else own["time"]
        kept.append(_entry((manager, UPDATE, version, subresource), fields, time))
    return _with_entries(after, kept)


def _never_tracked(schema: Schema, live: Json | None, now: str) -> list[Json]:
    """The record of an object without one: what it holds at its first apply belongs to a manager of that name."""
    if live is None:
        return []
    return _entries(track_update(schema, None, live, manager=BEFORE_FIRST_APPLY, now=now))


def _applicable(applied: Json) -> Json:
    metadata = applied.get("metadata") or {}
    if metadata.get("managedFields"):
        raise ApplyRefused("metadata.managedFields must be nil")
    if NOT_APPLIED.isdisjoint(metadata):
        return applied
    return {**applied, "metadata": {key: value for key, value in metadata.items() if key not in NOT_APPLIED}}


def _laid_over(
    schema: Schema, live: Json | None, applied: Json, ownership: tuple[FieldSet, FieldSet, list[Json]]
) -> Json:
    """The new object: `applied` over `live`, less what this manager gave up and nobody else has."""
    before, owned, others = ownership
    after = merged(schema.root, live or {}, applied)
    if live is None or before == owned or not difference(before, owned):
        return after
    kept = owned
    for entry in others:
        kept = union(kept, entry["fieldsV1"])
    pruned: Json = without(schema.root, after, before, kept)
    return pruned


def _settles_as(schema: Schema, after: Json, live: Json) -> bool:
    """Whether defaults turn `after` into what `live` is: `1000m` for `1`, or a piece applied without its defaults."""
    settled: Json = orjson.loads(orjson.dumps(after))
    schema.prune(settled)
    schema.default(settled)
    return settled == live


def _taken_from(schema: Schema, live: Json | None, after: Json, others: list[Json], force: bool) -> list[Json]:
    """The other managers' entries after the change. ApplyConflict when it takes something and is not forced."""
    if not others or after is live:
        return others
    changed, removed = changes(schema.root, live, after)
    found = [_conflict(entry, path) for entry in others for path in members(intersection(entry["fieldsV1"], changed))]
    if found and not force:
        raise ApplyConflict(found)
    return [rest for entry in others for rest in _less(entry, union(changed, removed))]


def _less(entry: Json, gone: FieldSet) -> list[Json]:
    """The entry without some fields; nothing at all when none are left."""
    fields = difference(entry["fieldsV1"], gone)
    if fields is entry["fieldsV1"] or fields == entry["fieldsV1"]:
        return [entry]
    return [{**entry, "fieldsV1": fields}] if fields else []


def _tracked(before: Json | None, after: Json, subresource: str) -> list[Json]:
    given = (after.get("metadata") or {}).get("managedFields")
    if given and not subresource:
        if given == [{}]:
            return []
        if all(entry.get("fieldsV1") is not None and entry.get("manager") for entry in given):
            return list(given)
    return _entries(before)


def _entries(obj: Json | None) -> list[Json]:
    return list(((obj or {}).get("metadata") or {}).get("managedFields") or ())


def _is(entry: Json, manager: str, operation: str, subresource: str) -> bool:
    return (
        entry.get("manager") == manager
        and entry.get("operation") == operation
        and entry.get("subresource", "") == subresource
    )


def _entry(identity: tuple[str, str, str, str], fields: FieldSet, time: str) -> Json:
    manager, operation, version, subresource = identity
    entry: Json = {
        "manager": manager,
        "operation": operation,
        "apiVersion": version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**entry, "subresource": subresource} if subresource else entry


def _with_entries(obj: Json, entries: list[Json]) -> Json:
    entries.sort(key=_rank)
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def _rank(entry: Json) -> tuple[Any, ...]:
    words = ("operation", "time", "manager", "apiVersion", "subresource")
    return tuple(entry.get(word, "") for word in words)


def _conflict(entry: Json, path: tuple[str, ...]) -> Conflict:
    who = f'"{entry["manager"]}"'
    if entry.get("subresource"):
        who = f'{who} with subresource "{entry["subresource"]}"'
    return who, entry["apiVersion"] if entry["operation"] == UPDATE else "", path_text(path)


def _who(manager: str, version: str) -> str:
    return f"{manager} using {version}" if version else manager


def _conflict_text(conflicts: Sequence[Conflict]) -> str:
    if len(conflicts) == 1:
        manager, version, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {_who(manager, version)}: {path}"
    by_manager: dict[str, list[str]] = {}
    for manager, version, path in conflicts:
        by_manager.setdefault(_who(manager, version), []).append(f"- {path}")
    lines = [line for who in sorted(by_manager) for line in (f"conflicts with {who}:", *by_manager[who])]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
