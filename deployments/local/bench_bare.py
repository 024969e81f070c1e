"""The yardstick: the official client, nothing else, with the same threads, on the same sites.

`python -m deployments.local.bench_bare KUBECONFIGS OBJECTS.json THREADS applies|requests` prints what it used as JSON.
`applies`: the objects' applies and nothing more. `requests`: also what a rollout asks a site so that nothing is changed
unchecked, unkept, or by two runs at once: a lease with its guard, a look, dry runs, a snapshot.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import yaml
from kubernetes import client
from kubernetes.config.kube_config import KubeConfigLoader

TIMEOUT_S = 60
OURS = "bare-client"
PLAIN: dict[str, Any] = {"field_manager": OURS, "_request_timeout": TIMEOUT_S}
APPLY: dict[str, Any] = {**PLAIN, "_content_type": "application/apply-patch+yaml", "force": True}


class Site:
    """One site, over one connection; `requests` counts."""

    def __init__(self, api: client.ApiClient) -> None:
        self.requests = 0
        self._core = client.CoreV1Api(api)
        self._leases = client.CoordinationV1Api(api)
        self._policies = client.AdmissionregistrationV1Api(api)
        self._who = client.AuthenticationV1Api(api)

    def apply(self, obj: dict[str, Any], **more: Any) -> None:
        """Server-side apply of a namespace or a ConfigMap."""
        self._count()
        meta = obj["metadata"]
        if obj["kind"] == "Namespace":
            self._core.patch_namespace(meta["name"], obj, **APPLY, **more)
        else:
            self._core.patch_namespaced_config_map(meta["name"], meta["namespace"], obj, **APPLY, **more)

    def take(self) -> None:
        """A namespace, a lease, and a policy that guards it, all of the bare client's own; who we are is asked."""
        self._count(7)
        self._absent(self._leases.read_namespaced_lease, OURS, OURS)
        self._core.patch_namespace(OURS, _named("v1", "Namespace"), **APPLY)
        self._leases.patch_namespaced_lease(OURS, OURS, _lease(), **APPLY)
        self._who.create_self_subject_review({"kind": "SelfSubjectReview"}, _request_timeout=TIMEOUT_S)
        policy, binding = _guard()
        self._policies.patch_validating_admission_policy(OURS, policy, **APPLY)
        self._policies.patch_validating_admission_policy_binding(OURS, binding, **APPLY)
        self._leases.patch_namespaced_lease(OURS, OURS, _lease(), dry_run="All", **APPLY)

    def look(self, objects: list[dict[str, Any]]) -> None:
        """What is there of the objects: a namespace and a list."""
        self._count(2)
        space = objects[0]["metadata"]["name"]
        self._absent(self._core.read_namespace, space)
        self._core.list_namespaced_config_map(space, _request_timeout=TIMEOUT_S)

    def try_out(self, objects: list[dict[str, Any]]) -> None:
        """A dry run of each; those whose namespace is not there yet are tried in another one."""
        space, *rest = objects
        self.apply(space, dry_run="All")
        for obj in rest:
            self._count()
            copy = {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}
            self._core.create_namespaced_config_map("default", copy, dry_run="All", **PLAIN)

    def keep(self) -> None:
        """A snapshot's Secret, and before it the look whether there is one."""
        self._count(2)
        self._absent(self._core.read_namespaced_secret, OURS, OURS)
        secret = {**_named("v1", "Secret", OURS), "type": "bare/snapshot", "data": {"objects": "e30="}}
        self._core.patch_namespaced_secret(OURS, OURS, secret, **APPLY)

    def release(self) -> None:
        """The lease is free again."""
        self._count()
        self._leases.patch_namespaced_lease(OURS, OURS, _lease(""), **APPLY)

    def _count(self, number: int = 1) -> None:
        self.requests += number

    @staticmethod
    def _absent(read: Callable[..., Any], *names: str) -> None:
        try:
            read(*names, _request_timeout=TIMEOUT_S)
        except client.ApiException as error:
            if error.status != 404:
                raise


def _named(api_version: str, kind: str, namespace: str = "") -> dict[str, Any]:
    meta = {"name": OURS, "namespace": namespace} if namespace else {"name": OURS}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


def _lease(holder: str = OURS) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseTransitions": 1, "leaseDurationSeconds": 120}
    return {**_named("coordination.k8s.io/v1", "Lease", OURS), "spec": spec}


def _guard() -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy that judges nothing, so that what is measured is the requests."""
    rule = {"apiGroups": ["example.com"], "apiVersions": ["*"], "resources": ["none"], "operations": ["CREATE"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}
    api_version = "admissionregistration.k8s.io/v1"
    policy = {**_named(api_version, "ValidatingAdmissionPolicy"), "spec": spec}
    bound = {"policyName": OURS, "validationActions": ["Deny"]}
    return policy, {**_named(api_version, "ValidatingAdmissionPolicyBinding"), "spec": bound}


def work_on(kubeconfig: Path, objects: list[dict[str, Any]], *, all_requests: bool) -> int:
    """Bring the objects to one site; how many requests that took."""
    settings = client.Configuration()
    KubeConfigLoader(yaml.load(kubeconfig.read_text(), yaml.CSafeLoader)).load_and_set(settings)
    settings.retries = False
    with client.ApiClient(settings) as api:
        site = Site(api)
        if all_requests:
            site.take()
            site.look(objects)
            site.try_out(objects)
            site.keep()
        for obj in objects:
            site.apply(obj)
        if all_requests:
            site.release()
    return site.requests


def main() -> None:
    """Work on every site in the folder, and print seconds, CPU seconds, peak MiB and the number of requests."""
    folder, objects, threads = Path(sys.argv[1]), orjson.loads(Path(sys.argv[2]).read_bytes()), int(sys.argv[3])
    files = sorted(folder.glob("*.kubeconfig"))
    started = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        counts = pool.map(lambda file: work_on(file, objects, all_requests=sys.argv[4] == "requests"), files)
        requests = sum(counts)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    said = {
        "wall_s": time.monotonic() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "requests": requests,
    }
    sys.stdout.write(orjson.dumps(said).decode() + "\n")


if __name__ == "__main__":
    main()
