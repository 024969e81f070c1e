"""Reading one secret from a folder that is laid out as Kubernetes mounts Secrets: `<name>/<key>`."""

from __future__ import annotations

import re
from pathlib import Path

from edge.clients.files import read_text
from edge.errors import InvalidInput, NotFound

_REFERENCE = re.compile(r"([a-z0-9][-a-z0-9.]{0,252})/([-._a-zA-Z0-9]{1,253})")
_LONGEST = 65_536


def read_secret(folder: Path, reference: str) -> str:
    """The secret's text. One line loses its line break, which editors add; several lines stay as they are.

    Raises NotFound without such a secret, and InvalidInput for a reference that is none, for a file that lies
    elsewhere (a link out of the folder), and for one that is empty, too large or no text. No error quotes the secret.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None or found[2] in (".", "..") or ".." in found[1]:
        raise InvalidInput("A secret's reference is <name>/<key>", field="secret", value=reference)
    file = folder / found[1] / found[2]
    if not file.is_file():
        remedy = f"Put it into the file {found[1]}/{found[2]} of the secret source's folder"
        raise NotFound("There is no such secret", remedy=remedy, secret=reference, folder=folder)
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InvalidInput("A secret's file must lie in the secret source's folder", secret=reference, folder=folder)
    text = read_text(file, _LONGEST)
    line = text.removesuffix("\n").removesuffix("\r")
    if not line:
        raise InvalidInput("The secret is empty", secret=reference, folder=folder)
    return text if "\n" in line else line
