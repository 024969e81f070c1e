"""What people get to see of drift, which of it is ignored, and what is applied to mend the rest."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from edge.model.drift import DriftKind, DriftLook, DriftRule, DriftStatus, Finding
from edge.model.kube import KubeObject, ObjectRef
from edge.policy.drift import Difference, Place, item_at
from edge.policy.redact import text_without_secrets, without_secrets

IGNORE_ANNOTATION: Final = "edge-platform.io/ignore-drift"
"""On an object of a stamp: paths that others may change there, `*` for any text, separated by commas."""

MASK: Final = "(secret)"
MENDABLE: Final = frozenset((DriftKind.MISSING, DriftKind.CHANGED, DriftKind.REMOVED, DriftKind.TAKEN_OVER))
"""What applying again changes. Who owns a field beside us stays there."""

_LONGEST: Final = 200
_OPEN_IN_SECRETS: Final = (("f:metadata", "f:labels"), ("f:type",), ("f:immutable",))
_NAMES: Final = 20
_PLACEMENTS: Final = re.compile(r"\b\d+ placements?: \d+ clean")
_NOWHERE: Final = object()


def path_of(place: Place) -> str:
    """A place as people write it: `.spec.template.spec.containers[name=app].image`."""
    return "".join(_step(element) for element in place)


def _step(element: str) -> str:
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return f"[{text}]" if "." in text or "/" in text else f".{text}"
    said = json.loads(text)
    if kind == "k:":
        return "[" + ",".join(f"{key}={value}" for key, value in said.items() if value is not None) + "]"
    return f"[={said}]"


def finding(site: str, stamp: str, shown: KubeObject, wanted: KubeObject, one: Difference) -> Finding:
    """A difference of the object `wanted` for people. `shown` is the same object without secrets."""
    hidden = _is_hidden(shown, wanted, one.place)
    values = ("", "") if one.kind is DriftKind.MISSING else (_text(one.wanted), _text(one.found))
    if one.kind is DriftKind.REMOVED:
        values = (values[0], "")
    if hidden:
        values = (values[0] and MASK, values[1] and MASK)
    else:
        values = (_redacted(one.place, values[0]), _redacted(one.place, values[1]))
    return Finding(
        site=site,
        stamp=stamp,
        kind=one.kind,
        ref=ObjectRef.of(shown),
        path=path_of(_shown_place(one.place, hidden=hidden)),
        manager=one.manager,
        wanted=values[0],
        found=values[1],
        since=one.since,
    )


def _is_hidden(shown: KubeObject, wanted: KubeObject, place: Place) -> bool:
    """Whether a secret may be here: in a Secret nearly everywhere, elsewhere where a secret was filled in."""
    if not place:
        return False
    if shown["kind"] == "Secret" and not any(place[: len(free)] == free for free in _OPEN_IN_SECRETS):
        return True
    return _at(shown, place) is _NOWHERE or bool(_at(shown, place) != _at(wanted, place))


def _at(value: Any, place: Place) -> Any:
    for element in place:
        value = next(_below(value, element), _NOWHERE)
    return value


def _below(value: Any, element: str) -> Iterator[Any]:
    if element.startswith("f:"):
        if isinstance(value, Mapping) and element[2:] in value:
            yield value[element[2:]]
    elif isinstance(value, list):
        place = item_at(element, value)
        if place is not None:
            yield value[place]


def _shown_place(place: Place, *, hidden: bool) -> Place:
    """An item of a set is told by its value, which is masked where values are."""
    if not hidden:
        return place
    return tuple(f'v:"{MASK}"' if element.startswith("v:") else element for element in place)


def _text(value: Any) -> str:
    if value is None:
        return ""
    said = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    said = " ".join(said.split())
    return said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."


def _redacted(place: Place, text: str) -> str:
    """A last fence: what looks like a secret by its field's name or its form."""
    word = place[-1][2:] if place and place[-1].startswith("f:") else "value"
    return str(without_secrets({word: text_without_secrets(text)})[word]) if text else text


