"""What is told of a rollout when somebody asks for its report: lines for people, and evidence for auditors."""

from __future__ import annotations

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.names import SiteName


class SiteLine(Value):
    """One site. `before` and `after` are versions, "" for none; `seconds` is wall-clock time spent on the site.

    `outcome` is "" until the site has ended, and `snapshot` the SHA-256 of what was kept there before the first write.
    """

    site: SiteName
    wave: int
    wave_name: str
    before: str = ""
    after: str = ""
    outcome: str = ""
    seconds: float = 0.0
    code: str = ""
    cause: str = ""
    remedy: str = ""
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    snapshot: str = ""


class WaveLine(Value):
    """One wave. Seconds are of the sites that were worked on; `outcomes` counts its sites, "" those still open."""

    wave: int
    name: str
    sites: int
    outcomes: dict[str, int] = {}
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    median_s: float | None = None
    p95_s: float | None = None
    longest_s: float | None = None


class CauseLine(Value):
    """Sites that did not succeed for one reason; `example` is what one of them said."""

    code: str
    sites: int
    example: str
    remedy: str = ""
    first: SiteName


class Said(Value):
    """One row of the audit trail that is about the rollout itself."""

    sequence: int
    at: AwareDatetime
    actor: str
    action: str
    detail: str = ""
    digest: str


class Found(Value):
    """What the checks before the first change said, in the same words, at so many sites."""

    text: str
    sites: int


class Evidence(Value):
    """What an auditor asks for. Digests are SHA-256 in hex.

    `plan_digest` is over the plan's JSON as the ledger has it. `chain` says whether the audit trail verifies, in a
    sentence; `chain_ok` None: nobody looked.
    """

    plan_digest: str
    stamp_digest: str
    said: tuple[Said, ...] = ()
    violations: tuple[Found, ...] = ()
    waivers: tuple[Found, ...] = ()
    warnings: tuple[Found, ...] = ()
    snapshots: int = 0
    chain: str = ""
    chain_ok: bool | None = None
