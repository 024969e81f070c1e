"""`edge site expiring`: which sites lose their identity in Azure, and by when somebody must go there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from edge.cli.output import JsonFlag, emit, speaks, table
from edge.cli.runs import keep_prefect_quiet
from edge.errors import InvalidInput
from edge.policy.expiry import due, plan_row

_WITHIN = re.compile(r"(\d{1,4})d", re.ASCII)
_COLUMNS = ("site", "outlook", "day", "expires", "visit by", "last contact", "may stay dark", "why")


@speaks
def expiring(
    within: Annotated[
        str | None, typer.Option(help="Only those that end within this time, such as 30d, or need a visit.")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask Azure first, instead of what was last seen.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the identities of connected sites, the most urgent first. Times and days are UTC."""
    limit = _days(within) if within is not None else None
    keep_prefect_quiet()
    from tasks import expiry  # noqa: PLC0415 - Prefect takes a second to import

    with expiry.open_expiry({"ledger": "default", "arc": "default"}, with_azure=refresh) as job:
        if refresh:
            expiry.refresh(job)
        planned = expiry.plans(job.ledger, datetime.now(UTC))
    shown = planned if limit is None else due(planned, limit)
    rows = [tuple(plan_row(plan).values()) for plan in shown]
    drawn = table(f"{len(shown)} of {len(planned)} sites", _COLUMNS, rows)
    emit([plan.model_dump(mode="json") for plan in shown], drawn, as_json=as_json)


def _days(text: str) -> timedelta:
    found = _WITHIN.fullmatch(text)
    if found is None:
        raise InvalidInput("This is no number of days", remedy="Write 30d", field="--within", value=text)
    return timedelta(days=int(found[1]))
