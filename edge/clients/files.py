"""Reading files and a stamp's folder from disk, before anything in them is believed.

Everything is bounded: number of files, size of each, size of all. Links in a stamp are not followed, so that it cannot
take in a file from elsewhere on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.errors import InvalidInput, NotFound
from edge.model.stamp import StampSource

STAMP_FILE = "stamp.yaml"

MOST_FILES = 1000
LONGEST_FILE = 1_000_000
LONGEST_STAMP = 20_000_000
DEEPEST = 16


def read_stamp_folder(folder: str | Path) -> StampSource:
    """The text files below a stamp's folder. Hidden files and folders are left out.

    Raises NotFound when the folder or its `stamp.yaml` is absent, InvalidInput naming the file for anything else: too
    large, too many, not UTF-8, a link, a device.
    """
    root = Path(folder)
    if not (root / STAMP_FILE).is_file():
        raise NotFound(f"There is no {STAMP_FILE} here", file=root)
    files: dict[str, str] = {}
    total = 0
    for path in _files_below(root, root, 0):
        if len(files) >= MOST_FILES:
            raise InvalidInput(f"A stamp may have at most {MOST_FILES} files", file=root)
        text = read_text(path)
        total += len(text)
        if total > LONGEST_STAMP:
            raise InvalidInput(f"A stamp may hold at most {LONGEST_STAMP} bytes", file=root)
        files[path.relative_to(root).as_posix()] = text
    return StampSource(origin=str(root), files=files)


def find_stamp(name: str, folders: Sequence[Path]) -> Path:
    """The folder of a stamp: `name` itself when it is a path to one, else the first of `folders` that has it.

    A bare name is looked up in `folders` only. NotFound says where was looked.
    """
    if "/" in name or name in (".", ".."):
        return Path(name)
    for folder in folders:
        if name and (folder / name / STAMP_FILE).is_file():
            return folder / name
    looked = ", ".join(str(folder) for folder in folders)
    raise NotFound(
        "There is no stamp of this name", remedy="Give a path, such as ./my-stamp", name=name, folders=looked
    )


def _files_below(folder: Path, root: Path, depth: int) -> Iterator[Path]:
    if depth > DEEPEST:
        raise InvalidInput(f"Folders may be at most {DEEPEST} deep", file=folder)
    with os.scandir(folder) as entries:
        ordered = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in ordered:
        path = Path(entry.path)
        if entry.is_symlink():
            raise InvalidInput("A stamp may not contain links", file=path)
        if entry.is_dir():
            yield from _files_below(path, root, depth + 1)
        elif entry.is_file():
            yield path
        else:
            raise InvalidInput("A stamp may contain only files and folders", file=path)


def read_text(path: Path, max_bytes: int = LONGEST_FILE) -> str:
    """A UTF-8 file, line ends as they are. InvalidInput names a file that is absent, too large or no text."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise InvalidInput(f"The file is larger than {max_bytes} bytes", file=path)
        return content.decode("utf-8")
    except UnicodeDecodeError as theirs:
        raise InvalidInput("The file is not UTF-8 text", file=path) from theirs
    except OSError as theirs:
        raise InvalidInput(f"The file cannot be read: {(theirs.strerror or 'unknown').lower()}", file=path) from theirs


def write_new(path: Path, content: bytes) -> None:
    """Write a file in one step; one that is there with the same content stays. InvalidInput names one with another."""
    try:
        if path.exists():
            if path.read_bytes() != content:
                raise InvalidInput("The file has another content already", remedy="Remove it first", file=path)
            return
        draft = path.with_name(f".{path.name}.draft")
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as theirs:
        raise InvalidInput(
            f"The file cannot be written: {(theirs.strerror or 'unknown').lower()}", file=path
        ) from theirs
