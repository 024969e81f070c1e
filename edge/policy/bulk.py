"""How many devices did, sorted by cause, for people and for programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edge.model.bulk import CauseGroup
from edge.model.outcome import Outcome, Status

_MARKUP = re.compile(r"[|\[\]`*!]")
_MANY = 20
"""Names that stand in a sentence; the table has them all."""


def by_cause(outcomes: Iterable[Outcome]) -> tuple[CauseGroup, ...]:
    """Those that are not in, grouped by cause: what hits most devices comes first."""
    groups: dict[tuple[str, str, Status], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status is not Status.SUCCEEDED and outcome.cause is not None:
            groups.setdefault((outcome.cause.code, outcome.cause.reason, outcome.status), []).append(outcome)
    found = [_group(members) for members in groups.values()]
    return tuple(sorted(found, key=lambda group: (-len(group.devices), group.name, group.status)))


def needing_attention(groups: Iterable[CauseGroup], given_up: Iterable[str] = ()) -> tuple[CauseGroup, ...]:
    """What no later run mends by itself: permanent causes, and devices in `given_up` that were tried too often."""
    tired = frozenset(given_up)
    found = []
    for group in groups:
        devices = tuple(device for device in group.devices if not group.transient or device in tired)
        if devices:
            found.append(group.model_copy(update={"devices": devices}))
    return tuple(found)


def summary_markdown(outcomes: Sequence[Outcome], said: str) -> str:
    """The summary of a run: one sentence, then a row for each cause."""
    lines = [f"**{said}**"]
    groups = by_cause(outcomes)
    if groups:
        lines += ["", "| cause | devices | ended | what was said | what to do |", "|---|---|---|---|---|"]
    for group in groups:
        remedy = group.remedy or ("It is tried again by itself" if group.transient else "")
        cells = (group.name, named(group.devices), group.status, group.message, remedy)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def named(devices: Sequence[str], most: int = _MANY) -> str:
    """`3: dev-1, dev-2, dev-3`, cut short when there are many."""
    shown = ", ".join(devices[:most])
    more = f" and {len(devices) - most} more" if len(devices) > most else ""
    return f"{len(devices)}: {shown}{more}"


def _group(members: Sequence[Outcome]) -> CauseGroup:
    cause = members[0].cause
    assert cause is not None
    return CauseGroup(
        code=cause.code,
        reason=cause.reason,
        status=members[0].status,
        transient=cause.transient,
        message=cause.said,
        remedy=cause.remedy,
        devices=tuple(sorted(member.subject for member in members)),
    )


def _cell(text: str) -> str:
    """On one line, and as text: what devices and servers say is neither a link nor a picture nor HTML."""
    return " ".join(_MARKUP.sub(r"\\\g<0>", text.replace("&", "&amp;").replace("<", "&lt;")).split())
