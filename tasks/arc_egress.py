"""A look at a cluster's way out to Azure: a Job that is started there, read, and taken away again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from edge.clients.kubernetes import SiteClient
from edge.errors import EdgeError, NotFound, NotYet
from edge.model.arc import EgressCheck, Endpoint
from edge.model.kube import ObjectRef
from edge.policy.arc_egress import (
    JOB,
    LONGEST_S,
    MANAGED_BY,
    NAMESPACE,
    Looked,
    diagnostics_objects,
    did_not_run,
    message_of,
    never_starts,
    read_looks,
)
from tasks.arc_progress import run_log

GONE_WITHIN_S = 60.0
LOOK_EVERY_S = 0.25
_PLACE = ObjectRef(api_version="v1", kind="Namespace", name=NAMESPACE)


def look_out(cluster: SiteClient, endpoints: Sequence[Endpoint], image: str, check: EgressCheck) -> Looked:
    """What pods on the cluster reach of `endpoints`.

    Leftovers of a look that was cut off are removed first. A Job that cannot be made, does not start or does not end
    is no finding about the way out, but `arc-diagnostics-did-not-run`.
    """
    if check == EgressCheck.OFF or not endpoints:
        return Looked()
    try:
        with _place(cluster):
            for obj in diagnostics_objects(endpoints, image):
                cluster.apply(obj)
            return read_looks(_message(cluster), endpoints, check)
    except EdgeError as error:
        return did_not_run(str(error), check)


@contextmanager
def _place(cluster: SiteClient) -> Iterator[None]:
    """A namespace of that name that is free before, and gone or going afterwards."""
    _make_room(cluster)
    try:
        yield
    finally:
        try:
            cluster.delete(_PLACE)
        except EdgeError as error:
            run_log().warning("The namespace %s is left for the next look to remove: %s", NAMESPACE, error)


def _make_room(cluster: SiteClient) -> None:
    until = monotonic() + GONE_WITHIN_S
    while (found := _find(cluster)) is not None:
        if not found["metadata"].get("deletionTimestamp"):
            if not MANAGED_BY.items() <= (found["metadata"].get("labels") or {}).items():
                raise NotYet("A namespace of this name is there that is not the platform's", namespace=NAMESPACE)
            cluster.delete(_PLACE)
        if monotonic() > until:
            raise NotYet(f"The namespace of an earlier look is not gone after {GONE_WITHIN_S:g} s", namespace=NAMESPACE)
        sleep(LOOK_EVERY_S)


def _find(cluster: SiteClient) -> dict[str, Any] | None:
    try:
        return cluster.get(_PLACE)
    except NotFound:
        return None


def _message(cluster: SiteClient) -> str:
    """The termination message of the Job's pod. Raises NotYet when it never starts or does not end."""
    until = monotonic() + LONGEST_S
    while True:
        pods = list(cluster.list("v1", "Pod", namespace=NAMESPACE, labels=f"job-name={JOB}"))
        message, stuck = message_of(pods), never_starts(pods)
        if message is not None:
            return message
        if stuck:
            raise NotYet(f"The pod does not start, {stuck}")
        if monotonic() > until:
            raise NotYet(f"The pod has not ended after {LONGEST_S} s")
        sleep(LOOK_EVERY_S)
