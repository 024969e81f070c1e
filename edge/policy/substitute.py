"""Substitution of `${name}` in manifests, in the syntax of Flux's postBuild.

Flux substitutes into the text of an object, so a value with a colon or a line break can change what the text means.
Here a manifest is parsed first and its scalars are filled afterwards: a value can never become structure, and a stamp
is parsed once for a fleet instead of once for each site. An unquoted scalar gets its type after it is filled, as in
Flux: `replicas: ${count}` is a number. Different from Flux on purpose: quotes in the manifest stay, a variable that
nobody knows is an error, and so is a text that would lose its type for want of quotes (`1.10`, `no`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from edge.errors import InvalidInput
from edge.policy.yaml_text import plain_value

NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
MAX_FILLED = 20_000_000
"""How many characters the filled scalars of one stamp may have on one site."""

_TOKEN = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"([_a-zA-Z][_a-zA-Z0-9]*)(?::[=-](.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variable:
    """One `${name}`; `default` is what stands after `:=` or `:-`, used when the value is absent or empty."""

    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Template:
    """A scalar with variables in it. `pieces` are texts and variables in turn; `plain` means without quotes."""

    raw: str
    pieces: tuple[str | Variable, ...]
    plain: bool
    file: str
    line: int

    def variables(self) -> Iterator[Variable]:
        """Every use of a variable, in order."""
        return (piece for piece in self.pieces if isinstance(piece, Variable))

    def untouched(self) -> object:
        """The scalar as it stands, for an object that asks to be left alone."""
        return plain_value(self.raw) if self.plain else self.raw


def parse_template(text: str, *, plain: bool, file: str, line: int) -> Template | str:
    """Cut a scalar into texts and variables; a scalar without any is text. Raises InvalidInput with file, line, value.

    `$${` stands for a literal `${`; any other `$` is text.
    """
    pieces: list[str | Variable] = []
    end = 0
    for found in _TOKEN.finditer(text):
        pieces.append(text[end : found.start()])
        pieces.append("${" if found[1] is None else _variable(found, file, line))
        end = found.end()
    pieces.append(text[end:])
    if len(pieces) == 1:
        return text
    return Template(text, tuple(piece for piece in pieces if piece != ""), plain, file, line)


def _variable(found: re.Match[str], file: str, line: int) -> Variable:
    meant = _VARIABLE.fullmatch(found[1])
    if not found[2] or meant is None or "${" in (meant[2] or ""):
        raise InvalidInput(
            "This is not a substitution",
            remedy="Use ${name}, ${name:=default} or ${name:-default}, and $${ for a literal ${",
            file=file,
            line=line,
            value=found[0][:100],
        )
    return Variable(meant[1], meant[2])


class Filler:
    """Fills parsed manifests with one site's values. `texts` names the values that must stay text."""

    def __init__(self, values: Mapping[str, str], texts: Collection[str] = ()) -> None:
        self._values = values
        self._texts = texts
        self._room = MAX_FILLED

    def fill(self, node: object) -> object:
        """A copy of parsed YAML with every template filled. Raises InvalidInput with file, line and variable."""
        if isinstance(node, dict):
            return {key: self.fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.fill(item) for item in node]
        return self._filled(node) if isinstance(node, Template) else node

    def _filled(self, template: Template) -> object:
        text = "".join(self._piece(piece, template) for piece in template.pieces)
        self._room -= len(text)
        if self._room < 0:
            raise InvalidInput(f"Filled, the stamp has more than {MAX_FILLED} characters", file=template.file)
        if not template.plain:
            return text
        value = self._typed(text, template)
        kept = [variable.name for variable in template.variables() if variable.name in self._texts]
        if kept and not isinstance(value, str):
            raise InvalidInput(
                "A parameter of type string would lose its type here",
                remedy="Put it in quotes in the manifest, or declare its true type",
                file=template.file,
                line=template.line,
                variable=kept[0],
                value=text,
            )
        return value

    def _typed(self, text: str, template: Template) -> object:
        try:
            return plain_value(text)
        except ValueError as error:
            raise InvalidInput(str(error), file=template.file, line=template.line, value=text[:100]) from error

    def _piece(self, piece: str | Variable, template: Template) -> str:
        if isinstance(piece, str):
            return piece
        value = self._values.get(piece.name)
        if not value and piece.default is not None:
            return piece.default
        if value is None:
            raise unknown_variable(piece.name, template)
        return value


def unknown_variable(name: str, template: Template) -> InvalidInput:
    """The error for a variable that is neither declared nor has a default."""
    return InvalidInput(
        "This variable is not a parameter of the stamp and has no default",
        remedy="Declare it in stamp.yaml, or write ${name:=default}",
        file=template.file,
        line=template.line,
        variable=name,
    )


def templates_in(node: object) -> Iterator[Template]:
    """Every template in parsed YAML, in order."""
    if isinstance(node, Template):
        yield node
    elif isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from templates_in(inner)
