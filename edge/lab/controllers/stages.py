"""Stage files: what happens to objects of a kind, when, and after how long. Read once when the lab starts."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from edge.errors import InvalidInput
from edge.lab.complaints import complaint
from edge.lab.controllers.calls import CALLS
from edge.lab.controllers.kinds import Kind, parse_kind
from edge.lab.controllers.match import Condition, Test, compile_conditions
from edge.lab.controllers.paths import one
from edge.lab.controllers.template import Filler, compile_template
from edge.model.base import Value
from edge.policy.yaml_text import parse_yaml


class Delay(Value):
    """Lab seconds before a stage happens, give or take `jitter`; `from` is a path to a text such as `5s` or `2m`."""

    seconds: float = Field(default=0.0, ge=0)
    jitter: float = Field(default=0.0, ge=0)
    read_from: str | None = Field(default=None, alias="from")


class Then(Value):
    """What happens: `status` and `patch` are merged in, `create` makes other objects, `call` runs a controller."""

    status: dict[str, Any] | None = None
    patch: dict[str, Any] | None = None
    create: tuple[dict[str, Any], ...] = ()
    delete: bool = False
    call: str | None = None
    nothing: bool = False
    """The object stays as it is; stages further down do not apply."""

    @model_validator(mode="after")
    def _does_something(self) -> Then:
        if not (self.status or self.patch or self.create or self.delete or self.call or self.nothing):
            raise ValueError("a stage does one of: status, patch, create, delete, call, nothing")
        if self.call is not None and self.call not in CALLS:
            raise ValueError(f"no such controller; known: {', '.join(CALLS)}")
        return self


class Stage(Value):
    """One step in an object's life."""

    name: str
    when: tuple[Condition, ...] = ()
    delay: Delay = Delay()
    then: Then


class StageFile(Value):
    """Stages of one kind of object, as `Kind` or `group/Kind`.

    The first stage of a lane whose conditions hold is the one that will happen. Files of one lane are taken by rank,
    then by name. Objects are looked at when they change, when an object they control changes, and when one of a kind
    in `watches` does.
    """

    resource: str
    lane: str = "life"
    rank: int = 100
    watches: tuple[str, ...] = ()
    stages: tuple[Stage, ...]

    @property
    def kind(self) -> Kind:
        """Group and kind."""
        return parse_kind(self.resource)


class ReadyStage:
    """A stage with everything compiled."""

    __slots__ = ("create", "delay", "name", "patch", "read_delay", "status", "test", "then")

    def __init__(self, stage: Stage) -> None:
        self.name = stage.name
        self.then = stage.then
        self.delay = stage.delay
        self.read_delay = one(stage.delay.read_from) if stage.delay.read_from else None
        self.test: Test = compile_conditions(stage.when)
        self.status = _filler(stage.then.status)
        self.patch = _filler(stage.then.patch)
        self.create = tuple(compile_template(obj) for obj in stage.then.create)


Lane = tuple[ReadyStage, ...]


class StageBook:
    """All stages, by kind and lane."""

    def __init__(self, stage_files: Iterable[StageFile]) -> None:
        self.lanes: dict[Kind, dict[str, Lane]] = {}
        self.watched: dict[Kind, set[Kind]] = {}
        """A kind -> the kinds that are looked at when one of it changes."""
        for file in stage_files:
            lanes = self.lanes.setdefault(file.kind, {})
            ready = tuple(ReadyStage(stage) for stage in file.stages)
            lanes[file.lane] = lanes.get(file.lane, ()) + ready
            for word in file.watches:
                self.watched.setdefault(parse_kind(word), set()).add(file.kind)


def read_stages(extra: Iterable[str] = (), folder: Path | None = None) -> StageBook:
    """The shipped stages, with a scenario's own before those of the same rank. Raises InvalidInput."""
    found = [parse_stage_file(_read(name, folder), name) for name in extra]
    shipped = sorted(files("edge.lab").joinpath("stages").iterdir(), key=lambda entry: entry.name)
    found += [
        parse_stage_file(entry.read_text(encoding="utf-8"), entry.name) for entry in shipped if _is_yaml(entry.name)
    ]
    return StageBook(sorted(found, key=lambda file: file.rank))


def parse_stage_file(text: str, origin: str) -> StageFile:
    """One stage file. Raises InvalidInput naming file, field and value."""
    data: Any = parse_yaml(text, origin=origin)
    try:
        file = StageFile.model_validate(data)
        for stage in file.stages:
            ReadyStage(stage)
    except ValidationError as error:
        what, field, value = complaint(error)
        raise InvalidInput(what, file=origin, field=field or None, value=value) from error
    except ValueError as error:
        raise InvalidInput(str(error), file=origin) from error
    return file


def _filler(value: dict[str, Any] | None) -> Filler | None:
    return compile_template(value) if value else None


def _read(name: str, folder: Path | None) -> str:
    path = (folder or Path()) / name
    if path.exists() and not path.is_file():
        raise InvalidInput("the stage file is no file", file=path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("cannot read the stage file", file=path, reason=error) from error


def _is_yaml(name: str) -> bool:
    return name.endswith(".yaml")
