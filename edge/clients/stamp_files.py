"""Taking in a stamp's files from an archive or a repository, with the limits that a folder has.

The same content gives the same files wherever it comes from, and so the same digest: hidden files are left out, texts
stay as they are, and folders without files do not count.
"""

from __future__ import annotations

from edge.clients.files import DEEPEST, LONGEST_FILE, LONGEST_STAMP, MOST_FILES, STAMP_FILE
from edge.errors import InvalidInput, NotFound
from edge.model.stamp import StampSource


class StampFiles:
    """Collects files one by one. `origin` says in errors where they come from."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._files: dict[str, str] = {}
        self._total = 0

    def wants(self, path: str, size: int) -> bool:
        """Whether this file belongs to a stamp, asked before its content is read. Raises InvalidInput as `add` does."""
        parts = path.split("/")
        if "\\" in path or "\0" in path or any(part in ("", "..") for part in parts):
            raise InvalidInput("A stamp's file must be inside the stamp's folder", file=self._origin, value=path)
        if any(part.startswith(".") for part in parts):
            return False
        if len(parts) - 1 > DEEPEST:
            raise InvalidInput(f"Folders may be at most {DEEPEST} deep", file=f"{self._origin}/{path}")
        if size > LONGEST_FILE:
            raise InvalidInput(f"The file is larger than {LONGEST_FILE} bytes", file=f"{self._origin}/{path}")
        self._total += size
        if self._total > LONGEST_STAMP:
            raise InvalidInput(f"A stamp may hold at most {LONGEST_STAMP} bytes", file=self._origin)
        return True

    def add(self, path: str, content: bytes) -> None:
        """Take in a file that is wanted. Raises InvalidInput: too many, twice, no UTF-8 text."""
        if path in self._files:
            raise InvalidInput("This file is there twice", file=f"{self._origin}/{path}")
        if len(self._files) >= MOST_FILES:
            raise InvalidInput(f"A stamp may have at most {MOST_FILES} files", file=self._origin)
        try:
            self._files[path] = content.decode("utf-8")
        except UnicodeDecodeError as theirs:
            raise InvalidInput("The file is not UTF-8 text", file=f"{self._origin}/{path}") from theirs

    def refuse(self, path: str, what: str) -> InvalidInput:
        """The error for an entry that is no file, such as a link."""
        return InvalidInput(what, file=f"{self._origin}/{path}")

    def source(self) -> StampSource:
        """All of them. Raises NotFound when stamp.yaml is not among them."""
        if STAMP_FILE not in self._files:
            raise NotFound(f"There is no {STAMP_FILE} here", file=self._origin)
        return StampSource(origin=self._origin, files=self._files)
