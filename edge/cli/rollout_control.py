"""`edge rollout pause|resume|cancel|retry|approve|reject`: a person's word to a rollout."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from edge.cli.context import has_server, open_ledger
from edge.cli.output import JsonFlag, emit, speaks, table
from edge.cli.runs import keep_prefect_quiet, start_on_pool
from edge.errors import EdgeError
from edge.model.rollout import Control
from edge.policy.rollout_leases import rollout_lease
from tasks.words import RESUME, takes_a_run, write_down

RolloutArg = Annotated[str, typer.Argument(metavar="ROLLOUT", help="The rollout's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the audit trail.")]
By = Annotated[str | None, typer.Option("--by", help="Who says so; the user of this machine when not given.")]


def _say(rollout: str, action: Control, by: str | None, reason: str, *, as_json: bool) -> None:
    """Write it down, and have a worker go on when there is something to do and a server to ask."""
    with open_ledger() as ledger:
        who = by or getpass.getuser()
        found = write_down(ledger, rollout, action, by=who, reason=reason)
        is_to_be_taken_up = takes_a_run(ledger, found)
        goes_on = rollout_lease(rollout) in ledger.leases.held(rollout_lease(rollout))
    run = _take_up(rollout) if is_to_be_taken_up and has_server() else ""
    data = {"rollout": rollout, "action": action, "state": found.state, "by": who, "run": run}
    rows = [(rollout, action, found.state, run or ("its run goes on" if goes_on else ""))]
    emit(data, table("Rollout", ("rollout", "action", "state", "run"), rows), as_json=as_json)


def _take_up(rollout: str) -> str:
    """Start a run for it; answers which."""
    keep_prefect_quiet()
    try:
        return start_on_pool(RESUME, {"rollout": rollout})
    except EdgeError as error:  # it is on record, and whoever tends rollouts will see it
        return f"none was started: {error.code}"


@speaks
def pause(rollout: RolloutArg, reason: Reason = "", by: By = None, as_json: JsonFlag = False) -> None:
    """Begin no further site until somebody resumes it; sites at work are finished."""
    _say(rollout, Control.PAUSE, by, reason, as_json=as_json)


@speaks
def resume(rollout: RolloutArg, reason: Reason = "", by: By = None, as_json: JsonFlag = False) -> None:
    """Go on with a paused rollout."""
    _say(rollout, Control.RESUME, by, reason, as_json=as_json)


@speaks
def cancel(rollout: RolloutArg, reason: Reason = "", by: By = None, as_json: JsonFlag = False) -> None:
    """End it: sites at work are finished, the others are held."""
    _say(rollout, Control.CANCEL, by, reason, as_json=as_json)


@speaks
def retry(rollout: RolloutArg, reason: Reason = "", by: By = None, as_json: JsonFlag = False) -> None:
    """Try the sites again that failed or were held, and only those; where a roll-back is unfinished, finish that."""
    _say(rollout, Control.RETRY_FAILED, by, reason, as_json=as_json)


@speaks
def approve(rollout: RolloutArg, reason: Reason = "", by: By = None, as_json: JsonFlag = False) -> None:
    """Let the wave pass that waits for a person."""
    _say(rollout, Control.APPROVE, by, reason, as_json=as_json)


@speaks
def reject(rollout: RolloutArg, reason: Reason = "", by: By = None, as_json: JsonFlag = False) -> None:
    """Stop the rollout at the wave that waits for a person."""
    _say(rollout, Control.REJECT, by, reason, as_json=as_json)
