"""Rollouts that several workers share, one of which dies: the fleet, the death, and whether three records agree.

The ledger, the lab's own request log and the objects at the sites are each other's witnesses.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from deployments.local.platform import Addresses, LocalPlatform
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.ledger import Ledger
from edge.model.outcome import Status
from edge.model.rollout import Rollout, RolloutState
from edge.model.site import OfflinePolicy, Site, SiteState
from edge.model.step import StepState
from tests.conftest import RunningLab
from tests.contract.rollout_world import refs

Request = dict[str, Any]
BAD_WAYS = ({"kind": "expired-token"}, {"kind": "full-disk"})
LOOK_S = 0.2
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Fleet(NamedTuple):
    """Which sites of a lab are in which weather."""

    good: tuple[str, ...]
    dark: tuple[str, ...]
    bad: tuple[str, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.good, *self.dark, *self.bad)

    @property
    def statuses(self) -> dict[str, Status]:
        """How each has to end."""
        said = ((self.good, Status.SUCCEEDED), (self.dark, Status.EXPECTED_OFFLINE), (self.bad, Status.FAILED))
        return {site: status for sites, status in said for site in sites}


def make_fleet(lab: RunningLab, ledger: Ledger, *, dark: int, bad: int) -> Fleet:
    """Put the lab's sites on record, and set the weather: the dark ones may be away, the bad ones refuse."""
    names = sorted(site.name for site in lab.sites)
    step = max(1, len(names) // (dark + bad)) if dark + bad else 1
    chosen = names[step - 1 :: step][: dark + bad]
    away, broken = tuple(chosen[:dark]), tuple(chosen[dark:])
    for name in names:
        policy = OfflinePolicy.EXPECTED if name in away else OfflinePolicy.NORMAL
        ledger.sites.put(Site(name=name, when_offline=policy, state=SiteState.CONNECTED))
    for name in away:
        lab.fault(name, "offline")
    for place, name in enumerate(broken):
        lab.ask("PUT", f"/lab/sites/{name}/faults", BAD_WAYS[place % len(BAD_WAYS)])
    return Fleet(tuple(name for name in names if name not in {*away, *broken}), away, broken)


class Runs:
    """Runs of deployments, over the server's API as anybody would start them."""

    def __init__(self, addresses: Addresses) -> None:
        self._api = addresses.prefect_api

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start `<flow>/<deployment>`; answers the run's id."""
        found = self._json("GET", f"/deployments/name/{deployment}")
        run = self._json("POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def state(self, run: str) -> Mapping[str, Any]:
        """The run's state: `type`, `name`, `message`."""
        state: Mapping[str, Any] = self._json("GET", f"/flow_runs/{run}")["state"]
        return state

    def parameters(self, run: str) -> Mapping[str, Any]:
        """What the run was given."""
        given: Mapping[str, Any] = self._json("GET", f"/flow_runs/{run}")["parameters"]
        return given

    def ended(self, run: str, within_s: float) -> Mapping[str, Any]:
        """Wait for the run's end; its state."""
        end = time.monotonic() + within_s
        while (state := self.state(run))["type"] not in ENDS:
            assert time.monotonic() < end, f"not within {within_s:g} s: {state}"
            time.sleep(LOOK_S)
        return state

    def _json(self, method: str, path: str, body: object = None) -> Any:
        for pause_s in (0.5, 1.0, 2.0, 4.0, 0.0):
            answer = httpx.request(method, f"{self._api}{path}", json=body, timeout=60)
            if answer.status_code != 503:  # its SQLite had no lock
                break
            time.sleep(pause_s)
        answer.raise_for_status()
        return answer.json()


class Dead(NamedTuple):
    """What was killed: the runs by process, and when."""

    runs: dict[int, str]
    at: datetime


def runs_of(worker: int) -> dict[int, str]:
    """The processes of a worker that execute runs, with the runs' ids (Linux)."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, StopIteration):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == worker:
                found[int(folder.name)] = _run_of(folder)
    return found


def _run_of(process: Path) -> str:
    words = (process / "environ").read_bytes().split(b"\0")
    return next(word.partition(b"=")[2].decode() for word in words if word.startswith(b"PREFECT__FLOW_RUN_ID="))


def kill_one_with_a_part(local: LocalPlatform, runs: Runs) -> Dead | None:
    """Kill a worker that has a part of the wave, and all runs it has, at once; another takes its place. None: none has.

    A worker without the run that shares the wave out is preferred.
    """
    found = {name: runs_of(local.pid(name)) for name in local.workers}
    parts = {name: [run for run in mine.values() if "part" in runs.parameters(run)] for name, mine in found.items()}
    candidates = sorted((len(found[name]) - len(parts[name]), name) for name in local.workers if parts[name])
    if not candidates:
        return None
    name = candidates[0][1]
    dead = Dead(found[name], datetime.now(UTC))
    for pid in (local.pid(name), *dead.runs):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    local.kill_worker(name)
    return dead


def kill_whoever_shares_out(local: LocalPlatform, runs: Runs) -> None:
    """Kill the run that carries the rollout out and waits for its parts, unless it is dead already."""
    for name in local.workers:
        for pid, run in runs_of(local.pid(name)).items():
            if "stamp" in runs.parameters(run):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Memory:
    """The most memory of each process that executed a run, in MiB, by what it was."""

    def __init__(self, local: LocalPlatform, runs: Runs) -> None:
        self._local, self._runs = local, runs
        self._kinds: dict[str, str] = {}
        self.peak: Counter[str] = Counter()

    def look(self) -> None:
        """Look at all runs there are."""
        for name in self._local.workers:
            for pid, run in runs_of(self._local.pid(name)).items():
                with suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
                    self.peak[self._kind(run)] = max(self.peak[self._kind(run)], peak)

    def _kind(self, run: str) -> str:
        if run not in self._kinds:
            given = self._runs.parameters(run)
            kind = f"part {given['part']}" if "part" in given else "whole"
            self._kinds[run] = f"{kind} {run[-4:]}"
        return self._kinds[run]


def await_end(runs: Runs, ledger: Ledger, stamp: str, within_s: float) -> Rollout:
    """Until the stamp's latest rollout has ended. As the schedule does, only more often, rollouts are tended."""
    end = time.monotonic() + within_s
    tending = ""
    while (rollout := next(rollouts_of(ledger, stamp))).ended_at is None:
        assert time.monotonic() < end, rollout
        if not ledger.leases.held("rollout:") and (not tending or runs.state(tending)["type"] in ENDS):
            tending = runs.start("tend-rollouts/default")
        time.sleep(5 * LOOK_S)
    return rollout


# --- what the records say


def applied(requests: Iterable[Request], space: str) -> list[Request]:
    """Requests that changed a stamp's objects, a namespace and what is in it. A dry run changes nothing."""
    path = f"/namespaces/{space}"
    return [
        one
        for one in requests
        if one["method"] == "PATCH"
        and one["status"] < 300
        and not one["dry_run"]
        and (one["path"].endswith(path) or f"{path}/" in one["path"])
    ]


def check_one_after_the_other(site: str, requests: Sequence[Request], space: str) -> None:
    """Once a run has written to a site, none that began there before it has: the tokens of writes only grow."""
    tokens = [int(one["fence"]) for one in applied(requests, space)]
    assert tokens == sorted(tokens), f"{site}: two runs wrote at once, by their tokens {tokens}"


def check_rollout(ledger: Ledger, lab: RunningLab, rollout: Rollout, fleet: Fleet, space: str) -> Counter[int]:
    """The rollout ended as its strategy says, and so did each site, by all records; how many tries sites took."""
    assert rollout.state is (RolloutState.FAILED if fleet.bad else RolloutState.SUCCEEDED)
    wrong = {row.site: (row.status, row.cause) for row in rollout.sites if row.status != fleet.statuses[row.site]}
    assert not wrong, wrong
    assert {row.site for row in rollout.sites} == set(fleet.sites)
    _check_trail(ledger, rollout)
    placed = {one.site: one.version for one in ledger.placements.of_stamp(space)}
    assert placed == dict.fromkeys(fleet.good, rollout.plan.version)
    tries: Counter[int] = Counter()
    for site in fleet.good:
        tries[check_log(ledger, lab, rollout, site, space)] += 1
    for site in (*fleet.dark, *fleet.bad):
        assert not applied(lab.requests(site), space), f"{site} was changed"
    return tries


def _check_trail(ledger: Ledger, rollout: Rollout) -> None:
    """Each site ended once, and nobody changed the trail."""
    mine = f"{rollout.plan.rollout_id}/"
    trail = ledger.audit.entries(limit=10**6)
    ends = Counter(e.subject for e in trail if e.action == "rollout.site-ended" and e.subject.startswith(mine))
    assert ends == Counter({f"{mine}{row.site}": 1 for row in rollout.sites})
    assert ledger.audit.verify()


def check_log(ledger: Ledger, lab: RunningLab, rollout: Rollout, site: str, space: str) -> int:
    """A site's log agrees with its steps: applied once for each time that the step was begun; answers how often."""
    records = {one.key.step: one for one in ledger.steps.records(f"rollout:{rollout.plan.rollout_id}", site)}
    assert {one.state for one in records.values()} == {StepState.DONE}, records
    requests = lab.requests(site)
    counts = Counter(one["path"] for one in applied(requests, space))
    assert len(counts) == len(refs(space)), f"{site}: {counts}"
    assert max(counts.values()) <= records["apply"].tries, f"{site}: {counts}"
    check_one_after_the_other(site, requests, space)
    return records["apply"].tries


def check_objects(addresses: Addresses, sites: Sequence[str], space: str, data: Mapping[str, str]) -> None:
    """The objects of the stamp are there, with its data."""
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(sites, pool.map(lambda site: _data_at(addresses, site, space), sites), strict=True))
    assert found == dict.fromkeys(sites, (len(refs(space)), dict(data)))


def _data_at(addresses: Addresses, site: str, space: str) -> tuple[int, dict[str, str]]:
    kubeconfig = Path(addresses.lab["kubeconfigs"]) / f"{site}.kubeconfig"
    with SiteClient(read_kubeconfig(kubeconfig), site=site) as client:
        live = client.look(refs(space))
    settings = [obj for ref, obj in live.items() if ref.kind == "ConfigMap"]
    return len(live), dict(settings[0]["data"]) if settings else {}


def rollouts_of(ledger: Ledger, stamp: str) -> Iterator[Rollout]:
    """The rollouts of a stamp with their sites, newest first."""
    return (ledger.rollouts.get(one.plan.rollout_id) for one in ledger.rollouts.list() if one.plan.stamp == stamp)
