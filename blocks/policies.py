"""What rendered objects must keep to before they go to a site."""

from __future__ import annotations

from functools import lru_cache
from typing import Self

from prefect.blocks.core import Block
from pydantic import Field

from edge.clients.rule_files import baseline_rules, read_rule_texts
from edge.model.rule import Enforcement
from edge.policy.rules import RuleBook, parse_rules
from edge.settings import Settings


class PolicyRules(Block):
    """The shipped baseline, an operator's own rules, and whether a breach stops a site."""

    _block_type_name = "Edge policy rules"
    _block_type_slug = "edge-policy-rules"

    more: dict[str, str] = Field(default={}, description="Rules beside the baseline: a name -> YAML.")
    registries: list[str] = Field(default=[], description="Registries (with a path) whose images need no digest.")
    enforcement: Enforcement = Field(default=Enforcement.ENFORCE, description="Refuse a breach, or only tell of it.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As `EDGE_POLICIES`, `EDGE_ALLOWED_REGISTRIES` and `EDGE_POLICY` say. InvalidInput when a rule is no good."""
        made = cls(
            more=read_rule_texts(settings.policies) if settings.policies else {},
            registries=list(settings.allowed_registries),
            enforcement=settings.policy,
        )
        made.book()
        return made

    @property
    def is_strict(self) -> bool:
        """Whether a breach keeps a stamp from a site."""
        return self.enforcement is Enforcement.ENFORCE

    def book(self) -> RuleBook:
        """All rules, compiled. Raises InvalidInput naming file and rule when one is no good."""
        return _book(tuple(sorted(self.more.items())), tuple(self.registries))


@lru_cache(maxsize=8)
def _book(files: tuple[tuple[str, str], ...], registries: tuple[str, ...]) -> RuleBook:
    """Compiled once for all sites."""
    own = [rule for name, text in files for rule in parse_rules(text, origin=name)]
    return RuleBook((*baseline_rules(), *own), registries)
