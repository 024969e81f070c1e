"""`edge stamp`: make one, is it sound, what does it come to, what would a rollout do, and do it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.table import Table

from edge.cli.context import policy_rules
from edge.cli.output import BAD_OUTCOME, JsonFlag, emit, speaks, table
from edge.cli.site import pairs
from edge.cli.stamp_diff import diff
from edge.cli.stamp_new import new
from edge.cli.stamp_package import package
from edge.cli.stamp_plan import plan
from edge.cli.stamp_policies import policies
from edge.cli.stamp_render import render
from edge.cli.stamp_roll_out import roll_out
from edge.cli.stamp_shown import SetOption, StampArgument, find_stamp, object_rows, shown_objects
from edge.model.kube import KubeObject
from edge.model.rule import Violation
from edge.model.stamp import Parameter, Stamp

app = typer.Typer()
app.command("new")(new)


@app.command()
@speaks
def validate(stamp: StampArgument, set_: SetOption = None, as_json: JsonFlag = False) -> None:
    """Check a stamp without any site: syntax, parameters, where its objects go, and the fleet's rules.

    Parameters without a default get a sample value; one that has a pattern needs --set. Ends with 1 when an object
    breaks a rule that nobody waived.
    """
    meant = find_stamp(stamp)
    objects = shown_objects(meant, None, pairs(set_ or [], "--set"))
    rules = policy_rules()
    found = rules.book().violations(objects, meant.waivers, datetime.now(UTC))
    violations = [violation.model_dump(mode="json") for violation in found]
    data = {**_summary(meant), "objects": object_rows(objects), "violations": violations}
    emit(data, _objects(meant, objects), as_json=as_json)
    for drawn in () if as_json else _more(meant, found):
        emit(None, drawn, as_json=False)
    if rules.is_strict and any(not violation.waived_by for violation in found):
        raise typer.Exit(BAD_OUTCOME)


app.command("render")(render)
app.command("diff")(diff)
app.command("plan")(plan)
app.command("policies")(policies)
app.command("package")(package)
app.command("roll-out")(roll_out)


def _summary(stamp: Stamp) -> dict[str, Any]:
    return stamp.model_dump(mode="json", exclude={"manifests", "files"})


def _more(stamp: Stamp, violations: Sequence[Violation]) -> list[Table]:
    """The tables that have rows."""
    tables = [_components(stamp), _parameters(stamp), _checks(stamp), _violations(violations)]
    return [drawn for drawn in tables if drawn.row_count]


def _objects(stamp: Stamp, objects: Sequence[KubeObject]) -> Table:
    title = f"{stamp.name} {stamp.version}: {len(objects)} objects ({stamp.digest[:12]})"
    rows = [list(row.values()) for row in object_rows(objects)]
    return table(title, ("phase", "kind", "namespace", "name"), rows)


def _components(stamp: Stamp) -> Table:
    rows = [(said.name, said.kind, said.path, ", ".join(said.depends_on)) for said in stamp.components]
    return table("Components", ("name", "kind", "path", "depends on"), rows)


def _parameters(stamp: Stamp) -> Table:
    rows = [
        (name, "secret" if said.secret else said.type, said.default, _allowed(said), said.description)
        for name, said in stamp.parameters.items()
    ]
    return table("Parameters", ("name", "type", "default", "allowed", "description"), rows)


def _allowed(said: Parameter) -> str:
    limits = [f"{keyword} {value}" for keyword, value in said.constraints.items()]
    return ", ".join(filter(None, (" | ".join(said.enum), said.pattern or "", *limits)))


def _checks(stamp: Stamp) -> Table:
    rows = [(check.name, check.type) for check in stamp.checks]
    return table("Checks", ("name", "type"), rows)


def _violations(violations: Sequence[Violation]) -> Table:
    rows = [(said.code, said.ref, said.message, said.fix, said.waived_by) for said in violations]
    return table("Rules that objects break", ("rule", "object", "what", "fix", "waived by"), rows)
