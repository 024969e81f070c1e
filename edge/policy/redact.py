"""A last fence before anything is written down for good: what looks like a secret is replaced.

Callers never put secrets into details in the first place; this is for the day one of them does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

REDACTED = "[redacted]"
_KEY = re.compile(r"(?i)(^|[_.-])(password|passwd|secret|token|private_?key|api_?key|authorization|kubeconfig)$")
_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"  # a JSON web token
    r"|\b[Bb]earer [\w.~+/-]{16,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # a password in a URL
)

V = TypeVar("V")


def without_secrets(detail: Mapping[str, V]) -> dict[str, V | str]:
    """The same detail, with the value replaced wherever its key or the value itself looks like a secret."""
    return {key: REDACTED if _looks_secret(key, value) else value for key, value in detail.items()}


def text_without_secrets(text: str) -> str:
    """The text, with what looks like a secret in it replaced."""
    return _VALUE.sub(REDACTED, text)


def _looks_secret(key: str, value: object) -> bool:
    if _KEY.search(key):
        return True
    if isinstance(value, str):
        return _VALUE.search(value) is not None
    return isinstance(value, list) and any(isinstance(item, str) and _VALUE.search(item) for item in value)