def rules_of(obj: KubeObject) -> tuple[DriftRule, ...]:
    """What the stamp itself says of this object: the paths in its annotation."""
    ref = ObjectRef.of(obj)
    said = str((obj["metadata"].get("annotations") or {}).get(IGNORE_ANNOTATION, ""))
    paths = [path.strip() for path in said.split(",") if path.strip()]
    return tuple(DriftRule(kind=ref.kind, name=ref.name, namespace=ref.namespace, path=path) for path in paths)


def is_ignored(found: Finding, rules: Iterable[DriftRule]) -> bool:
    """Whether one of the rules matches."""
    return any(_matches(rule, found) for rule in rules)


def _matches(rule: DriftRule, found: Finding) -> bool:
    asked = (
        (rule.kind, found.ref.kind),
        (rule.name, found.ref.name),
        (rule.namespace, found.ref.namespace),
        (rule.path, found.path),
        (rule.manager, found.manager),
    )
    return all(_like(pattern, text) for pattern, text in asked if pattern)


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def to_apply(wanted: KubeObject, left_alone: Sequence[Place]) -> dict[str, Any]:
    """The object without the fields at these places: those stay with whoever has them."""
    obj: dict[str, Any] = copy.deepcopy(dict(wanted))
    for place in left_alone:
        _cut(obj, place)
    return obj


def _cut(obj: dict[str, Any], place: Place) -> None:
    home = _at(obj, place[:-1])
    element = place[-1]
    if isinstance(home, dict):
        home.pop(element[2:], None)
    elif isinstance(home, list):
        found = item_at(element, home)
        if found is not None:
            del home[found]


def is_sentence(said: str) -> bool:
    """Whether a run that said this has looked at sites."""
    return _PLACEMENTS.search(said) is not None


def sentence(looks: Sequence[DriftLook]) -> str:
    """How it went, for the state of a run: what drifted, and by name what was not looked at."""
    count = Counter(look.status for look in looks)
    found = sum(len(look.findings) for look in looks if look.status is DriftStatus.DRIFTED)
    said = [f"{_counted(len(looks), 'placement')}: {count[DriftStatus.CLEAN]} clean"]
    if count[DriftStatus.DRIFTED]:
        said.append(f"{count[DriftStatus.DRIFTED]} drifted ({_counted(found, 'difference')})")
    if count[DriftStatus.MENDED]:
        said.append(f"{count[DriftStatus.MENDED]} mended")
    for status in (DriftStatus.FAILED, DriftStatus.AWAY, DriftStatus.UNDER_REPAIR, DriftStatus.SKIPPED):
        names = sorted({look.site for look in looks if look.status is status})
        if names:
            said.append(f"{count[status]} {status} ({_names(names)})")
    return ", ".join(said)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def table_rows(looks: Sequence[DriftLook]) -> list[dict[str, str]]:
    """A row per difference, gone or not, and one per placement that was not looked at."""
    rows: list[dict[str, str]] = []
    for look in looks:
        if look.status is DriftStatus.CLEAN:
            continue
        why = look.cause.message if look.cause else look.why
        rows.extend(_row(look, one, why) for one in look.findings)
        rows.extend(_row(look, one, "Mended") for one in look.mended)
        if not look.findings and not look.mended:
            rows.append(_row(look, None, why))
    return rows


def _row(look: DriftLook, one: Finding | None, why: str) -> dict[str, str]:
    row = {"site": look.site, "stamp": look.stamp, "outcome": str(look.status)}
    blank = dict.fromkeys(("what", "object", "field", "wanted", "found", "who", "since"), "")
    if one is None:
        return {**row, **blank, "why": why}
    since = one.since or one.first_seen
    return {
        **row,
        "what": str(one.kind),
        "object": str(one.ref),
        "field": one.path,
        "wanted": one.wanted,
        "found": one.found,
        "who": one.manager or "unknown",
        "since": since.isoformat(timespec="seconds") if since else "",
        "why": why,
    }
