"""Reads rules from disk: the baseline that comes with the platform, and a folder with an operator's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import edge.policy
from edge.clients.files import read_text
from edge.errors import InvalidInput
from edge.model.rule import Rule
from edge.policy.rules import parse_rules

_MOST_FILES = 200


def baseline_rules() -> tuple[Rule, ...]:
    """The rules that every stamp must keep to."""
    name = "data/baseline_rules.yaml"
    return parse_rules(files(edge.policy).joinpath(name).read_text("utf-8"), origin=name)


def read_rule_texts(folder: Path) -> dict[str, str]:
    """File -> text of the `*.yaml` files of a folder, by name. InvalidInput when it is no folder or has too many."""
    if not folder.is_dir():
        raise InvalidInput("There is no folder with rules here", field="EDGE_POLICIES", value=folder)
    found = sorted(folder.glob("*.yaml"))
    if len(found) > _MOST_FILES:
        raise InvalidInput(f"There may be at most {_MOST_FILES} files of rules", field="EDGE_POLICIES", value=folder)
    return {file.name: read_text(file) for file in found}
