"""The kustomize-controller of a site: build, apply, prune, wait for health, and say how it went, again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from edge.lab.controllers.home import Home
from edge.lab.flux.applying import ApplyFailed, Entry, apply_all, entries, find, named_entry, prune
from edge.lab.flux.building import BuildFailed, build
from edge.lab.flux.conditions import Condition, condition, progressing, retrying, write
from edge.lab.flux.durations import seconds
from edge.lab.flux.runtime import ASLEEP_S, FluxHost, Progress, requested, runs
from edge.lab.kube.resources import ResourceType
from edge.lab.kube.store import Obj
from edge.model.kube import Health
from edge.policy.health import health_of

FINALIZER = "finalizers.fluxcd.io"
WAIT_S = 5.0
"""How soon a source or a dependency that is not ready is looked at again, in lab seconds."""
POLL_S = 1.0
_SOURCES = "source.toolkit.fluxcd.io/v1"


class Work(NamedTuple):
    """A Kustomization as it was looked at, and what the work on it takes."""

    home: Home
    flux: FluxHost
    resource: ResourceType
    obj: Obj

    @property
    def spec(self) -> dict[str, Any]:
        """What is asked for."""
        spec: dict[str, Any] = self.obj["spec"]
        return spec

    @property
    def progress(self) -> Progress:
        """Where the work is."""
        return self.flux.progress(self.obj)

    @property
    def inventory(self) -> list[Entry]:
        """What was applied last."""
        found: list[Entry] = ((self.obj.get("status") or {}).get("inventory") or {}).get("entries") or []
        return found

    def write(self, changed: Mapping[str, Any]) -> Work:
        """The work after its status was changed."""
        return self._replace(obj=write(self.home, self.resource, self.obj, changed))


class NotReady(Exception):
    """The work cannot begin; `reason` is Flux's word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def kustomization(home: Home, obj: Obj) -> float | None:
    """Move a Kustomization on. Returns in how many lab seconds to look again."""
    flux, resource = home.flux, home.store.types.of_kind(obj["apiVersion"], obj["kind"])
    if flux is None or resource is None:
        return None
    if not runs(home, "kustomize-controller"):
        return ASLEEP_S
    work = Work(home, flux, resource, obj)
    if obj["metadata"].get("deletionTimestamp"):
        _leave(work)
        return None
    if FINALIZER not in (obj["metadata"].get("finalizers") or ()):
        finalizers = [*(obj["metadata"].get("finalizers") or ()), FINALIZER]
        fresh = home.store.replace(resource, {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}})
        work = work._replace(obj=fresh)
    return None if obj["spec"].get("suspend") else _reconcile(work)


def _leave(work: Work) -> None:
    meta = work.obj["metadata"]
    if work.spec.get("prune") and not work.spec.get("suspend"):
        prune(work.home, work.inventory, (meta["namespace"], meta["name"]))
    work.flux.forget(work.obj)
    fresh = work.home.current(work.resource, work.obj)
    if fresh is not None and FINALIZER in (fresh["metadata"].get("finalizers") or ()):
        left = [one for one in fresh["metadata"]["finalizers"] if one != FINALIZER]
        work.home.store.replace(work.resource, {**fresh, "metadata": {**fresh["metadata"], "finalizers": left}})


def _reconcile(work: Work) -> float:
    progress, now = work.progress, work.flux.now()
    try:
        artifact = _artifact(work.home, work.obj)
        _check_dependencies(work, artifact["revision"])
    except NotReady as wait:
        progress.wish = ()
        work.write({"conditions": retrying(work.obj, wait.reason, str(wait))})
        return WAIT_S
    wish = (work.obj["metadata"].get("generation"), artifact["revision"], requested(work.obj))
    if progress.wish == wish and progress.checking:
        return _check_health(work)
    if progress.wish == wish and now < progress.due:
        return progress.due - now
    progress.wish, progress.checking, progress.began = wish, False, now
    return _run(work, artifact)


def _artifact(home: Home, obj: Obj) -> dict[str, Any]:
    ref = obj["spec"]["sourceRef"]
    source = _source(home, obj)[1]
    if source is None:
        place = f"{ref['kind']}/{ref.get('namespace') or obj['metadata']['namespace']}/{ref['name']}"
        raise NotReady("ArtifactFailed", f"Source '{place}' not found")
    artifact: dict[str, Any] | None = (source.get("status") or {}).get("artifact")
    if artifact is None:
        raise NotReady("ArtifactFailed", f"Source artifact not found, retrying in {WAIT_S:g}s")
    return artifact


def _source(home: Home, obj: Obj) -> tuple[ResourceType | None, Obj | None]:
    ref = obj["spec"]["sourceRef"]
    namespace = ref.get("namespace") or obj["metadata"]["namespace"]
    kind = home.store.types.of_kind(ref.get("apiVersion") or _SOURCES, ref["kind"])
    return kind, home.store.get(kind, namespace, ref["name"]) if kind else None


