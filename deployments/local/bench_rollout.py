"""Rollout budgets: time against the bare client, CPU per site, memory over the size of the fleet; kubectl beside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from deployments.local.bench_kubectl import AT_ONCE, kubectl_loop
from deployments.local.bench_processes import Figure, Used, cpu_seconds, run_measured
from deployments.local.demo import Say
from deployments.local.platform import Addresses, LocalPlatform
from edge.ledger import Ledger
from edge.model.rollout import Preflight
from edge.model.site import Site, SiteState

THREADS = 32
OBJECTS = 10
LOOPED = 100
"""Sites that the shell loop goes through; it would take minutes for a fleet."""
TIMES_BARE, CPU_MS, MEMORY_MIB = 1.5, 10.0, 400.0
FEWER, MORE = 0.1, 3
LINEAR_WITHIN = 1.3


def measure_rollouts(home: Path, sites: int, say: Say) -> list[Figure]:
    """A stamp of ten objects to `sites` sites, and for the memory's line to a tenth and to three times as many."""
    say(f"bare client and kubectl, {sites} sites")
    bare, same, loop = _bare(home / "bare", sites)
    say(f"rollouts to {sites}, a tenth and three times as many sites")
    flow = _flow(home / "flow", sites, Preflight.ALL)
    unchecked = _flow(home / "unchecked", sites, Preflight.NONE)
    small = _flow(home / "small", max(1, int(sites * FEWER)), Preflight.ALL)
    large = _flow(home / "large", sites * MORE, Preflight.ALL)
    cpu_ms = 1000 * (flow["cpu_s"] - same["cpu_s"]) / sites
    return [
        _time(sites, flow, same),
        _beside(sites, flow, bare, "the same, beside a bare client that applies and asks nothing else"),
        _beside(sites, unchecked, bare, "the same without the checks before the first change (preflight none)"),
        _loop(sites, flow, loop),
        Figure(
            what="CPU of the flow process per site, bare client excluded",
            budget=f"{CPU_MS:.0f} ms",
            measured=f"{cpu_ms:.1f} ms",
            beside=f"bare client {1000 * same['cpu_s'] / sites:.1f} ms, applies alone "
            f"{1000 * bare['cpu_s'] / sites:.1f} ms; "
            f"Prefect server {1000 * flow['server_s'] / sites:.1f} ms, lab {1000 * flow['lab_s'] / sites:.1f} ms",
            met=cpu_ms <= CPU_MS,
        ),
        _memory(sites, small, flow, large),
    ]


def _time(sites: int, flow: dict[str, Any], same: dict[str, Any]) -> Figure:
    """Like with like: the bare client sends what a rollout asks a site for its safety, dry runs and fence included."""
    ratio = flow["wall_s"] / same["wall_s"]
    return Figure(
        what=f"stamp of {OBJECTS} objects to {sites} sites, {THREADS} threads",
        budget=f"{TIMES_BARE} x bare client with the same requests",
        measured=f"{flow['wall_s']:.1f} s = {ratio:.2f} x",
        beside=f"bare client {same['wall_s']:.1f} s, {same['requests'] / sites:.0f} requests per site",
        met=ratio <= TIMES_BARE,
    )


def _beside(sites: int, flow: dict[str, Any], bare: dict[str, Any], what: str) -> Figure:
    return Figure(
        what=what,
        budget="",
        measured=f"{flow['wall_s']:.1f} s = {flow['wall_s'] / bare['wall_s']:.2f} x",
        beside=f"bare client {bare['wall_s']:.1f} s, {bare['requests'] / sites:.0f} requests per site",
    )


def _loop(sites: int, flow: dict[str, Any], loop: Used) -> Figure:
    some = min(LOOPED, sites)
    whole = loop.wall_s * sites / some
    scaled = f"{loop.wall_s:.1f} s for {some} sites" + (f", {whole:.0f} s scaled to {sites}" if some < sites else "")
    return Figure(
        what=f"kubectl apply --server-side in a shell loop, {AT_ONCE} at a time",
        budget="",
        measured=f"{whole:.0f} s = {whole / flow['wall_s']:.1f} x the rollout",
        beside=f"{scaled}; {1000 * loop.cpu_s / some:.0f} ms of CPU per site; no checks, no waves, no record",
    )


