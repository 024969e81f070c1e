"""All that can be known of a site before anything is changed there.

Rules, fitness, and a dry run of every object by the site itself: its OpenAPI, its custom resource definitions, its
admission and its webhooks. Every problem is found, not only the first; nothing is stored at the site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from blocks.policies import PolicyRules
from edge.clients.kubernetes import SiteClient, ref_of
from edge.errors import (
    CredentialRejected,
    EdgeError,
    FencedOff,
    NotFound,
    OwnershipConflict,
    Permanent,
    PolicyViolated,
    Rejected,
    SiteUnfit,
    WriteConflict,
)
from edge.model.kube import KubeObject, ObjectRef
from edge.model.plan import Action, ObjectChange, SiteLook
from edge.model.rule import Violation
from edge.model.stamp import Stamp
from edge.model.step import Detail
from edge.policy.change import change_of, removed
from edge.policy.crd_schema import OwnKinds
from edge.policy.fitness import unfit, warnings
from edge.policy.ownership import check_stamps
from edge.policy.pruning import left_over, why_kept
from edge.policy.rules import unwaived
from edge.settings import Settings
from tasks.site_facts import Live, namespace_ref, read_facts

MOST_TOLD = 20
"""Problems that one error names; the rest are counted."""

_TOLD = ("managers", "fields", "other", "objects")
"""What of an error's whereabouts belongs to its sentence."""

_STAND_IN = "default"
"""A namespace that every site has, in which objects are tried whose own namespace comes with the stamp."""


def preflight(
    client: SiteClient,
    stamp: Stamp,
    objects: Sequence[KubeObject],
    *,
    live: Live | None = None,
    policies: PolicyRules | None = None,
) -> Detail:
    """What applying `objects` would do. `live`: each object as it is (None: absent), when somebody has read it.

    Raises PolicyViolated, SiteUnfit, or what the site says to a dry run (Rejected, OwnershipConflict,
    CredentialRejected); the error's `reason` has the codes, `problems` the sentences. `policies` None: as `EDGE_*`
    says.
    """
    seen = _Look(client, stamp, objects, live, policies)
    found = seen.run()
    fault = seen.fault()
    if fault is not None:
        raise fault
    return {
        "create": found.count(Action.CREATE),
        "change": found.count(Action.CHANGE),
        "same": found.count(Action.NONE),
        "untried": sorted(found.untried)[:MOST_TOLD],
        "warnings": list(found.warnings)[:MOST_TOLD],
        "waived": _waived(found.violations),
    }


def check_rules(
    stamp: Stamp, objects: Sequence[KubeObject], *, site: str = "", policies: PolicyRules | None = None
) -> Detail:
    """The rules alone, for a site that applies the objects itself. Raises PolicyViolated, as `preflight` does."""
    rules = policies or PolicyRules.from_settings(Settings())
    violations = rules.book().violations(objects, stamp.waivers, datetime.now(UTC))
    broken = unwaived(violations)
    if broken and rules.is_strict:
        raise _violated(broken, {"site": site, "problems": _listed([_sentence(one) for one in broken])})
    return {"warnings": [_sentence(one) for one in broken][:MOST_TOLD], "waived": _waived(violations)}


def look_ahead(
    client: SiteClient,
    stamp: Stamp,
    objects: Sequence[KubeObject],
    *,
    inventory: Sequence[ObjectRef] = (),
    policies: PolicyRules | None = None,
) -> SiteLook:
    """The same as a value, problems included, with what would be removed of `inventory`, the objects of the version
    before. Raises only what keeps the site from being looked at.
    """
    return _Look(client, stamp, objects, None, policies).run(inventory)


