"""`edge stamp`: is a stamp sound, what would a rollout do, and do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from edge.cli.output import JsonFlag, emit, speaks, table
from edge.cli.site import pairs
from edge.cli.stamp_package import package
from edge.cli.stamp_plan import plan
from edge.cli.stamp_policies import policies
from edge.cli.stamp_roll_out import read_stamp, roll_out
from edge.model.kube import KubeObject
from edge.model.stamp import Stamp
from edge.policy.apply_order import phases
from edge.policy.parameters import sample_parameters
from edge.policy.render import render

app = typer.Typer()
app.command("plan")(plan)
app.command("policies")(policies)
app.command("roll-out")(roll_out)
app.command("package")(package)

SetOption = Annotated[list[str] | None, typer.Option("--set", help="A parameter, KEY=VALUE.")]


@app.command()
@speaks
def validate(
    path: Annotated[str, typer.Argument(help="The stamp's folder, or a shipped stamp's name.")],
    set_: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a stamp without any site: syntax, parameters, and where its objects go.

    Parameters without a default get a sample value; one that has a pattern needs --set.
    """
    stamp = read_stamp(path)
    objects = render(stamp, sample_parameters(stamp, pairs(set_ or [], "--set")))
    emit({**_summary(stamp), "objects": _rows(objects)}, _objects(stamp, objects), as_json=as_json)
    if not as_json and stamp.parameters:
        emit(None, _parameters(stamp), as_json=False)


def _summary(stamp: Stamp) -> dict[str, Any]:
    return stamp.model_dump(mode="json", exclude={"manifests"})


def _rows(objects: Sequence[KubeObject]) -> list[dict[str, Any]]:
    """A row per object, with the number of the phase in which it is applied."""
    return [
        {
            "phase": number,
            "kind": obj["kind"],
            "namespace": obj["metadata"].get("namespace", ""),
            "name": obj["metadata"]["name"],
        }
        for number, phase in enumerate(phases(objects), start=1)
        for obj in phase
    ]


def _objects(stamp: Stamp, objects: Sequence[KubeObject]) -> Table:
    title = f"{stamp.name} {stamp.version}: {len(objects)} objects ({stamp.digest[:12]})"
    return table(title, ("phase", "kind", "namespace", "name"), [list(row.values()) for row in _rows(objects)])


def _parameters(stamp: Stamp) -> Table:
    rows = [
        (name, said.type, said.default, " | ".join(said.enum) or said.pattern, said.description)
        for name, said in stamp.parameters.items()
    ]
    return table("Parameters", ("name", "type", "default", "allowed", "description"), rows)