def _memory(sites: int, small: dict[str, Any], flow: dict[str, Any], large: dict[str, Any]) -> Figure:
    slope = (flow["peak_mib"] - small["peak_mib"]) / (sites * (1 - FEWER))
    expected = flow["peak_mib"] + slope * sites * (MORE - 1)
    linear = large["peak_mib"] <= LINEAR_WITHIN * expected
    return Figure(
        what=f"memory of the flow process, {sites} sites",
        budget=f"{MEMORY_MIB:.0f} MiB, linear",
        measured=f"{flow['peak_mib']:.0f} MiB",
        beside=f"{int(sites * FEWER)} sites {small['peak_mib']:.0f} MiB, "
        f"{sites * MORE} sites {large['peak_mib']:.0f} MiB",
        met=flow["peak_mib"] <= MEMORY_MIB and linear,
    )


def bench_objects(namespace: str = "bench") -> list[dict[str, Any]]:
    """A namespace and nine ConfigMaps: they work as soon as they are applied, so that applying is what is measured."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    maps = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"settings-{number}", "namespace": namespace},
            "data": {f"key-{key}": "value" * 4 for key in range(8)},
        }
        for number in range(OBJECTS - 1)
    ]
    return [space, *maps]


def write_stamp(folder: Path) -> Path:
    """The bench's objects as a stamp."""
    (folder / "manifests").mkdir(parents=True)
    spec = {
        "version": "1.0.0",
        "description": "Objects for measuring.",
        "namespaces": ["bench"],
        "components": [{"name": "all", "path": "manifests"}],
    }
    stamp = {"apiVersion": "edge-platform.io/v1", "kind": "Stamp", "metadata": {"name": "bench"}, "spec": spec}
    (folder / "stamp.yaml").write_bytes(orjson.dumps(stamp))
    for number, obj in enumerate(bench_objects()):
        (folder / "manifests" / f"{number}.yaml").write_bytes(orjson.dumps(obj))
    return folder


def _bare(home: Path, sites: int) -> tuple[dict[str, Any], dict[str, Any], Used]:
    """The bare client with the applies alone, then with all requests, then kubectl; each in a namespace of its own."""
    platform = LocalPlatform(home)
    try:
        addresses = platform.start(sites=sites, scenario=None)
        folder, found = addresses.lab["kubeconfigs"], []
        for mode in ("applies", "requests"):
            objects = home / f"{mode}.json"
            objects.write_bytes(orjson.dumps(bench_objects(f"bench-{mode}")))
            argv = ["-m", "deployments.local.bench_bare", str(folder), str(objects), str(THREADS), mode]
            found.append(_said(argv, {**os.environ}, home / "logs" / f"bench-{mode}.log"))
        loop = kubectl_loop(Path(str(folder)), bench_objects("bench-kubectl"), LOOPED, home)
        return found[0], found[1], loop
    finally:
        platform.stop()


def _flow(home: Path, sites: int, checks: Preflight) -> dict[str, Any]:
    platform = LocalPlatform(home)
    try:
        addresses = platform.start(sites=sites, scenario=None)
        _know_sites(addresses)
        server, lab = platform.pid("prefect-server"), int(addresses.lab["pid"])
        before = cpu_seconds(server), cpu_seconds(lab)
        argv = ["-m", "deployments.local.bench_flow", str(write_stamp(home / "bench")), str(THREADS), checks]
        said = _said(argv, {**os.environ, **addresses.environment}, home / "logs" / "bench-flow.log")
        return {**said, "server_s": cpu_seconds(server) - before[0], "lab_s": cpu_seconds(lab) - before[1]}
    finally:
        platform.stop()


def _know_sites(addresses: Addresses) -> None:
    with Ledger.open(addresses.ledger_url) as ledger:
        for site in addresses.lab["sites"]:
            ledger.sites.put(Site(name=site["name"], region=site["region"], state=SiteState.CONNECTED))


def _said(argv: list[str], env: dict[str, str], log: Path) -> dict[str, Any]:
    run_measured(argv, env, log)
    said: dict[str, Any] = orjson.loads(log.read_bytes().splitlines()[-1])
    return said
