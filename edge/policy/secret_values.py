"""Secrets are named, never written down: what may stand for one, and what looks like one that was typed in.

No error here repeats the value.
"""

from __future__ import annotations

import re

from edge.errors import InvalidInput
from edge.policy.redact import REDACTED, text_without_secrets

_REFERENCE = re.compile(r"[a-z0-9][-a-z0-9.]{0,252}/[-._a-zA-Z0-9]{1,253}")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_.-]+")
_SECRET_WORDS = frozenset({"password", "passwd", "pwd", "passphrase", "token", "credential", "credentials"})
_MAYBE_WORDS = frozenset({"key", "secret"})
_HARMLESS_KEYS = frozenset({"public", "partition", "primary", "sort", "label", "secret"})
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?")
_LONGEST_NAME = 20


def is_reference(value: str) -> bool:
    """Whether the value is `<name>/<key>`."""
    return _REFERENCE.fullmatch(value) is not None and ".." not in value.partition("/")[0]


def check_reference(value: str, /, **where: str) -> None:
    """Raises InvalidInput when the value of a secret parameter is not a reference. An empty one refers to nothing."""
    if value and not is_reference(value):
        raise InvalidInput(
            "The value of a secret parameter must be a reference <name>/<key>",
            remedy="Put the secret into the secret source, and its reference here",
            value=REDACTED,
            **where,
        )


def refuse_plain_secret(name: str, value: str, /, **where: str) -> None:
    """Raises InvalidInput when a value looks like a secret, by itself or by its parameter's name."""
    if _looks_secret(name, value):
        raise InvalidInput(
            "This looks like a secret in plain text",
            remedy="Make it a parameter with secret: true, and give a reference <name>/<key>",
            value=REDACTED,
            **where,
        )


def _looks_secret(name: str, value: str) -> bool:
    if not value or value in ("true", "false"):
        return False
    if text_without_secrets(value) != value:
        return True
    words = [word.lower() for word in _WORD.split(name) if word]
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _SECRET_WORDS or name.lower() in ("apikey", "api_key", "apiKey"):
        return True
    return last in _MAYBE_WORDS and before not in _HARMLESS_KEYS and not _is_a_name(value)


def _is_a_name(value: str) -> bool:
    """`tls_secret: shop-tls` names an object of Kubernetes; a long run of letters and digits does not."""
    return _NAME.fullmatch(value) is not None and max(map(len, re.split(r"[-.]", value))) <= _LONGEST_NAME
