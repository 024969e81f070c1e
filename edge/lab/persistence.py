"""Keeping sites' objects in a folder: one JSON file per site, written whole and put in place by a rename.

A lab that is killed loses at most the last few seconds; it never leaves half a file.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import orjson

from edge.errors import InvalidInput
from edge.lab.kube.store import SiteStore

EVERY_S = 5.0
_BATCH = 20
"""How many sites are written in one go, so that a thousand changed sites do not hold up requests."""


class Shelf:
    """The folder with the kept objects of all sites. Times are the machine's: it is the machine that may fail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores: dict[str, SiteStore] = {}
        self._written: dict[str, int] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Read through all that is kept, so that damage is told at the start and not at a site's first request.

        Raises InvalidInput naming the file.
        """
        for file in sorted(self._folder.glob("*.json")):
            try:
                readable = isinstance(orjson.loads(file.read_bytes())["revision"], int)
            except (OSError, ValueError, KeyError, TypeError):
                readable = False
            if not readable:
                remedy = "Remove the file and the site begins anew, or start with --fresh"
                raise InvalidInput("what was kept of a site cannot be read", file=file, remedy=remedy)

    def load(self, name: str) -> dict[str, Any] | None:
        """What was kept of a site; None when nothing was."""
        file = self._folder / f"{name}.json"
        if not file.exists():
            return None
        kept: dict[str, Any] = orjson.loads(file.read_bytes())
        self._written[name] = kept["revision"]
        return kept

    def keep(self, store: SiteStore) -> None:
        """From now on, keep this site."""
        self._stores[store.name] = store

    def changed(self) -> list[SiteStore]:
        """Sites with changes that are not on disk yet."""
        return [store for name, store in self._stores.items() if self._written.get(name) != store.revision]

    def write(self, stores: list[SiteStore]) -> None:
        """Write these sites now."""
        self._put_all([self._content(store) for store in stores])

    async def run(self) -> None:
        """Write what changed, every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            changed = self.changed()
            for start in range(0, len(changed), _BATCH):
                contents = [self._content(store) for store in changed[start : start + _BATCH]]
                await asyncio.to_thread(self._put_all, contents)

    def _content(self, store: SiteStore) -> tuple[str, int, bytes]:
        return store.name, store.revision, orjson.dumps(store.snapshot())

    def _put_all(self, contents: list[tuple[str, int, bytes]]) -> None:
        """Write what is newer than what is there: this runs in a thread, and may be late when the lab ends."""
        with self._lock:
            for name, revision, content in contents:
                if self._written.get(name, -1) < revision:
                    put(self._folder / f"{name}.json", content)
                    self._written[name] = revision


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file as a whole; readers see the old or the new one."""
    beside = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    beside.replace(path)
