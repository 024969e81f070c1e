"""`edge lab`: start, look at, disturb and end a pretend fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli import lab_flux, lab_register, lab_revoke
from edge.cli.output import JsonFlag, emit, speaks, table
from edge.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from edge.lab.layout import Layout

app = typer.Typer(help="A pretend fleet that speaks the real protocols.")

app.command("flux")(lab_flux.flux)
app.command("register")(lab_register.register)
app.command("revoke")(lab_revoke.revoke)

StateOption = Annotated[Path | None, typer.Option("--state", help="The lab's folder; without it, lab in EDGE_HOME.")]


@app.command()
@speaks
def up(
    sites: Annotated[int, typer.Option(min=1, max=9999, help="How many sites.")] = 3,
    scenario: Annotated[str, typer.Option(help="Name of a shipped scenario, or a YAML file.")] = "none",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: the one it had before, or a free one.")] = 0,
    state: StateOption = None,
    clock_rate: Annotated[float, typer.Option(min=0.001, max=100_000, help="Lab seconds per real second.")] = 1.0,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and end with Ctrl-C.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what the sites of an earlier lab held.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Start a lab and say where everything is.

    The folder keeps its CA, tokens and objects, so that the next `up` goes on where it was.
    """
    from edge.lab.layout import LabConfig  # noqa: PLC0415 - help stays quick without the lab
    from edge.lab.scenario import read_scenario  # noqa: PLC0415 - as above

    read_scenario(scenario)
    layout = _layout(state)
    if fresh:
        _forget(layout)
    config = LabConfig(
        state=layout.state,
        sites=sites,
        scenario=str(Path(scenario).absolute()) if Path(scenario).is_file() else scenario,
        port=port,
        clock_rate=clock_rate,
    )
    if foreground:
        _stay(config, as_json=as_json)
    else:
        from edge.lab.process import start  # noqa: PLC0415 - as above

        _show(start(config), as_json=as_json)


@app.command()
@speaks
def down(state: StateOption = None, as_json: JsonFlag = False) -> None:
    """End the lab; what its sites hold stays in its folder."""
    from edge.lab.process import stop  # noqa: PLC0415 - help stays quick without the lab

    layout = _layout(state)
    ended = stop(layout)
    said = "The lab has ended." if ended else f"No lab runs in {layout.state}."
    emit({"state": str(layout.state), "ended": ended}, said, as_json=as_json)


@app.command()
@speaks
def status(state: StateOption = None, as_json: JsonFlag = False) -> None:
    """The sites of the lab that runs: what they hold, what they served, and their weather."""
    from edge.lab.process import ask  # noqa: PLC0415 - help stays quick without the lab

    found = ask(_layout(state), "GET", "/lab/sites")["sites"]
    rows = [
        (site["name"], site["region"], site["objects"], site["served"], ", ".join(_kinds(site)) or "fair")
        for site in found
    ]
    columns = ("Site", "Region", "Objects", "Requests", "Weather")
    emit(found, table("Lab", columns, rows), as_json=as_json)


@app.command()
@speaks
def fault(
    site: Annotated[str, typer.Argument(help="The site's name.")],
    kind: Annotated[
        str,
        typer.Argument(
            help="offline, slow, lossy, throttled, server-error, expired-token, full-node, wrong-clock, no-dns, "
            "egress-blocked; none lifts all."
        ),
    ],
    lasts: Annotated[str, typer.Option("--for", help="How long, such as 60s or 5m; without it, until lifted.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the fault, such as mode=silent or share=0.5.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Lift this kind of fault instead.")] = False,
    state: StateOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Change the weather at one site of the lab that runs."""
    layout = _layout(state)
    path = f"/lab/sites/{_site_name(site)}/faults"
    if kind == "none" or lift:
        found = _ask(layout, "DELETE", path if kind == "none" else f"{path}/{kind}")
    else:
        order: dict[str, Any] = {**dict(map(_setting, settings or ())), "kind": kind}
        if lasts:
            order["for_s"] = _seconds(lasts)
        found = _ask(layout, "PUT", path, order)
    emit(found, f"{site}: {', '.join(_kinds(found)) or 'fair weather'}", as_json=as_json)


def _ask(layout: Layout, method: str, path: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
    """As `process.ask`; what the lab does not know is wrong input here."""
    from edge.lab.process import ask, describe  # noqa: PLC0415 - help stays quick without the lab

    describe(layout)
    try:
        return ask(layout, method, path, order)
    except NotFound as error:
        raise InvalidInput(error.what, **error.where) from error


def _layout(state: Path | None) -> Layout:
    from edge.lab.layout import Layout  # noqa: PLC0415 - help stays quick without the lab
    from edge.settings import Settings  # noqa: PLC0415 - as above

    return Layout((state or Settings().home / "lab").absolute())


def _stay(config: Any, *, as_json: bool) -> None:
    from edge.lab.run import Lab, claimed, raise_file_limit  # noqa: PLC0415 - help stays quick without the lab

    with claimed(_layout(config.state)):
        raise_file_limit()
        Lab(config).serve(lambda said: _show(said, as_json=as_json))


def _forget(layout: Layout) -> None:
    from edge.lab.process import forget  # noqa: PLC0415 - help stays quick without the lab

    forget(layout)


def _show(said: dict[str, Any], *, as_json: bool) -> None:
    away = sum(site["offline"] for site in said["sites"])
    rows = [
        ("address", said["url"]),
        ("sites", f"{len(said['sites'])}, {away} of them offline"),
        ("scenario", said["scenario"]),
        ("kubeconfigs", said["kubeconfigs"]),
        ("CA", said["ca_file"]),
        ("Azure", said["azure"]["endpoint"]),
        ("revisions", said["gitops"]["url"]),
        ("state", said["state"]),
    ]
    emit(said, table("Lab", ("", ""), rows), as_json=as_json)


def _kinds(site: dict[str, Any]) -> list[str]:
    return [fault["kind"] for fault in site["faults"]]


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidInput("a setting is written key=value", field="--set", value=text)
    return key, value


def _seconds(text: str) -> float:
    from edge.lab.controllers.engine import duration  # noqa: PLC0415 - help stays quick without the lab

    seconds = duration(text, -1.0)
    if seconds <= 0:
        raise InvalidInput("not a length of time", field="--for", value=text, remedy="Write it as 60s, 5m or 1h")
    return seconds


def _site_name(text: str) -> str:
    if not text.replace("-", "").isalnum():
        raise InvalidInput("not the name of a site", field="SITE", value=text)
    return text
