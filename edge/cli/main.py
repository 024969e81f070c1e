"""The `edge` command: one file per topic. What is heavy is imported inside commands, so that help stays quick."""

from __future__ import annotations

import importlib
import importlib.util

import typer

TOPICS = {
    "lab": "A pretend fleet that speaks the real protocols.",
    "site": "Sites: import, list, show.",
    "device": "Devices: list, show.",
    "stamp": "Stamps: validate, plan, roll out.",
    "rollout": "Rollouts: list, status.",
    "audit": "The audit trail: verify.",
    "gateway": "The way in for device registrations.",
    "platform": "Everything on this machine: up, down, demo.",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run the life of a fleet of edge Kubernetes clusters.",
)

for _topic, _help in TOPICS.items():
    if importlib.util.find_spec(f"edge.cli.{_topic}"):
        app.add_typer(importlib.import_module(f"edge.cli.{_topic}").app, name=_topic, help=_help, no_args_is_help=True)


def main() -> None:
    """Entry point of the `edge` command."""
    app()
