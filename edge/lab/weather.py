"""Weather: what goes wrong at which site, when, as data.

A scenario is a YAML file of spells: a selector of sites, a fault, a start and a length in lab seconds. The same faults
can be set and lifted on a running lab. This file only decides; `weather_wire` does to a request what was decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from edge.lab.kube.webhook_answer import WebhookAnswer, WebhookMode
from edge.model.base import Value
from edge.policy import quantity

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=31_536_000)]


def _amount(text: str) -> str:
    if quantity.parse(text) < 0:
        raise ValueError("less than nothing")
    return text


Amount = Annotated[str, AfterValidator(_amount)]
"""A Kubernetes quantity such as `500m` or `8Gi`, not negative."""


class FaultKind(StrEnum):
    """The kinds of bad weather. A site has at most one fault of each kind at a time."""

    OFFLINE = "offline"
    SLOW = "slow"
    LOSSY = "lossy"
    THROTTLED = "throttled"
    SERVER_ERROR = "server-error"
    EXPIRED_TOKEN = "expired-token"  # noqa: S105 - a word of the weather, no token
    FULL_NODE = "full-node"
    WRONG_CLOCK = "wrong-clock"
    NO_DNS = "no-dns"
    EGRESS_BLOCKED = "egress-blocked"
    FULL_DISK = "full-disk"
    FAILING_WEBHOOK = "failing-webhook"


class OfflineMode(StrEnum):
    """How a site is away."""

    REFUSED = "refused"
    """Nobody listens. Only real for sites that are away when the lab starts; else the connection is reset."""
    RESET = "reset"
    """The connection is cut as soon as the request names the site."""
    SILENT = "silent"
    """The request is taken, and nothing ever comes back."""


class Offline(Value):
    """The site cannot be reached."""

    kind: Literal[FaultKind.OFFLINE] = FaultKind.OFFLINE
    mode: OfflineMode = OfflineMode.RESET


class Slow(Value):
    """Each request waits `latency_s` give or take `jitter_s`; answers crawl at `bytes_per_s` (0: at full speed)."""

    kind: Literal[FaultKind.SLOW] = FaultKind.SLOW
    latency_s: Seconds = 0.5
    jitter_s: Seconds = 0.1
    bytes_per_s: int = Field(default=0, ge=0)


class Lossy(Value):
    """A share of the requests ends in a reset connection, before or (half of them) after the site acted on them."""

    kind: Literal[FaultKind.LOSSY] = FaultKind.LOSSY
    share: Share = 0.2


class Throttled(Value):
    """More than `per_second` requests in a lab second (0: any at all) are answered 429 with this Retry-After."""

    kind: Literal[FaultKind.THROTTLED] = FaultKind.THROTTLED
    per_second: int = Field(default=0, ge=0)
    retry_after_s: int = Field(default=1, ge=0, le=3600)


class ServerError(Value):
    """A share of the requests is answered with this 5xx status and changes nothing."""

    kind: Literal[FaultKind.SERVER_ERROR] = FaultKind.SERVER_ERROR
    share: Share = 1.0
    status: int = Field(default=500, ge=500, le=599)


class ExpiredToken(Value):
    """Every token is answered 401."""

    kind: Literal[FaultKind.EXPIRED_TOKEN] = FaultKind.EXPIRED_TOKEN


class FullNode(Value):
    """The nodes have no room for another pod."""

    kind: Literal[FaultKind.FULL_NODE] = FaultKind.FULL_NODE


class WrongClock(Value):
    """The site's clock is `skew_s` seconds ahead (negative: behind)."""

    kind: Literal[FaultKind.WRONG_CLOCK] = FaultKind.WRONG_CLOCK
    skew_s: float = Field(default=3600.0, ge=-1e9, le=1e9)


class NoDns(Value):
    """Pods at the site cannot resolve hosts that fit the glob."""

    kind: Literal[FaultKind.NO_DNS] = FaultKind.NO_DNS
    host: str = "*"


class EgressBlocked(Value):
    """Pods at the site get no connection to hosts outside that fit the glob."""

    kind: Literal[FaultKind.EGRESS_BLOCKED] = FaultKind.EGRESS_BLOCKED
    host: str = "*"


class FullDisk(Value):
    """The API server's database is full: what would be kept is answered 500. Reading, dry runs and deleting work."""

    kind: Literal[FaultKind.FULL_DISK] = FaultKind.FULL_DISK


class FailingWebhook(WebhookAnswer):
    """Admission webhooks of the site whose Service's name fits the glob refuse, do not answer, or cannot be reached."""

    kind: Literal[FaultKind.FAILING_WEBHOOK] = FaultKind.FAILING_WEBHOOK
    service: str = "*"
    mode: WebhookMode = WebhookMode.SILENT


Fault = Annotated[
    Offline
    | Slow
    | Lossy
    | Throttled
    | ServerError
    | ExpiredToken
    | FullNode
    | WrongClock
    | NoDns
    | EgressBlocked
    | FullDisk
    | FailingWebhook,
    Field(discriminator="kind"),
]
FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


