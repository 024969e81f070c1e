"""The `edge` command: one file per topic. What is heavy is imported inside commands, so that help stays quick."""

from __future__ import annotations

import sys

import typer

from edge.cli import audit, catch_up, device, drift, gateway, lab, platform, rollout, site, stamp, trust
from edge.cli.output import BAD_INPUT, complain
from edge.errors import InvalidInput

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run the life of a fleet of edge Kubernetes clusters.",
)

for _name, _topic, _help in (
    ("lab", lab.app, "A pretend fleet that speaks the real protocols."),
    ("site", site.app, "Sites: import, list, show, hold, expiring."),
    ("device", device.app, "Devices: list, show."),
    ("trust", trust.app, "Whom the platform believes: show, allow, vouchers, revocation."),
    ("stamp", stamp.app, "Stamps: new, validate, render, diff, plan, policies, package, roll out."),
    ("rollout", rollout.app, "Rollouts: list, status, report, and a person's word to them."),
    ("catch-up", catch_up.app, "Sites that were away: what they missed, and approvals."),
    ("drift", drift.app, "Drift: detect, list."),
    ("audit", audit.app, "The audit trail: verify."),
    ("gateway", gateway.app, "The way in for device registrations."),
    ("platform", platform.app, "Everything on this machine: up, down, demo, bench."),
):
    app.add_typer(_topic, name=_name, help=_help, no_args_is_help=True)


def main() -> None:
    """Entry point of the `edge` command. With `--json` a wrong use is told as JSON, like any other error."""
    if "--json" not in sys.argv[1:]:
        app()
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as wrong:
        complain(InvalidInput(wrong.format_message()), as_json=True)
        sys.exit(BAD_INPUT)
