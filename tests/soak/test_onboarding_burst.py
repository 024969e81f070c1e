"""A burst with bad devices and a bad Azure in it: the good come in, the bad stay out with reasons, nothing is left."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.local.platform import LocalPlatform
from edge.ledger import Ledger
from edge.model.device import DeviceState
from edge.model.outcome import Outcome
from tasks.onboarding_outcome import recorded_outcome
from tests.bad_devices import BAD_WAYS
from tests.burst import (
    FAULTS,
    Burst,
    await_ended,
    check_left,
    in_azure,
    make_burst,
    onboarding_steps,
    reason_of,
    set_faults,
    strict_rules,
)
from tests.conftest import RunningPlatform
from tests.kills import Killer

DEVICES, KILLED, IMPORTED = 30, 8, 2
SETTINGS = {
    "EDGE_ARC_KEY_BITS": "2048",
    "EDGE_ARC_ANSWER_S": "3",
    "EDGE_CLAIM_S": "6",
    "EDGE_GATEWAY_RESEND_AFTER_S": "6",
}
WITHIN_S = 270.0


class World:
    """A platform of its own, with a clock in its lab that runs faster."""

    def __init__(self, home: Path) -> None:
        self.local = LocalPlatform(home, clock_rate=20.0)
        settings = {**SETTINGS, "EDGE_ASSIGNMENT": str(strict_rules(home))}
        self.addresses = self.local.start(sites=DEVICES + KILLED + IMPORTED, scenario=None, settings=settings)
        self.platform = RunningPlatform(home, self.addresses)
        self.lab = self.platform.lab
        self.sites = self.addresses.lab["sites"]

    def send(self, burst: Burst) -> dict[str, int]:
        return burst.send(self.addresses.gateway, self.addresses.gateway_token_file.read_text())

    def installs(self, site: str) -> int:
        """How often agents were installed on a site: each install makes a record of a release."""
        made = [request["path"] for request in self.lab.requests(site) if request["method"] == "POST"]
        return sum(path.partition("?")[0].endswith("/azure-arc-release/secrets") for path in made)

    def writes(self) -> dict[str, int]:
        """How often each site was written to."""
        return {
            site["name"]: sum(request["method"] not in ("GET", "HEAD") for request in self.lab.requests(site["name"]))
            for site in self.sites
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("burst")
    made = None
    try:
        made = World(home)
        yield made
    finally:
        (made.local if made else LocalPlatform(home)).stop()


@pytest.fixture(scope="module")
def ledger(world: World) -> Iterator[Ledger]:
    with Ledger.open(world.addresses.ledger_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def burst(world: World, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Burst:
    """A burst that has ended: who was to come in is in, who was not is out, and Azure failed some for good."""
    folder = tmp_path_factory.mktemp("bad")
    made = make_burst(world.addresses.lab, world.sites[:DEVICES], folder, seed=1, share=0.1, ways=BAD_WAYS)
    made.tell_revoked(ledger)
    set_faults(world.lab.ask, made)
    receipt = world.send(made)
    assert (receipt["accepted"], receipt["duplicate"]) == (sum(map(len, made.events)), 0)
    lasting = {member.name for member in made.lasting()}
    names = {member.name for member in made.members} - lasting
    await_ended(ledger, names, also=lasting, within_s=WITHIN_S)
    made.judge_doubles(ledger)
    return made


def outcomes(ledger: Ledger, names: list[str]) -> dict[str, Outcome]:
    return {name: recorded_outcome(ledger, ledger.devices.get(name)) for name in names}


def test_every_good_device_is_connected_and_every_bad_one_is_out_with_its_own_reason(
    ledger: Ledger, burst: Burst
) -> None:
    lasting = {member.name for member in burst.lasting()}
    found = outcomes(ledger, [member.name for member in burst.members])
    states = {member.name: ledger.devices.get(member.name) for member in burst.members}
    good = [member for member in burst.good if member.name not in lasting]
    assert {member.name: states[member.name].reason for member in good if states[member.name].site is None} == {}
    assert {states[member.name].state for member in good} == {DeviceState.CONNECTED}
    assert {states[member.name].state for member in burst.bad} == {DeviceState.QUARANTINED}
    assert {m.name: reason_of(found[m.name]) for m in burst.bad} == {m.name: m.refused for m in burst.bad}
    assert {states[name].state for name in lasting} == {DeviceState.FAILED}


def test_nothing_is_left_of_those_that_are_not_in(world: World, ledger: Ledger, burst: Burst) -> None:
    check_left(world.addresses, ledger, burst)


def test_what_azure_did_once_was_tried_again_for_that_device_alone(ledger: Ledger, burst: Burst) -> None:
    tries = {record.key.subject: record.tries for record in ledger.steps.fleet("attempt:")}
    met = {member.fault: tries[member.name] for member in burst.good if member.fault}
    assert {tries[member.name] for member in burst.good if not member.fault} == {1}
    assert set(met) == set(FAULTS)
    assert {fault: count for fault, count in met.items() if fault in {"409", "429", "500"} and count < 2} == {}


def test_the_same_events_again_change_nothing(world: World, ledger: Ledger, burst: Burst) -> None:
    before = (onboarding_steps(ledger), ledger.devices.list(), in_azure(world.addresses), world.writes())
    assert world.send(burst) == {"accepted": 0, "duplicate": sum(map(len, burst.events)), "superseded": 0}
    assert ledger.inbox.pending() == ()
    assert (onboarding_steps(ledger), ledger.devices.list(), in_azure(world.addresses), world.writes()) == before


def test_a_device_that_azure_failed_for_good_comes_in_when_a_person_has_it_tried_again(
    world: World, ledger: Ledger, burst: Burst
) -> None:
    lasting = {member.site for member in burst.lasting()}
    tried = world.platform.edge("device", "retry", "--all-failed", "--json")
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert json.loads(tried.stdout)["connected"] == len(lasting)
    assert lasting <= set(in_azure(world.addresses))


def test_workers_that_are_killed_at_random_lose_no_device_and_take_none_twice(
    world: World, ledger: Ledger, tmp_path: Path
) -> None:
    made = make_burst(world.addresses.lab, world.sites[DEVICES : DEVICES + KILLED], tmp_path, seed=2)
    killer = Killer(world.local, random.Random(3), ledger, [member.name for member in made.members])
    with killer.at_work():
        world.send(made)
        await_ended(ledger, [member.name for member in made.members], within_s=WITHIN_S)
    assert killer.runs_killed >= 1
    assert killer.workers_killed >= 1
    assert {ledger.devices.get(member.name).state for member in made.members} == {DeviceState.CONNECTED}
    check_left(world.addresses, ledger, made)
    begun = {record.key.subject: record.tries for record in onboarding_steps(ledger) if record.key.step == "connect"}
    assert {m.name: world.installs(m.site) for m in made.members if world.installs(m.site) > begun[m.name]} == {}
    assert max(begun[member.name] for member in made.members) > 1
    assert ledger.audit.verify()


def test_a_file_is_imported_and_a_second_time_changes_nothing(world: World, ledger: Ledger, tmp_path: Path) -> None:
    made = make_burst(world.addresses.lab, world.sites[DEVICES + KILLED :], tmp_path, seed=4, ways=("expired",))
    rows = [import_row(member.device) for member in made.members]
    file = tmp_path / "devices.csv"
    write_csv(file, [*rows, {**rows[0], "device_id": "no spaces"}])
    done = world.platform.edge("device", "import", str(file), "--skip-bad", "--rate", "50", "--json")
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["devices"], said["connected"], said["quarantined"]) == (IMPORTED, len(made.good), len(made.bad)), said
    assert [row["value"] for row in said["skipped"]] == ["no spaces"]
    before = (onboarding_steps(ledger), ledger.devices.list(), in_azure(world.addresses), ledger.ownerships.list())
    again = world.platform.edge("device", "import", str(file), "--skip-bad", "--json")
    assert json.loads(again.stdout)["known"] == IMPORTED
    after = (onboarding_steps(ledger), ledger.devices.list(), in_azure(world.addresses), ledger.ownerships.list())
    assert after == before


def import_row(device: Any) -> dict[str, str]:
    facts = device.facts
    told = {"serial": facts.serial, "model": facts.model, "location": facts.location}
    return {"device_id": device.device_id, "certificate": device.certificate, "tenant": "factory", **told}


def write_csv(file: Path, rows: list[dict[str, str]]) -> None:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