class SiteSelector(Value):
    """Which sites: names as globs, regions, and a stable share of what those leave. Empty means all."""

    names: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    percent: float = Field(default=100.0, ge=0, le=100)


class SpellRule(Value):
    """A fault for some sites, `start_s` lab seconds after the lab's start and for `for_s` of them (None: for good)."""

    sites: SiteSelector = SiteSelector()
    fault: Fault
    start_s: Seconds = 0.0
    for_s: Seconds | None = None


class NodeShape(Value):
    """What each site's nodes have, in Kubernetes quantities."""

    count: int = Field(default=1, ge=1, le=20)
    cpu: Amount = "4"
    memory: Amount = "8Gi"
    pods: Amount = "110"
    architecture: str = "amd64"


class AzurePace(Value):
    """How long the pretend Azure takes, in lab seconds: to make a resource, and to delete one."""

    provisioning_s: float = Field(default=1.5, ge=0, le=3600)
    deleting_s: float = Field(default=0.5, ge=0, le=3600)


class Scenario(Value):
    """A lab's world: its nodes and its weather. `seed` makes chance repeat."""

    name: str
    description: str = ""
    seed: int = 0
    nodes: NodeShape = NodeShape()
    weather: tuple[SpellRule, ...] = ()
    azure: AzurePace = AzurePace()
    stages: tuple[str, ...] = ()
    """Files with more stages, beside the scenario's file; they come before the shipped ones."""


class Spell(Value):
    """A fault at one site, between two moments of lab time (`until_s` None: until it is lifted)."""

    fault: Fault
    from_s: float = 0.0
    until_s: float | None = None

    def covers(self, lab_s: float) -> bool:
        """Whether the fault is felt at this moment."""
        return self.from_s <= lab_s and (self.until_s is None or lab_s < self.until_s)


def spells_of(scenario: Scenario, site: str, region: str) -> tuple[Spell, ...]:
    """The spells the scenario holds for one site."""
    return tuple(
        Spell(
            fault=rule.fault,
            from_s=rule.start_s,
            until_s=None if rule.for_s is None else rule.start_s + rule.for_s,
        )
        for number, rule in enumerate(scenario.weather)
        if _selected(rule.sites, site, region, f"{scenario.seed}/{number}")
    )


def active(spells: Iterable[Spell], lab_s: float) -> tuple[Fault, ...]:
    """The faults felt now: the latest spell of each kind."""
    felt: dict[FaultKind, Fault] = {}
    for spell in spells:
        if spell.covers(lab_s):
            felt[spell.fault.kind] = spell.fault
    return tuple(felt.values())


def way_out(faults: Iterable[Fault], host: str) -> FaultKind | None:
    """What keeps pods from a host outside, DNS first; None: they reach it."""
    shut = [one.kind for one in faults if isinstance(one, NoDns | EgressBlocked) and fnmatchcase(host, one.host)]
    return min(shut, key=[FaultKind.NO_DNS, FaultKind.EGRESS_BLOCKED].index, default=None)


class ServerTroubles:
    """What the faults of a site do inside its API server; see `edge.lab.kube.call.Troubles`."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.disk_full = any(isinstance(fault, FullDisk) for fault in faults)
        self._webhooks = tuple(fault for fault in faults if isinstance(fault, FailingWebhook))

    def webhook(self, service: str) -> WebhookAnswer | None:
        """What webhooks of this Service answer; None: what they would."""
        return next((one for one in self._webhooks if fnmatchcase(service, one.service)), None)


def next_change(spells: Iterable[Spell], lab_s: float) -> float | None:
    """When the weather next changes by itself, in lab seconds since the start; None: never."""
    moments = [moment for spell in spells for moment in (spell.from_s, spell.until_s) if moment is not None]
    return min((moment for moment in moments if moment > lab_s), default=None)


def with_spell(spells: Sequence[Spell], spell: Spell) -> tuple[Spell, ...]:
    """The spells after one more was set: it takes the place of those of its kind."""
    return (*without_kind(spells, spell.fault.kind), spell)


def without_kind(spells: Sequence[Spell], kind: FaultKind | None) -> tuple[Spell, ...]:
    """The spells after those of a kind (None: all) were lifted."""
    return tuple(one for one in spells if kind is not None and one.fault.kind is not kind)


def away_at_start(spells: Iterable[Spell]) -> bool:
    """Whether the site begins its life refused, so that its address can be one where nobody listens."""
    felt = active(spells, 0.0)
    return any(isinstance(fault, Offline) and fault.mode is OfflineMode.REFUSED for fault in felt)


def _selected(selector: SiteSelector, site: str, region: str, salt: str) -> bool:
    if selector.names and not any(fnmatchcase(site, glob) for glob in selector.names):
        return False
    if selector.regions and region not in selector.regions:
        return False
    return _percentile(f"{salt}/{site}") < selector.percent


def _percentile(text: str) -> float:
    """A number in [0, 100) that depends on the text alone."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * 100
