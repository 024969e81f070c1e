"""The query of a write, checked before anything else as a real server does: all faults at once, as a 422."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edge.lab.kube.bodies import APPLY, media_type
from edge.lab.kube.call import Call
from edge.lab.kube.errors import Cause, cause, invalid

_LONGEST: Final = 128
_KINDS: Final = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}


def check_write_options(call: Call) -> None:
    """Raise ApiError 422 for a dry run, field manager or force that no server accepts. Reads pass."""
    kind = _KINDS.get(call.method)
    causes = [*_faults(call)] if kind else []
    if kind and causes:
        raise invalid(kind, "meta.k8s.io", "", causes)


def _faults(call: Call) -> Iterator[Cause]:
    applies = call.method == "PATCH" and media_type(call.headers.get("content-type", "")) == APPLY
    wish, manager = call.query.get("dryRun", ""), call.query.get("fieldManager", "")
    if call.method == "PATCH" and "force" in call.query and not applies:
        yield cause("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")
    if wish not in ("", "All"):
        yield cause("dryRun", "FieldValueNotSupported", f'Unsupported value: "{wish}": supported values: "All"')
    if applies and not manager:
        yield cause("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
    if len(manager.encode()) > _LONGEST:
        yield cause("fieldManager", "FieldValueTooLong", f"Too long: may not be more than {_LONGEST} bytes")
    place = next((at for at, letter in enumerate(manager) if not letter.isprintable()), None)
    if place is not None:
        text = f"Invalid value: invalid character U+{ord(manager[place]):04X} (at position {place})"
        yield cause("fieldManager", "FieldValueInvalid", text)
