"""Delivering a stamp by GitOps: publish an immutable revision, have the site pull it, and judge by what it reports.

Errors mean what they mean for a direct delivery: SiteUnreachable and SiteSilent say that the site is away, NotYet that
it did not get there within its time, OperationFailed that it says the revision does not work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic, sleep
from typing import Protocol

from blocks.gitops import GitopsSource
from edge.clients.flux_source import RevisionStore
from edge.errors import EdgeError, NotYet, OperationFailed, Transient
from edge.model.gitops import Compliance, FluxWish, Verdict
from edge.model.kube import KubeObject
from edge.model.site import Site
from edge.model.stamp import Stamp
from edge.model.step import Detail
from edge.policy.gitops import bundle, check_without_secrets, own_values
from edge.policy.gitops_report import judge
from tasks.gitops_ways import Way

_EVERY_S = 1.0
_LONGEST = 10


class Rendering(Protocol):
    """What makes a site's objects, such as `tasks.rendering.Renderer`."""

    def shown(self, site: Site, given: Mapping[str, str]) -> Sequence[KubeObject]:
        """With a marker for each secret."""
        ...

    def stages(self, site: Site, given: Mapping[str, str]) -> Sequence[Sequence[KubeObject]]:
        """In the groups in which they are applied, with the secrets in them."""
        ...


class Publisher:
    """Publishes one stamp's revisions. Safe to share between threads; a revision is sent once, whoever needs it."""

    def __init__(self, source: GitopsSource, store: RevisionStore, stamp: Stamp, renderer: Rendering) -> None:
        self._source, self._store, self._stamp, self._renderer = source, store, stamp, renderer
        self._ca = source.ca

    def wish(self, site: Site, given: Mapping[str, str], *, within_s: float, prune: bool = True) -> FluxWish:
        """What the site is to be asked for; its revision is there when this returns.

        `given` are the rollout's parameters, `within_s` how long a stage may take until it is healthy. Raises
        InvalidInput when an object holds a secret, and what publishing raises.
        """
        stages = self._renderer.stages(site, given)
        objects = [obj for stage in stages for obj in stage]
        secret = any(parameter.secret for parameter in self._stamp.parameters.values())
        check_without_secrets(objects, self._renderer.shown(site, given) if secret else objects)
        made = bundle(stages, own_values(site, self._stamp))
        notes = {
            "org.opencontainers.image.title": self._stamp.name,
            "org.opencontainers.image.version": self._stamp.version,
            "org.opencontainers.image.revision": self._stamp.digest,
        }
        return FluxWish(
            name=self._stamp.name,
            revision=self._store.publish(self._stamp.name, made.files, notes),
            stages=made.stages,
            variables=made.variables,
            interval_s=self._source.interval_s,
            timeout_s=max(1.0, within_s),
            prune=prune,
            ca=self._ca,
            pull_secret=self._source.pull_secret,
        )


def deliver(way: Way, wish: FluxWish, within_s: float, *, every_s: float = _EVERY_S) -> Detail:
    """Have the site pull the revision, and wait until it reports it applied and healthy."""
    known, told = remember(way, wish), point(way, wish)
    return {**known, **told, **await_revision(way, wish, told, within_s, every_s=every_s)}


def remember(way: Way, wish: FluxWish) -> Detail:
    """What the site is asked for until now under the wish's name, for `take_back`: `before`, "" when nothing.

    A step of its own, before `point`: once that has begun nobody can ask any more.
    """
    before = way.current(wish)
    return {"before": before.model_dump_json(exclude={"ca"}) if before else ""}


def point(way: Way, wish: FluxWish) -> Detail:
    """Tell the site what to pull. Doing it again changes nothing."""
    way.set(wish)
    moment = way.clock()
    return {"revision": str(wish.revision), "told_at": moment.isoformat() if moment else ""}


def await_revision(way: Way, wish: FluxWish, told: Detail, within_s: float, *, every_s: float = _EVERY_S) -> Detail:
    """Wait until the site reports the revision applied and healthy. `told` is what `point` said.

    The first looks are `every_s` seconds apart, later ones up to ten times that. Raises OperationFailed when the site
    reports that the revision does not work, SiteUnreachable or SiteSilent when it is away, and NotYet after `within_s`
    seconds with what it said last.
    """
    since = datetime.fromisoformat(str(told["told_at"])) if told.get("told_at") else None
    until, pause = monotonic() + within_s, every_s
    while True:
        verdict, trouble = _look(way, wish)
        if verdict.compliance is Compliance.COMPLIANT:
            way.tidy(wish)
            return {"revision": str(wish.revision), "stages": len(wish.stages)}
        if verdict.compliance is Compliance.FAILED:
            raise OperationFailed(
                f"The site says of the revision: {verdict.message.rstrip('.')}",
                reason=verdict.reason,
                revision=wish.revision,
            )
        left_s = until - monotonic()
        way.check_near(since, at_end=left_s <= 0)
        if left_s <= 0:
            raise trouble or _not_yet(wish, verdict, within_s)
        sleep(min(pause, left_s))
        pause = min(pause * 1.5, every_s * _LONGEST)


def take_back(way: Way, wish: FluxWish, known: Detail, within_s: float, *, every_s: float = _EVERY_S) -> Detail:
    """Undo a delivery: the revision of before, or nothing when there was none. `known` is what `remember` said.

    Raises as `await_revision` does; NotYet too when what was brought is not gone within the time.
    """
    if known.get("before"):
        kept = FluxWish.model_validate_json(str(known["before"]))
        before = kept.model_copy(update={"ca": wish.ca, "timeout_s": wish.timeout_s, "interval_s": wish.interval_s})
        return deliver(way, before, within_s, every_s=every_s)
    until = monotonic() + within_s
    while not way.remove(wish):
        if monotonic() + every_s > until:
            raise NotYet(f"After {within_s:g} s not all that the revision brought is gone", revision=wish.revision)
        sleep(every_s)
    return {"revision": "", "before": str(wish.revision)}


def _look(way: Way, wish: FluxWish) -> tuple[Verdict, EdgeError | None]:
    """What the report means now. That it could not be had just now is no verdict, only the reason when time is up."""
    try:
        return judge(wish, way.report(wish)), None
    except Transient as trouble:
        return Verdict(compliance=Compliance.PENDING, message=str(trouble)), trouble


def _not_yet(wish: FluxWish, verdict: Verdict, within_s: float) -> NotYet:
    return NotYet(
        f"After {within_s:.0f} s the site does not report the revision applied and healthy: {verdict.message}".rstrip(
            "."
        ),
        reason=verdict.reason or None,
        revision=wish.revision,
    )
