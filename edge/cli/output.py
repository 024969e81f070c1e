"""How every command speaks: tables for people, JSON for programs, and three exit codes.

0 the outcome is good, 1 the outcome is bad, 2 the input is wrong. Errors go to standard error; with `--json` they are a
JSON object with `error`, `code`, `where` and `remedy`.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ParamSpec, TextIO, TypeVar

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edge.errors import EdgeError, InvalidInput

GOOD, BAD_OUTCOME, BAD_INPUT = 0, 1, 2

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

P = ParamSpec("P")
R = TypeVar("R")

WIDTH_WITHOUT_TERMINAL = 140
"""Columns of a table that goes to a file or a pipe, where there is no window to ask."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """The text with control characters written out: what a device or a site says does not steer the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _console(stream: TextIO, *, stderr: bool = False) -> Console:
    return Console(stderr=stderr, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL)


console = _console(sys.stdout)
errors = _console(sys.stderr, stderr=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table with one row per thing; cells become text, in which brackets are not markup."""
    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row))
    return drawn


def counted(number: int, thing: str) -> str:
    """`1 device`, `2 devices`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def emit(data: object, drawn: RenderableType, *, as_json: bool) -> None:
    """Print `data` as JSON, or what is drawn for people."""
    if as_json:
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode() + "\n")
    else:
        console.print(drawn)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error when a terminal watches. Call what it yields with the number done so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bars:
        bar = bars.add_task(title, total=total)
        yield lambda done: bars.update(bar, completed=done)


def speaks(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: our errors become a message and an exit code instead of a traceback.

    The command must take `as_json` (declared as `JsonFlag`).
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EdgeError as error:
            complain(error, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(BAD_INPUT if isinstance(error, InvalidInput) else BAD_OUTCOME) from error
        except ValidationError as error:
            complain(invalid(error), as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(BAD_INPUT) from error

    return run


def invalid(error: ValidationError, **where: str) -> InvalidInput:
    """The first fault that pydantic found, as our error with field and value."""
    first: Any = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return InvalidInput(first["msg"], field=field, value=repr(first.get("input"))[:200], **where)


def complain(error: EdgeError, *, as_json: bool) -> None:
    """Say on standard error what went wrong."""
    if as_json:
        said = {"error": error.what, "code": error.code, "where": error.where, "remedy": error.remedy}
        sys.stderr.write(orjson.dumps(said).decode() + "\n")
    else:
        errors.print(
            Text.assemble(("error ", "bold red"), plain(f"{error.code}: {error}")), highlight=False, soft_wrap=True
        )
