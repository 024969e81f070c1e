"""What a site pulls: a rendered revision of a stamp in a registry, and what the site reports about it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, StringConstraints

from edge.model.base import Value
from edge.model.names import StampName

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class Bundle(Value):
    """What is published: path -> text, one folder for each stage of `stages`, in the order of their dependence.

    `variables` are the site's own values, which Flux substitutes after it has fetched (`postBuild.substitute`); they
    are not part of what is published, so that sites which differ in nothing else share one revision.
    """

    files: dict[str, str]
    stages: tuple[str, ...]
    variables: dict[str, str] = {}


class Revision(Value):
    """An artifact that never changes: repository (`oci://host/path`) and digest."""

    url: str
    digest: Digest

    def __str__(self) -> str:
        return f"{self.url}@{self.digest}"


class FluxWish(Value):
    """What Flux at a site is asked for. Times are seconds: between two looks, between two tries, and until healthy.

    `ca` is the PEM text of the registry's own CA; `pull_secret` names a Secret at the site with its credential.
    """

    name: StampName
    revision: Revision
    stages: tuple[str, ...]
    variables: dict[str, str] = {}
    namespace: str = "edge-gitops"
    interval_s: float = 300.0
    retry_s: float = 30.0
    timeout_s: float = 300.0
    prune: bool = True
    ca: str = ""
    pull_secret: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the Kustomizations, in the order of the stages."""
        return tuple(f"{self.name}-{stage}" for stage in self.stages)


class Compliance(StrEnum):
    """How far a site is with what it was asked for."""

    PENDING = "pending"
    """It has not reported on this revision yet, or works on it."""
    COMPLIANT = "compliant"
    """Every stage has applied this revision and is healthy."""
    FAILED = "failed"
    """It says of this revision what no waiting heals."""


class PartReport(Value):
    """What is known of one source or Kustomization: its Ready condition, and what it applied last."""

    name: str
    ready: str = "Unknown"
    reason: str = ""
    message: str = ""
    current: bool = False
    """Whether this is about what is asked for now."""
    applied: str = ""
    """The revision that was applied last."""
    since: AwareDatetime | None = None


class FluxReport(Value):
    """What the site reports, through Azure or by its own objects. `synced` is the revision that its source has."""

    source: PartReport | None = None
    synced: str = ""
    synced_at: AwareDatetime | None = None
    parts: tuple[PartReport, ...] = ()
    trouble: str = ""
    """Why the agents at the site could not even ask Flux for it."""


class Verdict(Value):
    """What the report means for the revision asked for, with a sentence."""

    compliance: Compliance
    message: str = ""
    reason: str = ""
