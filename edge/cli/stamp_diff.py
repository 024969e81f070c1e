"""`edge stamp diff`: what one version of a stamp has that the other has not, down to the fields of each object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from edge.cli.output import JsonFlag, emit, speaks, table
from edge.cli.site import pairs
from edge.cli.stamp_shown import SetOption, SiteOption, StampArgument, find_site, find_stamp, shown_objects
from edge.errors import InvalidInput
from edge.model.kube import KubeObject
from edge.model.site import Site
from edge.model.stamp import Stamp
from edge.policy.parameters import BUILT_IN
from edge.policy.stamp_diff import Differences, FieldDifference, StampDifference, diff_stamps

_PARTS = ("components", "parameters", "values", "checks", "waivers", "objects")


@speaks
def diff(
    before: StampArgument,
    after: StampArgument,
    site: SiteOption = None,
    set_: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what differs between two stamps, or two versions of one, and change nothing.

    Both are rendered with the same values; the version that stands in every object is no difference.
    """
    old, new, given = find_stamp(before), find_stamp(after), pairs(set_ or [], "--set")
    _refuse_unknown(old, new, given)
    where = find_site(site)
    found = diff_stamps(old, new, _objects(old, where, given), _objects(new, where, given))
    said = "There is no difference" if found.is_empty() else _table(found)
    emit(found.model_dump(mode="json"), said, as_json=as_json)


def _objects(stamp: Stamp, site: Site | None, given: Mapping[str, str]) -> tuple[KubeObject, ...]:
    """A parameter may be new: it is given to the version that has it."""
    own = {name: value for name, value in given.items() if name in stamp.parameters or name in BUILT_IN}
    return shown_objects(stamp, site, own)


def _refuse_unknown(old: Stamp, new: Stamp, given: Mapping[str, str]) -> None:
    known = {*old.parameters, *new.parameters, *BUILT_IN}
    for name in given:
        if name not in known:
            raise InvalidInput("Neither stamp has such a parameter", parameter=name, known=", ".join(sorted(known)))


def _table(found: StampDifference) -> Table:
    rows: list[tuple[str, ...]] = [("stamp", "changed", "", *_cells(field)) for field in found.stamp]
    for part in _PARTS:
        rows.extend(_rows(part.removesuffix("s"), getattr(found, part)))
    title = f"{found.before} -> {found.after}"
    return table(title, ("part", "what", "name", "field", "before", "after"), rows)


def _rows(part: str, differences: Differences) -> Iterator[tuple[str, ...]]:
    for name in differences.added:
        yield part, "added", name, "", "", ""
    for name in differences.removed:
        yield part, "removed", name, "", "", ""
    for one in differences.changed:
        for field in one.fields:
            yield part, "changed", one.name, *_cells(field)


def _cells(field: FieldDifference) -> tuple[str, str, str]:
    return field.field, field.before, field.after
