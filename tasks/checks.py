"""The acts of checks: ask whether a site works, wait until it does, and see that it goes on working."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from edge.clients.kubernetes import SiteClient
from edge.clients.service_proxy import ServicePort, ask_service
from edge.errors import NotFound, NotYet, OperationFailed, Transient
from edge.model.check import CelCheck, Check, CheckResult, HttpCheck, PromqlCheck
from edge.model.kube import Health, KubeObject, ObjectRef
from edge.model.step import Detail
from edge.policy.checks import QUERY_PATH, compile_checks, failing, judge_cel, judge_http, judge_promql
from edge.policy.health import health_of
from edge.policy.restarts import Restarts, grown, pod_selector, restarts_of

LOOK_EVERY_S = 1.0


def run_checks(client: SiteClient, checks: Sequence[Check]) -> tuple[CheckResult, ...]:
    """How each check goes now, in the order given. A Service that does not answer, or an object that is not there, is a
    result. Raises Transient when the site itself cannot be asked, CredentialRejected when it may not.
    """
    compile_checks(checks)
    return tuple(_run(client, check) for check in checks)


def await_checks(
    client: SiteClient, checks: Sequence[Check], within_s: float, *, every_s: float = LOOK_EVERY_S
) -> tuple[CheckResult, ...]:
    """As `run_checks`, once all hold. Those that held are asked again with the rest, so that all hold at one moment.

    Raises NotYet after `within_s` seconds, naming the checks that do not hold and why; a site that could not be asked
    at the end raises what kept it from it.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            results, trouble = run_checks(client, checks), None
        except Transient as error:
            results, trouble = (), error
        if trouble is None and all(one.good for one in results):
            return results
        left = deadline - time.monotonic()
        if left <= 0:
            raise trouble or NotYet(
                f"After {round(within_s, 1):g} s checks do not hold", site=client.site or None, checks=failing(results)
            )
        time.sleep(min(every_s, left))


def self_test(
    client: SiteClient,
    checks: Sequence[Check],
    refs: Sequence[ObjectRef],
    for_s: float,
    every_s: float = 2 * LOOK_EVERY_S,
) -> Detail:
    """Look for `for_s` seconds: checks hold, `refs` stay Current, and no container of theirs is started again.

    Raises OperationFailed as soon as one does not. A site that is away for a while has not failed, but it must answer
    at the end: then what kept it from that is raised. What went wrong meanwhile shows in the counts of restarts.
    """
    compile_checks(checks)
    before = restarts_of(_pods(client, client.look(refs).values()))
    deadline, looks = time.monotonic() + for_s, 0
    while True:
        last = time.monotonic() >= deadline
        try:
            _hold(client, checks, refs, before)
            looks += 1
        except Transient:
            if last:
                raise
        if last:
            return {"held_s": for_s, "looks": looks, "checks": [check.name for check in checks]}
        time.sleep(max(0.0, min(every_s, deadline - time.monotonic())))


def _hold(client: SiteClient, checks: Sequence[Check], refs: Sequence[ObjectRef], before: Restarts) -> None:
    """One look. Raises OperationFailed for the first thing that does not hold."""
    present = client.look(refs)
    for ref in refs:
        found = health_of(present[ref]) if ref in present else None
        if found is None or found.health is not Health.CURRENT:
            state, why = (found.health, found.message) if found else (Health.NOT_FOUND, "")
            said = f"{ref} is {state}" + (f" ({why})" if why else "")
            raise OperationFailed("The self-test failed", site=client.site or None, object=said)
    again = grown(before, _pods(client, present.values()))
    if again:
        raise OperationFailed("The self-test failed", site=client.site or None, restarts=again)
    broken = failing(run_checks(client, checks))
    if broken:
        raise OperationFailed("The self-test failed", site=client.site or None, checks=broken)


def _pods(client: SiteClient, objects: Iterable[KubeObject]) -> list[KubeObject]:
    """The pods of these workloads."""
    wanted = {(str(obj["metadata"].get("namespace") or ""), text) for obj in objects if (text := pod_selector(obj))}
    return [pod for place, text in sorted(wanted) for pod in client.list("v1", "Pod", namespace=place, labels=text)]


def _run(client: SiteClient, check: Check) -> CheckResult:
    match check:
        case HttpCheck():
            at = ServicePort(check.namespace, check.service, check.port, check.scheme)
            return judge_http(check, *ask_service(client, at, check.path))
        case PromqlCheck():
            at = ServicePort(check.namespace, check.service, check.port)
            return judge_promql(check, *ask_service(client, at, QUERY_PATH, query={"query": check.query}))
        case CelCheck():
            return judge_cel(check, _object(client, check.ref))


def _object(client: SiteClient, ref: ObjectRef) -> KubeObject | None:
    try:
        return client.get(ref)
    except NotFound:
        return None
