"""`edge site hold` and `release`: a site's own "not now", with an end."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from edge.cli.context import open_ledger
from edge.cli.output import BAD_OUTCOME, JsonFlag, emit, speaks, table
from edge.errors import InvalidInput
from edge.model.placement import HoldKind, SiteHold

Kind = Annotated[HoldKind, typer.Option(help="From what: rollouts do not begin it; drift is not looked for.")]
By = Annotated[str | None, typer.Option("--by", help="Who says so; the user of this machine when not given.")]
_COLUMNS = ("site", "kind", "until", "reason", "by")


@speaks
def hold(
    name: Annotated[str, typer.Argument(help="The site's name.")],
    kind: Kind,
    until: Annotated[str, typer.Option(help="Date or time, such as 2027-03-01 or 2027-03-01T18:00; UTC if not said.")],
    reason: Annotated[str, typer.Option(help="Why; it goes into the audit trail.")],
    by: By = None,
    as_json: JsonFlag = False,
) -> None:
    """Leave a site alone until a date. A new hold takes the place of the one of its kind."""
    wanted = SiteHold(site=name, kind=kind, until=_moment(until), reason=reason.strip(), by=by or getpass.getuser())
    if not wanted.reason:
        raise InvalidInput("A hold needs a reason", field="--reason", value=reason)
    with open_ledger() as ledger:
        ledger.sites.get(name)
        ledger.holds.put(wanted)
    _print(wanted, as_json=as_json)


@speaks
def release(
    name: Annotated[str, typer.Argument(help="The site's name.")],
    kind: Kind,
    by: By = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a site go that was held; the exit code is 1 when it was not. What it missed meanwhile is due at once."""
    now = datetime.now(UTC)
    with open_ledger() as ledger:
        ledger.sites.get(name)
        was_held = ledger.holds.drop(name, kind, by=by or getpass.getuser())
        waits = [item.returned_at for item in ledger.catch_ups.open(site=name) if item.returned_at is not None]
        if was_held and kind is HoldKind.ROLLOUTS and any(until > now for until in waits):
            ledger.catch_ups.returned(name, now)
        for rollout in ledger.rollouts.active_on([name], but="").values() if was_held else ():
            ledger.rollouts.waiting(rollout, "", None)  # it may be this site that it waits for
    said = "released" if was_held else "was not held"
    emit({"site": name, "kind": kind, "released": was_held}, f"{name}: {said}", as_json=as_json)
    if not was_held:
        raise typer.Exit(BAD_OUTCOME)


@speaks
def holds(as_json: JsonFlag = False) -> None:
    """List the holds that are in force."""
    now = datetime.now(UTC)
    with open_ledger() as ledger:
        found = [hold for kind in HoldKind for hold in ledger.holds.all(kind, now=now).values()]
    rows = [_row(one) for one in found]
    emit([one.model_dump(mode="json") for one in found], table("Holds", _COLUMNS, rows), as_json=as_json)


def _print(one: SiteHold, *, as_json: bool) -> None:
    emit(one.model_dump(mode="json"), table("Hold", _COLUMNS, [_row(one)]), as_json=as_json)


def _row(one: SiteHold) -> tuple[str, ...]:
    return one.site, one.kind, one.until.strftime("%Y-%m-%d %H:%M UTC"), one.reason, one.by


def _moment(text: str) -> datetime:
    """A time in the future. Raises InvalidInput."""
    try:
        said = datetime.fromisoformat(text)
    except ValueError as error:
        remedy = "Write 2027-03-01, 2027-03-01T18:00 or 2027-03-01T18:00+01:00"
        raise InvalidInput("This is no date", remedy=remedy, field="--until", value=text) from error
    moment = said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise InvalidInput("A hold ends in the future", field="--until", value=text)
    return moment