class _Look:
    """One look at one site."""

    def __init__(
        self,
        client: SiteClient,
        stamp: Stamp,
        objects: Sequence[KubeObject],
        live: Live | None,
        policies: PolicyRules | None,
    ) -> None:
        self._client, self._stamp, self._objects = client, stamp, objects
        self._refs = {ref_of(obj): obj for obj in objects}
        self._live = live
        self._policies = policies or PolicyRules.from_settings(Settings())
        self._own = OwnKinds(objects)
        self._taken: OwnershipConflict | None = None
        self._refused: dict[str, Permanent] = {}
        self._unfit: dict[str, str] = {}
        self._broken: tuple[Violation, ...] = ()
        self._untried: dict[str, str] = {}
        self._doubts: list[str] = []

    def run(self, inventory: Sequence[ObjectRef] = ()) -> SiteLook:
        """Look at everything."""
        live = self._client.look(list(self._refs)) if self._live is None else self._live
        self._check_owner(live)
        violations = self._policies.book().violations(self._objects, self._stamp.waivers, datetime.now(UTC))
        is_strict = self._policies.is_strict
        self._broken = unwaived(violations) if is_strict else ()
        told = [] if is_strict else [_sentence(one) for one in unwaived(violations)]
        facts = read_facts(self._client, self._stamp, self._objects, live)
        self._unfit = {f"{one.check} {one.message}": one.check for one in unfit(self._stamp, self._objects, facts)}
        missing = frozenset(self._stamp.namespaces) - frozenset(facts.owners)
        changes = [self._change(ref, obj, live.get(ref), missing) for ref, obj in self._refs.items()]
        return SiteLook(
            changes=(*(one for one in changes if one is not None), *self._removed(inventory)),
            untried=self._untried,
            problems=self._problems(),
            codes=self._codes(),
            warnings=(*warnings(facts), *told, *self._doubts),
            violations=violations,
            clock_off_s=facts.clock_off_s,
        )

    def _check_owner(self, live: Live) -> None:
        """Objects of another stamp: a dry run does not tell, since both stamps have one field manager."""
        try:
            check_stamps({ref: live.get(ref) for ref in self._refs}, self._stamp.name)
        except OwnershipConflict as error:
            self._taken = error

    def fault(self) -> EdgeError | None:
        """The error that stands for everything that was found; the gravest kind first."""
        problems = self._problems()
        if not problems:
            return None
        where = {"site": self._client.site, "problems": _listed(problems)}
        if self._taken is not None:
            more_said = {word: self._taken.where[word] for word in ("stamp", "other", "objects")}
            return OwnershipConflict(self._taken.what, remedy=self._taken.remedy, **more_said, **where)
        if self._broken:
            return _violated(self._broken, where)
        if self._unfit:
            checks = ", ".join(sorted(set(self._unfit.values())))
            return SiteUnfit("The site lacks what the stamp needs", reason=checks, **where)
        return self._refusal(where)

    def _refusal(self, where: Mapping[str, str]) -> EdgeError:
        first = next(iter(self._refused.values()))
        kind = type(first) if type(first) in (OwnershipConflict, CredentialRejected) else Rejected
        count = len(self._refused)
        what = "The site refuses an object" if count == 1 else f"The site refuses {count} objects"
        more = {word: first.where[word] for word in ("managers", "fields") if word in first.where}
        return kind(what, remedy=first.remedy, reason=first.code, **more, **where)

    def _problems(self) -> tuple[str, ...]:
        return (
            *((_told(self._taken),) if self._taken is not None else ()),
            *(_sentence(one) for one in self._broken),
            *(text.partition(" ")[2] for text in self._unfit),
            *(f"{ref}: {_told(error)}" for ref, error in self._refused.items()),
        )

    def _codes(self) -> tuple[str, ...]:
        found = [one.code for one in self._broken] + list(self._unfit.values())
        found += [self._taken.code] if self._taken is not None else []
        return tuple(sorted({*found, *(error.code for error in self._refused.values())}))

    def _change(
        self, ref: ObjectRef, obj: KubeObject, live: KubeObject | None, missing: frozenset[str]
    ) -> ObjectChange | None:
        """What would become of one object; None when the site refuses it."""
        try:
            return self._tried(ref, obj, live, missing)
        except FencedOff:
            raise
        except Permanent as error:
            self._refused[str(ref)] = error
        return None

    def _tried(
        self, ref: ObjectRef, obj: KubeObject, live: KubeObject | None, missing: frozenset[str]
    ) -> ObjectChange | None:
        brings_namespace = namespace_ref(ref.namespace) in self._refs
        if ref.namespace in missing and brings_namespace:
            return self._try_elsewhere(ref, obj)
        try:
            return change_of(live, self._client.apply(obj, dry_run=True))
        except NotFound:
            if self._own.define(ref.api_version, ref.kind):
                return self._try_by_schema(ref, obj)
            if brings_namespace:  # it was there a moment ago, and on its way out
                return self._try_elsewhere(ref, obj)
            raise

    def _try_elsewhere(self, ref: ObjectRef, obj: KubeObject) -> ObjectChange | None:
        """Its namespace comes with the stamp. Its form is tried in a namespace that is there.

        What admission says there (quota, webhooks, policies) is a warning, since it may be about that namespace.
        """
        self._untried[str(ref)] = f"Namespace {ref.namespace} comes with the stamp; only the form was checked"
        copy = {**obj, "metadata": {**obj["metadata"], "namespace": _STAND_IN}}
        try:
            self._client.try_create(copy)
        except Rejected as error:
            if not _is_admission(error):
                raise
            self._doubts.append(f"{ref}: in namespace {_STAND_IN} it would be refused: {error.what}")
        except NotFound:
            if self._own.define(ref.api_version, ref.kind):
                return self._try_by_schema(ref, obj)
            raise
        except (CredentialRejected, WriteConflict):
            pass
        return ObjectChange(ref=ref, action=Action.CREATE)

    def _try_by_schema(self, ref: ObjectRef, obj: KubeObject) -> ObjectChange | None:
        """Its kind comes with the stamp: the definition's own schema says whether the form is right."""
        self._untried[str(ref)] = f"{ref.kind} is defined by the stamp; only the schema was checked"
        faults = self._own.faults(obj)
        if faults:
            self._refused[str(ref)] = Rejected("; ".join(faults), object=ref)
            return None
        return ObjectChange(ref=ref, action=Action.CREATE)

    def _removed(self, inventory: Sequence[ObjectRef]) -> tuple[ObjectChange, ...]:
        old = left_over(inventory, list(self._refs))
        found = self._client.look(old) if old else {}
        return tuple(removed(ref) for ref in old if ref in found and not why_kept(found[ref], self._stamp.name))


def _is_admission(error: Rejected) -> bool:
    """Whether something refused that may judge each namespace in its own way, and not the schema."""
    return any(word in error.what for word in ("answered 403", "is forbidden", "denied the request"))


def _violated(broken: Sequence[Violation], where: Mapping[str, str]) -> PolicyViolated:
    codes = ", ".join(sorted({one.code for one in broken}))
    fixes = "; ".join(dict.fromkeys(one.fix for one in broken))
    return PolicyViolated("Objects break rules that nobody waived", remedy=fixes, reason=codes, **where)


def _waived(violations: Sequence[Violation]) -> list[str]:
    return [f"{one.code} on {one.ref} by {one.waived_by}" for one in violations if one.waived_by][:MOST_TOLD]


def _listed(problems: Sequence[str]) -> str:
    more = len(problems) - MOST_TOLD
    return "; ".join(problems[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _sentence(one: Violation) -> str:
    return f"{one.ref}: {one.message} ({one.code})"


def _told(error: EdgeError) -> str:
    words: dict[str, Any] = {word: error.where[word] for word in _TOLD if word in error.where}
    more = ", ".join(f"{word} {value}" for word, value in words.items())
    return f"{error.what} ({more})" if more else error.what
