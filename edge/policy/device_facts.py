"""What rules see of a device, and how a rule's CEL expression is asked about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from edge.errors import InvalidInput
from edge.model.device import DeviceFacts, Position, Registration

SAMPLE = Registration(
    device_id="sample",
    certificate="",
    facts=DeviceFacts(serial="sample-1", position=Position(latitude=0, longitude=0)),
)
"""What expressions are tried on before any device comes."""

_SERIAL = re.compile(r"(.*?)(\d*)", re.DOTALL | re.ASCII)
_MOST_DIGITS = 18
"""More digits may not fit CEL's whole numbers, which have 64 bits."""


class Unknown(Exception):
    """An expression asks for what is not known of this device; the text says what."""


def facts_of(registration: Registration) -> dict[str, Any]:
    """`device` as expressions see it. What the device does not tell is absent, so that `has()` can ask for it.

    Beside the facts: `id`, and for ranges of serial numbers `serialPrefix` and `serialNumber`: `SN-0042` is `SN-` and
    42. A serial number that does not end in digits, or ends in more than 18, has no `serialNumber`.
    """
    facts = registration.facts
    known = {"id": registration.device_id, **facts.model_dump(exclude_none=True)}
    prefix, digits = split_serial(facts.serial)
    known["serialPrefix"] = prefix
    if digits and len(digits) <= _MOST_DIGITS:
        known["serialNumber"] = int(digits)
    return known


def split_serial(serial: str) -> tuple[str, str]:
    """What stands before the digits at the end of a serial number, and those digits."""
    found = _SERIAL.fullmatch(serial)
    return (found[1], found[2]) if found else (serial, "")


def owner_words(owner: str | None) -> dict[str, str]:
    """`owner` as expressions see it: its tenant, when a voucher or an allow-list names one."""
    return {"tenant": owner} if owner else {}


def ask(expression: str, words: Mapping[str, Any], *, field: str) -> Any:
    """What the expression is over these words. Raises Unknown when a word is not there, InvalidInput when it fails."""
    try:
        return _compiled(expression, field).execute(dict(words))
    except KeyError as error:
        raise Unknown(_missing(str(error.args[0]), expression, words)) from error
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidInput(f"The expression fails: {error}", field=field, value=expression) from error


def check_expression(expression: str, *, field: str) -> None:
    """Raises InvalidInput when the expression cannot be read."""
    _compiled(expression, field)


def _missing(word: str, expression: str, words: Mapping[str, Any]) -> str:
    if word == "tenant" and "owner.tenant" in expression and not words.get("owner"):
        return "No voucher and no allow-list names an owner"
    return f"The device has no field {word!r}"


@lru_cache(maxsize=1024)
def _compiled(expression: str, field: str) -> Any:
    import cel  # noqa: PLC0415 - it brings a shell of its own, which takes long to import

    try:
        return cel.compile(expression)
    except ValueError as error:
        what = str(error).splitlines()[0][:300]
        raise InvalidInput("The expression cannot be read", field=field, value=expression, cause=what) from error