def _check_dependencies(work: Work, revision: str) -> None:
    for ref in work.spec.get("dependsOn") or ():
        namespace = ref.get("namespace") or work.obj["metadata"]["namespace"]
        words = f"dependency '{namespace}/{ref['name']}'"
        other = work.home.store.get(work.resource, namespace, ref["name"])
        if other is None:
            raise NotReady("DependencyNotReady", f"{words} not found")
        status: dict[str, Any] = other.get("status") or {}
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
        if not ready or status.get("observedGeneration") != other["metadata"].get("generation"):
            raise NotReady("DependencyNotReady", f"{words} is not ready")
        if other["spec"]["sourceRef"] == work.spec["sourceRef"] and status.get("lastAppliedRevision") != revision:
            raise NotReady("DependencyNotReady", f"{words} revision is not up to date")


def _run(work: Work, artifact: Mapping[str, Any]) -> float:
    meta, revision = work.obj["metadata"], artifact["revision"]
    work = work.write({"lastAttemptedRevision": revision})
    files = work.flux.puller.files(artifact["digest"])
    if files is None:
        return _fetch_again(work)
    try:
        objects = apply_all(work.home, build(files, work.spec, meta["name"], meta["namespace"]))
    except BuildFailed as failed:
        return _fail(work, "BuildFailed", str(failed))
    except ApplyFailed as failed:
        return _fail(work, "ReconciliationFailed", str(failed))
    now = entries(objects)
    if work.spec.get("prune"):
        kept = {entry["id"] for entry in now}
        gone = [entry for entry in work.inventory if entry["id"] not in kept]
        prune(work.home, gone, (meta["namespace"], meta["name"]))
    work = work.write({"inventory": {"entries": now}})
    if not work.spec.get("wait") and not work.spec.get("healthChecks"):
        return _succeed(work)
    work.progress.checking = True
    said = f"Running health checks for revision {revision} with a timeout of {_timeout(work.spec):g}s"
    return _check_health(work.write({"conditions": progressing(work.obj, said)}))


def _fetch_again(work: Work) -> float:
    """The controllers were started anew and their storage is empty: the source is fetched once more."""
    kind, source = _source(work.home, work.obj)
    work.flux.forget(work.obj)
    if kind is not None and source is not None and not work.flux.progress(source).busy:
        work.flux.forget(source)
        work.flux.look(work.home, kind, source)
    return POLL_S


def _check_health(work: Work) -> float:
    waited = work.flux.now() - work.progress.began
    states = {_words(entry): _health(work.home, entry) for entry in _checked(work)}
    unwell = {words: health for words, health in states.items() if health is not Health.CURRENT}
    if not unwell:
        said = f"Health check passed in {waited * 1000:.0f}ms"
        return _succeed(work, condition(work.obj, "Healthy", "True", "Succeeded", said))
    failed = Health.FAILED in unwell.values()
    if not failed and waited < _timeout(work.spec):
        return POLL_S
    listed = ", ".join(f"{words} status: '{health}'" for words, health in unwell.items())
    why = f"failed early due to stalled resources: [{listed}]" if failed else f"timeout waiting for: [{listed}]"
    said = f"health check failed after {waited:.1f}s: {why}"
    return _fail(work, "HealthCheckFailed", said, condition(work.obj, "Healthy", "False", "HealthCheckFailed", said))


def _checked(work: Work) -> list[Entry]:
    return work.inventory if work.spec.get("wait") else [named_entry(one) for one in work.spec["healthChecks"]]


def _words(entry: Entry) -> str:
    namespace, name, _, kind = entry["id"].split("_")
    return "/".join(filter(None, (kind, namespace, name)))


def _health(home: Home, entry: Entry) -> Health:
    found = find(home, entry)
    return health_of(found[1]).health if found else Health.NOT_FOUND


def _succeed(work: Work, *health: Condition) -> float:
    progress, interval = work.progress, seconds(work.spec["interval"])
    progress.checking, progress.due = False, work.flux.now() + interval
    revision = progress.wish[1]
    ready = condition(work.obj, "Ready", "True", "ReconciliationSucceeded", f"Applied revision: {revision}")
    work.write(
        {
            "observedGeneration": work.obj["metadata"].get("generation", 1),
            "lastAppliedRevision": revision,
            "lastHandledReconcileAt": requested(work.obj) or None,
            "conditions": [ready, *health],
        }
    )
    return interval


def _fail(work: Work, reason: str, message: str, *health: Condition) -> float:
    retry = seconds(work.spec.get("retryInterval") or work.spec["interval"])
    work.progress.checking, work.progress.due = False, work.flux.now() + retry
    conditions = [*retrying(work.obj, reason, message), *health]
    work.write({"conditions": conditions, "lastHandledReconcileAt": requested(work.obj) or None})
    return retry


def _timeout(spec: Mapping[str, Any]) -> float:
    return seconds(spec.get("timeout") or spec["interval"])
