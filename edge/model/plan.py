"""What a rollout would do, before it does anything: by object, by site, and in total."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.kube import ObjectRef
from edge.model.names import SiteName
from edge.model.outcome import Cause
from edge.model.rule import Violation


class Action(StrEnum):
    """What would happen to an object."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    NONE = "none"
    """It is already as it should be."""


class FieldChange(Value):
    """One field, by its path. None: absent. Values are one line, cut when long; those of Secrets are masked."""

    path: str
    before: str | None = None
    after: str | None = None


class ObjectChange(Value):
    """One object. `more_fields` counts the changed fields that are not told."""

    ref: ObjectRef
    action: Action
    fields: tuple[FieldChange, ...] = ()
    more_fields: int = 0


class SiteLook(Value):
    """What a look at a site found. Nothing was changed.

    `untried` are objects that could not be tried yet, with the reason; `problems` are sentences, each of which keeps
    the stamp from this site; `warnings` do not.
    """

    changes: tuple[ObjectChange, ...] = ()
    untried: dict[str, str] = {}
    problems: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    """What kind of problems there are: codes of rules, checks or errors."""
    warnings: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    clock_off_s: float | None = None
    """How far the site's clock is ahead of ours, in seconds; None where it does not say."""

    def count(self, action: Action) -> int:
        """How many objects this would happen to."""
        return sum(change.action is action for change in self.changes)


class SitePlan(Value):
    """One site's part. `skipped` says why the rollout would not touch it; `cause` why it could not be looked at.

    `is_away`: it could not be reached, and its policy says that this may be.
    """

    site: SiteName
    wave: int
    is_away: bool = False
    look: SiteLook | None = None
    skipped: str = ""
    cause: Cause | None = None
    opens_at: AwareDatetime | None = None
    """When its next maintenance window opens; None: it is open now, or there are none."""
