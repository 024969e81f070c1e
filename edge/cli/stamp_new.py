"""`edge stamp new`: begin a stamp from one that works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.output import JsonFlag, emit, speaks
from edge.errors import InvalidInput
from edge.model.stamp import ComponentKind
from edge.policy.new_stamp import new_stamp


@speaks
def new(
    name: Annotated[str, typer.Argument(help="The stamp's name: lower-case letters, digits and dashes.")],
    kind: Annotated[ComponentKind, typer.Option(help="Who makes its objects.")] = ComponentKind.MANIFESTS,
    into: Annotated[Path, typer.Option(help="The folder in which the stamp's folder is made.")] = Path(),
    as_json: JsonFlag = False,
) -> None:
    """Make a small stamp that is sound: one web service with limits and probes, and a check that it answers."""
    files = new_stamp(name, kind)
    folder = into / name
    if folder.exists():
        raise InvalidInput("There is something of this name already", remedy="Choose another name", file=folder)
    try:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as theirs:
        said = f"The stamp cannot be written: {(theirs.strerror or 'unknown').lower()}"
        raise InvalidInput(said, file=theirs.filename or folder) from theirs
    lines = [f"Made {folder}:", *(f"  {path}" for path in files), f"Next: edge stamp validate {_path(folder)}"]
    emit({"folder": str(folder), "files": list(files)}, "\n".join(lines), as_json=as_json)


def _path(folder: Path) -> str:
    """The folder as a command takes it: a bare name would be looked up among the stamps that are known."""
    return str(folder) if "/" in str(folder) else f"./{folder}"
