"""`edge platform`: everything on this machine, for a look, for development and for the demonstration."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from edge.cli.output import BAD_OUTCOME, JsonFlag, console, emit, errors, progress, speaks, table
from edge.settings import Settings

app = typer.Typer()

DEMO = "demo"
"""The demonstration has a state folder of its own below the home, and begins with an empty one."""

Sites = Annotated[int, typer.Option(min=1, max=5000, help="How many pretend sites.")]
Scenario = Annotated[str | None, typer.Option(help="Weather: a shipped scenario's name, or a file.")]


def _say(text: str) -> None:
    errors.print(f"[dim]·[/] {text}", highlight=False)


@app.command()
@speaks
def up(sites: Sites = 12, scenario: Scenario = "demo", as_json: JsonFlag = False) -> None:
    """Start lab, Prefect server, worker and gateway, and leave them running.

    The ledger is the one at EDGE_LEDGER_URL, or else a file in EDGE_HOME.
    """
    from deployments.local.platform import LocalPlatform  # noqa: PLC0415 - heavy

    settings = Settings()
    given = {"EDGE_LEDGER_URL": settings.ledger} if settings.ledger_url else {}
    with _ends_on_signals():
        platform = LocalPlatform(settings.home, say=_say)
        addresses = platform.start(sites=sites, scenario=scenario, settings=given)
    rows = [
        ("Prefect UI", addresses.prefect_ui),
        ("gateway", addresses.gateway),
        ("gateway token", str(addresses.gateway_token_file)),
        ("lab", str(addresses.lab["url"])),
        ("for your shell", f". {platform.environment_file}"),
        *((name, value) for name, value in addresses.environment.items() if name != "IDENTITY_HEADER"),
    ]
    emit(addresses.model_dump(mode="json"), table("The platform runs", ("what", "where"), rows), as_json=as_json)


@app.command()
@speaks
def down(as_json: JsonFlag = False) -> None:
    """End what `up` or `demo --keep` started."""
    from deployments.local.platform import LocalPlatform  # noqa: PLC0415 - heavy

    home = Settings().home
    ended = [*LocalPlatform(home / DEMO).stop(), *LocalPlatform(home).stop()]
    emit({"ended": ended}, f"Ended: {', '.join(ended) or 'nothing was running'}", as_json=as_json)


@app.command()
@speaks
def demo(
    sites: Sites = 12,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything up afterwards.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Onboard a pretend fleet from its registrations and roll a stamp out to it."""
    from deployments.local.demo import run_demo  # noqa: PLC0415 - heavy
    from deployments.local.platform import LocalPlatform  # noqa: PLC0415 - heavy

    platform = LocalPlatform(Settings().home / DEMO, say=_say)
    platform.forget()
    with _ends_on_signals():
        addresses = platform.start(sites=sites, scenario="demo")
        try:
            with progress("onboarding", sites) as bar:
                result = run_demo(addresses, say=_say, onboarded=bar)
        except BaseException:
            platform.stop()
            raise
        if not keep:
            platform.stop()
    emit(result.model_dump(mode="json"), table(result.title, result.columns, result.rows), as_json=as_json)
    if keep:
        console.print(f"Prefect UI: {addresses.prefect_ui}   (end with `make down`)")
    if not result.good:
        raise typer.Exit(BAD_OUTCOME)


@app.command()
@speaks
def bench(
    sites: Annotated[int, typer.Option(min=10, max=5000, help="Sites of the rollout.")] = 1000,
    devices: Annotated[int, typer.Option(min=10, max=5000, help="Devices of the burst.")] = 500,
    only: Annotated[list[str] | None, typer.Option(help="Just this part: suites, rollout or onboarding.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure the budgets. Exit code 1 when one is not met."""
    from deployments.local.bench import COLUMNS, Part, measure  # noqa: PLC0415 - heavy

    parts = tuple(Part(part) for part in only or Part)
    figures = list(measure(parts, sites, devices, _say))
    rows = [(figure.what, figure.budget, figure.measured, figure.beside, figure.verdict) for figure in figures]
    emit([figure.model_dump() for figure in figures], table("Budgets, measured", COLUMNS, rows), as_json=as_json)
    if any(figure.met is False for figure in figures):
        raise typer.Exit(BAD_OUTCOME)


@contextmanager
def _ends_on_signals() -> Iterator[None]:
    """Turn the polite signals into an exit, so that what was started is ended."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {sign: signal.signal(sign, leave) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
