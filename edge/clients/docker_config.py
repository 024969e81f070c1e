"""The login for a registry, out of the file in which Docker, Helm and others keep it (`config.json`).

Only logins that stand in the file are used: the programs it may name as credential helpers are not run.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path

from edge.clients.files import read_text
from edge.errors import InvalidInput

_DOCKER_HUB = {"docker.io", "registry-1.docker.io", "index.docker.io"}


def login_for(host: str, file: Path | None) -> tuple[str, str] | None:
    """User and password for the host, or None. Raises InvalidInput naming the file when it is not of that form."""
    if file is None or not file.is_file():
        return None
    try:
        auths = json.loads(read_text(file)).get("auths") or {}
        found = next((said for name, said in auths.items() if _is_for(name, host)), None)
        return None if found is None else _login(found)
    except (ValueError, AttributeError, TypeError, binascii.Error):
        # The cause is cut off: it may quote the login.
        raise InvalidInput("This is not a file with logins of registries", file=file, host=host) from None


def _is_for(name: str, host: str) -> bool:
    named = name.removeprefix("https://").partition("/")[0]
    return named == host or (named in _DOCKER_HUB and host in _DOCKER_HUB)


def _login(said: dict[str, str]) -> tuple[str, str] | None:
    if said.get("auth"):
        user, colon, password = base64.b64decode(said["auth"], validate=True).decode().partition(":")
        return (user, password) if colon else None
    return (said["username"], said["password"]) if said.get("username") and said.get("password") else None
