"""`edge audit`: is the audit trail what it was?"""

from __future__ import annotations

from typing import Annotated

import typer

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, emit, speaks
from edge.errors import InvalidInput
from edge.model.audit import VerifiedChain

app = typer.Typer(help="The audit trail.")

Head = Annotated[
    str | None,
    typer.Option("--head", metavar="COUNT:DIGEST", help="What an earlier run printed, and you kept elsewhere."),
]


@app.callback()
def topic() -> None:
    """The audit trail: rows chained by hash."""


@app.command()
@speaks
def verify(head: Head = None, as_json: JsonFlag = False) -> None:
    """Check every row of the trail. Exit code 1, and the first bad row, when one was edited, removed or reordered."""
    kept = _head(head)
    with open_ledger() as ledger:
        chain = ledger.audit.verify(kept)
    said = f"{chain.count} rows verify. Keep this elsewhere, for --head: {chain.count}:{chain.head}"
    emit({"verified": True, **chain.model_dump()}, said, as_json=as_json)


def _head(text: str | None) -> VerifiedChain | None:
    if text is None:
        return None
    count, colon, digest = text.partition(":")
    if not colon or not count.isascii() or not count.isdigit():
        raise InvalidInput("The head is a count, a colon and a digest", field="--head", value=text)
    return VerifiedChain(count=int(count), head=digest)
