"""A rollout's try at one site that pulls: publish, tell the site which revision, and judge by what it reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from edge.clients.kubernetes import SiteClient, ref_of
from edge.errors import NotFound, OperationFailed
from edge.model.gitops import FluxWish
from edge.model.kube import ObjectRef
from edge.model.rollout import Preflight
from edge.model.step import Detail
from tasks.fencing import fenced
from tasks.gitops import await_revision, point, remember, take_back
from tasks.gitops_ways import SiteWay, Way
from tasks.preflight import check_rules
from tasks.site_visit import PREPARE, Visit, earlier_step

POINT, REPORTED = "point", "reported"


class PulledVisit(Visit):
    """The site pulls the objects."""

    def bring(self) -> bool:
        """The steps in their order. False: the site is locked."""
        with self._way() as (way, client):
            # Azure is told of a site that nobody can reach, so its own lock is asked only where the site is.
            if client is not None and self.site.arc_id is None and self.is_locked(client):
                return False
            checked = self._check_rules()
            wish = self._wish()
            had = self.before(self.had())
            known = {"had": had.model_dump_json() if had else "", **checked}
            self.once(PREPARE, lambda: {**known, **self._remember(way, wish)})
            told = self.once(POINT, partial(point, way, wish))
            self.is_begun = True
            self.once(REPORTED, partial(self._await, way, client, wish, told.detail))
        return True

    def take_back(self, known: Detail) -> Detail:
        """Have the site pull what it had before; `known` is what the first step put on record."""
        if known.get("had") and not known.get("before"):
            what = "The platform itself had applied the version before, which Flux cannot go back to"
            remedy = "Roll the version before out with `delivery: direct`, once Flux's objects for it are gone"
            raise OperationFailed(what, remedy=remedy, site=self.site.name)
        with self._way() as (way, _):
            return take_back(way, self._wish(), known, self.job.plan.strategy.site_deadline_s)

    def _check_rules(self) -> Detail:
        """The site applies by itself, so it cannot be asked beforehand; the rules hold all the same."""
        if self.job.plan.strategy.preflight is Preflight.NONE:
            return {}
        objects = self.job.renderer.shown(self.site, self.job.plan.parameters)
        return check_rules(self.job.stamp, objects, site=self.site.name, policies=self.job.policies)

    def _remember(self, way: Way, wish: FluxWish) -> Detail:
        """What the site was asked for before this rollout; an earlier try may have told it the new revision already."""
        known = remember(way, wish)
        earlier = earlier_step(self.job, self.site.name, PREPARE) if known["before"] else None
        if earlier is None or FluxWish.model_validate_json(str(known["before"])).revision != wish.revision:
            return known
        return {"before": earlier.detail.get("before", "")}

    def _wish(self) -> FluxWish:
        strategy = self.job.plan.strategy
        given = self.job.plan.parameters
        return self.job.pulling.publisher.wish(
            self.site, given, within_s=strategy.site_deadline_s, prune=strategy.prune
        )

    def _await(self, way: Way, client: SiteClient | None, wish: FluxWish, told: Detail) -> Detail:
        reported = await_revision(way, wish, told, max(self.left_s, 1.0))
        refs = self._refs()
        checked = self.check(client, refs) if client is not None else {}
        self.place(refs)
        return {**reported, **checked}

    def _refs(self) -> list[ObjectRef]:
        return [ref_of(obj) for obj in self.job.renderer.shown(self.site, self.job.plan.parameters)]

    @contextmanager
    def _way(self) -> Iterator[tuple[Way, SiteClient | None]]:
        """Through Azure where the site is connected, else by Flux's objects. The client is for the stamp's checks."""
        name = self.site.name
        if self.site.arc_id is None:
            work = self.job.plan.rollout_id
            with self.job.credentials.client(name) as opened, fenced(opened, name, work) as client:
                yield SiteWay(client), client
            return
        way = self.job.pulling.arc_way(self.site)
        try:
            opened = self.job.credentials.client(name)
        except NotFound:
            if self.job.stamp.checks:
                raise
            yield way, None
            return
        with opened:
            yield way, opened
