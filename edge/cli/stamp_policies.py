"""`edge stamp policies`: the rules, what a stamp breaks of them, and the rules as objects for the sites."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.table import Table

from edge.cli.context import policy_rules
from edge.cli.output import BAD_OUTCOME, JsonFlag, emit, speaks, table
from edge.cli.runs import keep_prefect_quiet
from edge.cli.site import pairs
from edge.cli.stamp_shown import SetOption, find_stamp, shown_objects
from edge.model.rule import Violation
from edge.model.stamp import Stamp
from edge.policy.admission_policies import AdmissionAction, admission_policies

if TYPE_CHECKING:
    from edge.policy.rules import RuleBook


@speaks
def policies(
    stamp: Annotated[str | None, typer.Argument(help="A stamp's folder or name, to be checked.")] = None,
    set_: SetOption = None,
    as_admission: Annotated[
        bool, typer.Option("--as-admission", help="Print the rules as YAML that a site's API server keeps.")
    ] = False,
    action: Annotated[
        list[AdmissionAction] | None, typer.Option(help="What a site does with a breach; may be given twice.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the rules that rendered objects must keep to; with a stamp, what it breaks of them.

    With --as-admission and a stamp, its waivers that have not expired leave its namespaces alone. Ends with 1 when the
    stamp breaks a rule that it does not waive.
    """
    keep_prefect_quiet()
    book, now = policy_rules().book(), datetime.now(UTC)
    meant = find_stamp(stamp) if stamp is not None else None
    if as_admission:
        _print_admission(book, meant, action or [AdmissionAction.DENY], now, as_json=as_json)
    elif meant is None:
        emit([rule.model_dump(mode="json") for rule in book.rules], _rules(book), as_json=as_json)
    else:
        _check(book, meant, pairs(set_ or [], "--set"), now, as_json=as_json)


def _print_admission(
    book: RuleBook, stamp: Stamp | None, actions: list[AdmissionAction], now: datetime, *, as_json: bool
) -> None:
    waived: dict[str, tuple[str, ...]] = {}
    if stamp is not None:
        book.check_waivers(stamp.waivers)
        waived = {one.code: stamp.namespaces for one in stamp.waivers if one.expires > now and not one.object}
    made = admission_policies(book.rules, book.registries, actions=actions, waived=waived)
    if as_json:
        emit(made, "", as_json=True)
    else:
        sys.stdout.write(yaml.safe_dump_all(made, sort_keys=False, width=120))


def _check(book: RuleBook, stamp: Stamp, given: dict[str, str], now: datetime, *, as_json: bool) -> None:
    objects = shown_objects(stamp, None, given)
    found = book.violations(objects, stamp.waivers, now)
    emit([one.model_dump(mode="json") for one in found], _breaches(stamp, found), as_json=as_json)
    if any(not one.waived_by for one in found):
        raise typer.Exit(BAD_OUTCOME)


def _rules(book: RuleBook) -> Table:
    rows = [(rule.code, rule.message, rule.fix) for rule in book.rules]
    return table(f"{len(rows)} rules", ("code", "what is wrong", "what to do"), rows)


def _breaches(stamp: Stamp, found: tuple[Violation, ...]) -> Table:
    rows: list[tuple[Any, ...]] = [(one.code, one.ref, one.message, one.waived_by, one.fix) for one in found]
    waived = sum(bool(one.waived_by) for one in found)
    title = f"{stamp.name} {stamp.version}: {len(found) - waived} breaches, {waived} waived"
    return table(title, ("code", "object", "what is wrong", "waived by", "what to do"), rows)
