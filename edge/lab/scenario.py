"""Finding and reading a scenario: by the name of a shipped one, or from a file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.lab.complaints import complaint
from edge.lab.weather import Scenario
from edge.policy.yaml_text import parse_yaml

_MAX_BYTES = 1_000_000


def scenario_names() -> list[str]:
    """The shipped scenarios."""
    folder = files("edge.lab").joinpath("scenarios")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_scenario(name_or_file: str) -> tuple[Scenario, Path | None]:
    """The scenario, and the folder its file lies in (None for a shipped one).

    Raises InvalidInput naming the file, the field and the value.
    """
    if name_or_file in scenario_names():
        shipped = files("edge.lab").joinpath("scenarios", f"{name_or_file}.yaml")
        return parse_scenario(shipped.read_text(encoding="utf-8"), name_or_file), None
    file = Path(name_or_file)
    if not file.is_file():
        known = ", ".join(scenario_names())
        raise InvalidInput("no such scenario", value=name_or_file, remedy=f"Give a file, or one of: {known}")
    with file.open("rb") as stream:
        text = stream.read(_MAX_BYTES + 1)
    return parse_scenario(text, str(file)), file.parent


def parse_scenario(text: str | bytes, origin: str) -> Scenario:
    """A scenario from YAML. Raises InvalidInput."""
    data: Any = parse_yaml(text, origin=origin, max_bytes=_MAX_BYTES)
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        what, field, value = complaint(error)
        raise InvalidInput(what, file=origin, field=field or None, value=value) from error
