"""What Flux at a site is asked for already, and what its report means for the revision that it should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge.model.gitops import Compliance, FluxReport, FluxWish, PartReport, Revision, Verdict
from edge.model.kube import KubeObject

FINAL_REASONS = frozenset({"BuildFailed", "HealthCheckFailed", "ReconciliationFailed"})
"""Reasons of a Kustomization that are about the revision; the others are about the way to it."""


def wish_in_objects(objects: Sequence[KubeObject]) -> FluxWish | None:
    """What the Flux objects of a stamp ask for now; None when they are not there or were not made by the platform."""
    source = next((obj for obj in objects if obj["kind"] == "OCIRepository"), None)
    parts = [obj for obj in objects if obj["kind"] == "Kustomization"]
    digest = ((source or {}).get("spec", {}).get("ref") or {}).get("digest")
    if source is None or not digest or not parts:
        return None
    name, first = source["metadata"]["name"], parts[0]["spec"]
    stages = sorted((obj["spec"]["path"].removeprefix("./") for obj in parts), key=_natural)
    return FluxWish(
        name=name,
        revision=Revision(url=source["spec"]["url"], digest=digest),
        stages=tuple(stages),
        variables=(first.get("postBuild") or {}).get("substitute") or {},
        namespace=source["metadata"]["namespace"],
        prune=first["prune"],
        pull_secret=(source["spec"].get("secretRef") or {}).get("name", ""),
    )


def wish_in_arc(name: str, properties: Mapping[str, Any]) -> FluxWish | None:
    """What a fluxConfiguration asks for now; None when it asks for something that the platform did not."""
    source, parts = properties.get("ociRepository") or {}, properties.get("kustomizations") or {}
    digest = (source.get("repositoryRef") or {}).get("digest")
    if not digest or not parts:
        return None
    stages = sorted(parts, key=_natural)
    first = parts[stages[0]] or {}
    return FluxWish(
        name=name,
        revision=Revision(url=source["url"], digest=digest),
        stages=tuple(stages),
        variables=(first.get("postBuild") or {}).get("substitute") or {},
        namespace=properties.get("namespace") or "default",
        prune=bool(first.get("prune")),
        pull_secret=source.get("localAuthRef") or "",
    )


def _natural(stage: str) -> tuple[int, str]:
    return (len(stage), stage)


def arc_report(properties: Mapping[str, Any]) -> FluxReport:
    """The report of a site as a fluxConfiguration shows it."""
    statuses = properties.get("statuses") or []
    sources = [_arc_part(one) for one in statuses if one.get("kind") == "OCIRepository"]
    return FluxReport(
        source=sources[0] if sources else None,
        synced=properties.get("sourceSyncedCommitId") or "",
        synced_at=properties.get("sourceUpdatedAt"),
        parts=tuple(_arc_part(one) for one in statuses if one.get("kind") == "Kustomization"),
        trouble=properties.get("errorMessage") or "",
    )


def _arc_part(status: Mapping[str, Any]) -> PartReport:
    """Azure passes conditions on without the generation they are about; its own word for the state has it in it."""
    conditions = status.get("statusConditions") or ()
    ready: Mapping[str, Any] = next((one for one in conditions if one.get("type") == "Ready"), {})
    message = ready.get("message") or ""
    return PartReport(
        name=status.get("name") or "",
        ready=ready.get("status") or "Unknown",
        reason=ready.get("reason") or "",
        message=message,
        current=status.get("complianceState") not in {None, "Pending", "Unknown"},
        applied=message.removeprefix("Applied revision: ") if ready.get("status") == "True" else "",
        since=ready.get("lastTransitionTime"),
    )


def report_of(objects: Sequence[KubeObject]) -> FluxReport:
    """The report of a site's own Flux objects, as they are there."""
    parts = [_part(obj) for obj in objects if obj["kind"] == "Kustomization"]
    source = next((obj for obj in objects if obj["kind"] == "OCIRepository"), None)
    artifact = ((source or {}).get("status") or {}).get("artifact") or {}
    return FluxReport(
        source=_part(source) if source is not None else None,
        synced=artifact.get("revision", ""),
        synced_at=artifact.get("lastUpdateTime"),
        parts=tuple(parts),
    )


def _part(obj: KubeObject) -> PartReport:
    meta, status = obj["metadata"], obj.get("status") or {}
    ready: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), {})
    return PartReport(
        name=meta["name"],
        ready=ready.get("status", "Unknown"),
        reason=ready.get("reason", ""),
        message=ready.get("message", ""),
        current=ready.get("observedGeneration") == meta.get("generation"),
        applied=status.get("lastAppliedRevision", ""),
        since=ready.get("lastTransitionTime"),
    )


def judge(wish: FluxWish, report: FluxReport) -> Verdict:
    """What a report means for the revision that the site was asked for."""
    digest = wish.revision.digest
    if report.trouble:
        return Verdict(compliance=Compliance.FAILED, message=report.trouble, reason="ConfigurationFailed")
    if not report.synced.endswith(digest):
        said = report.source.message if report.source and report.source.ready == "False" else ""
        return Verdict(compliance=Compliance.PENDING, message=said or "The site has not fetched the revision yet")
    known = {part.name: part for part in report.parts}
    parts = [known.get(name) or PartReport(name=name) for name in wish.parts]
    failed = next((part for part in parts if _is_final(part, report)), None)
    if failed is not None:
        return Verdict(compliance=Compliance.FAILED, message=f"{failed.name}: {failed.message}", reason=failed.reason)
    waiting = next((part for part in parts if not _is_done(part, digest)), None)
    if waiting is not None:
        said = f"{waiting.name}: {waiting.message or 'not reported yet'}"
        return Verdict(compliance=Compliance.PENDING, message=said, reason=waiting.reason)
    return Verdict(compliance=Compliance.COMPLIANT)


def _is_done(part: PartReport, digest: str) -> bool:
    return part.current and part.ready == "True" and part.applied.endswith(digest)


def _is_final(part: PartReport, report: FluxReport) -> bool:
    """A failure is about this revision when it came after the revision did; both times are the site's."""
    if not part.current or part.ready != "False" or part.reason not in FINAL_REASONS:
        return False
    return report.synced_at is None or part.since is None or part.since >= report.synced_at
