"""`edge device explain`: which rule and why, who owns it, on what grounds it came in, or what keeps it out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from edge.cli.context import open_ledger
from edge.cli.output import JsonFlag, console, emit, speaks, table
from edge.clients.files import read_text
from edge.errors import EdgeError
from edge.model.admission import Ownership, OwnershipKind
from edge.model.explanation import Explanation, RulesSaid, StepSaid
from edge.policy.assignment import parse_rules
from edge.policy.explain import OnRecord, ask_rules
from edge.policy.explain import explain as explained
from edge.policy.onboarding import attempt_key, onboarding_work

if TYPE_CHECKING:
    from edge.ledger import Ledger


@speaks
def explain(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")],
    rules: Annotated[Path | None, typer.Option(help="Try these assignment rules instead; nothing changes.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show why a device is where it is: rules asked, owner, allocation, steps, and what to do."""
    now = datetime.now(UTC)
    with open_ledger() as ledger:
        known = _on_record(ledger, device)
    found = explained(known, _rules_said(known, rules, now), now=now)
    if as_json:
        emit(found.model_dump(mode="json"), "", as_json=True)
        return
    console.print(_drawn(found))


def _on_record(ledger: Ledger, name: str) -> OnRecord:
    device = ledger.devices.get(name)
    attempt = attempt_key(device)
    tried = ledger.steps.records(attempt.work, attempt.subject)
    return OnRecord(
        device=device,
        steps=ledger.steps.records(onboarding_work(device), name),
        attempt=tried[0] if tried else None,
        ownerships=ledger.ownerships.of_serial(device.registration.facts.serial),
        reservation=ledger.reservations.of(name),
        site=ledger.sites.get(device.site) if device.site else None,
    )


def _rules_said(known: OnRecord, file: Path | None, now: datetime) -> RulesSaid:
    """Rules that are named must be good; without any, what is on record is still worth showing."""
    if file is not None:
        return ask_rules(known, parse_rules(read_text(file), origin=str(file)), str(file), now=now)
    from blocks.admission import DeviceAdmission  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.load import load  # noqa: PLC0415 - as above

    source = "the rules in force"
    try:
        return ask_rules(known, load(DeviceAdmission, "default").assignment_rules(), source, now=now)
    except EdgeError as error:
        return RulesSaid(source=source, why=f"They cannot be read: {error}")


def _drawn(found: Explanation) -> Group:
    parts: list[Table | Text] = [table(f"{found.device_id} is {found.state}", ("what", "why"), list(_lines(found)))]
    if found.rules.answers:
        rows = [(one.rule, "yes" if one.matched else "no", one.why) for one in found.rules.answers]
        parts.append(table(f"Asked of {found.rules.source}", ("rule", "matches", "why"), rows))
    if found.steps:
        heads = ("step", "state", "tries", "ended", "what came of it")
        parts.append(table("Steps of its onboarding", heads, [_step(step) for step in found.steps]))
    for number, advice in enumerate(found.advice):
        parts.append(Text(f"{'What to do: ' if not number else '            '}{advice}", style="bold"))
    return Group(*parts)


def _lines(found: Explanation) -> Iterator[tuple[str, object]]:
    if found.reason:
        yield "reason", found.reason
    if found.generation > 1:
        yield "life", found.generation
    if found.stopped_by is not None:
        cause = found.stopped_by
        yield "cause", f"{cause.code} ({cause.reason})" if cause.reason else cause.code
    yield "owner", _owner(found.owner) if found.owner else "no voucher and no allow-list names one"
    for other in found.other_owners:
        yield "other owner", _owner(other)
    if found.reservation is not None:
        used = ", taken" if found.reservation.used_at else ""
        yield "kept place", f"site {found.reservation.site}, in place of {found.reservation.replaces}{used}"
    if found.site is not None:
        yield "site on record", f"{found.site.name} of tenant {found.site.tenant} in {found.site.region}"
    yield from _by_the_rules(found)


def _by_the_rules(found: Explanation) -> Iterator[tuple[str, object]]:
    rules = found.rules
    if rules.site is None:
        yield "by the rules", rules.why if not rules.answers else "no rule matches"
        return
    site = rules.site
    stamp = f", stamp {site.stamp}" if site.stamp else ""
    yield "by the rules", f"rule {rules.rule!r}: site {site.name} of tenant {site.tenant}, role {site.role}{stamp}"
    if site.labels:
        yield "labels", ", ".join(f"{name}={value}" for name, value in sorted(site.labels.items()))
    if rules.choice is not None:
        yield "allocation", rules.choice.why
    if found.site is not None and found.site.name != site.name:
        yield "note", "The device keeps the site on record, whatever the rules say now"
    if found.owner is not None and found.owner.tenant != site.tenant:
        yield "note", "The owner is another tenant than the rule's: the device would be refused"


def _owner(one: Ownership) -> str:
    words = [f"{one.tenant}, by {one.ownership_id}"]
    if one.issuer and one.kind is OwnershipKind.VOUCHER:
        words.append(f"of {one.issuer}")
    if one.used_by:
        words.append(f"used by {one.used_by} in its life {one.used_generation}")
    if one.ended_at:
        words.append(f"ended {one.ended_at:%Y-%m-%d}")
    elif one.expires_at:
        words.append(f"until {one.expires_at:%Y-%m-%d}")
    return ", ".join(words)


def _step(step: StepSaid) -> tuple[object, ...]:
    ended = f"{step.ended_at:%Y-%m-%d %H:%M:%S}" if step.ended_at else ""
    if step.cause is not None:
        return (step.step, step.state, step.tries, ended, step.cause.said)
    told = [f"{name}: {_value(value)}" for name, value in step.detail.items() if value not in ("", None)]
    return (step.step, step.state, step.tries, ended, "\n".join(told))


def _value(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(one) for one in value) if isinstance(value, list) else value
