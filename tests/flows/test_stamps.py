"""Control of rollouts from every side, on the real server: Prefect's form and API, commands, and a site's return."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Origin, Registration
from edge.model.kube import ObjectRef
from edge.model.outcome import Status
from edge.model.placement import CatchUpState
from edge.model.rollout import Rollout, RolloutState
from edge.model.site import OfflinePolicy, Site, SiteState

FIRST, SECOND, AWAY = "site-0010", "site-0011", "site-0012"
"""Sites that no other test uses."""
GATED: dict[str, Any] = {"canary": "1", "waves": [{"approval": ["before"]}]}


@pytest.fixture(autouse=True)
def fleet(ledger: Ledger) -> None:
    """These sites are there; one may be away."""
    for name, when_offline in ((FIRST, "normal"), (SECOND, "normal"), (AWAY, "expected")):
        ledger.sites.put(Site(name=name, when_offline=OfflinePolicy(when_offline), state=SiteState.CONNECTED))


@pytest.fixture
def write_stamp(tmp_path: Path) -> Callable[[str], str]:
    """Writes a stamp with a namespace of its own name and a ConfigMap."""

    def write(name: str) -> str:
        folder = tmp_path / name
        (folder / "all").mkdir(parents=True)
        spec = {"version": "1.0.0", "namespaces": [name], "components": [{"name": "all", "path": "all"}]}
        head = {"apiVersion": "edge-platform.io/v1", "kind": "Stamp", "metadata": {"name": name}, "spec": spec}
        (folder / "stamp.yaml").write_text(yaml.safe_dump(head))
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        place = {"name": "settings", "namespace": name}
        settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": {"colour": "red"}}
        (folder / "all" / "objects.yaml").write_text(yaml.safe_dump_all([space, settings]))
        return str(folder)

    return write


class Floor:
    """What these tests do again and again."""

    def __init__(self, platform: Any, prefect: Any, ledger: Ledger, until: Any) -> None:
        self.platform, self.prefect, self.ledger, self.until = platform, prefect, ledger, until

    def start(self, stamp: str, *sites: str, strategy: dict[str, Any], **more: Any) -> str:
        """The id of a run, as somebody starts it from Prefect's form."""
        said = {"stamp": stamp, "sites": {"names": list(sites)}, "strategy": strategy, **more}
        return str(self.prefect.start("roll-out-stamp", said))

    def rollout(self, stamp: str) -> Rollout | None:
        """The latest rollout of this stamp."""
        name = Path(stamp).name
        return next((one for one in self.ledger.rollouts.list() if one.plan.stamp == name), None)

    def waiting(self, stamp: str, *, held: bool) -> str:
        """The rollout's id, once it waits for a person; `held`: whether its run still waits with it."""

        def waits() -> str:
            found = self.rollout(stamp)
            if found is None or "person" not in found.waiting:
                return ""
            name = found.plan.rollout_id
            return name if bool(self.ledger.leases.held(f"rollout:{name}")) is held else ""

        return str(self.until(waits, "the rollout waits for a person"))

    def ends(self, rollout: str, state: RolloutState) -> Rollout:
        """The rollout, once it is in this state."""
        self.until(lambda: self.ledger.rollouts.get(rollout).state is state, f"the rollout is {state}")
        return self.ledger.rollouts.get(rollout)

    def edge(self, *words: str) -> dict[str, Any]:
        done = self.platform.edge(*words, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def floor(platform: Any, prefect: Any, ledger: Ledger, until: Any) -> Floor:
    return Floor(platform, prefect, ledger, until)


def statuses(rollout: Rollout) -> list[Status | None]:
    return [row.status for row in rollout.sites]


def test_a_wave_that_is_approved_in_prefects_form_goes_on_by_itself(floor: Floor, write_stamp: Any) -> None:
    stamp = write_stamp("by-form")
    floor.start(stamp, FIRST, SECOND, strategy=GATED, patience_s=0)
    rollout = floor.waiting(stamp, held=False)
    floor.prefect.start(
        "control-rollout", {"rollout": rollout, "action": "approve", "by": "ada", "reason": "looks good"}
    )
    ended = floor.ends(rollout, RolloutState.SUCCEEDED)
    assert statuses(ended) == [Status.SUCCEEDED, Status.SUCCEEDED]
    assert [(gate.by, gate.reason) for gate in ended.gates] == [("ada", "looks good")]


def test_commands_pause_resume_and_cancel_what_a_worker_carries_out(floor: Floor, write_stamp: Any) -> None:
    stamp = write_stamp("by-command")
    floor.start(stamp, FIRST, SECOND, strategy=GATED, patience_s=0)
    rollout = floor.waiting(stamp, held=False)
    assert floor.edge("rollout", "pause", rollout, "--by", "ada")["run"] == "", "nothing is to be done"
    resumed = floor.edge("rollout", "resume", rollout, "--by", "ada")
    assert resumed["run"], "a worker goes on"
    assert floor.waiting(stamp, held=True) == rollout
    cancelled = floor.edge("rollout", "cancel", rollout, "--by", "ada")
    assert cancelled["run"] == "", "its run hears of it"
    assert statuses(floor.ends(rollout, RolloutState.CANCELLED)) == [Status.SUCCEEDED, Status.HELD]


def test_a_rollout_whose_run_is_cancelled_in_prefect_is_paused(floor: Floor, write_stamp: Any) -> None:
    stamp = write_stamp("by-prefect")
    run = floor.start(stamp, FIRST, SECOND, strategy=GATED, patience_s=600)
    rollout = floor.waiting(stamp, held=True)
    floor.prefect.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    paused = floor.ends(rollout, RolloutState.PAUSED)
    assert statuses(paused) == [Status.SUCCEEDED, None]
    said = [entry for entry in floor.ledger.audit.about(rollout) if entry.action == "rollout.paused"]
    assert [entry.actor for entry in said] == ["prefect"]
    floor.edge("rollout", "cancel", rollout)


@pytest.fixture
def device(ledger: Ledger) -> str:
    """A device at the site that is away, as an onboarding leaves it."""
    facts, name = DeviceFacts(serial="SN-returns"), "dev-returns"
    data, then = Registration(device_id=name, certificate="c", facts=facts), datetime(2026, 1, 1, tzinfo=UTC)
    ledger.devices.register(data, at=then, received_at=then, via=Origin.EVENT)
    ledger.devices.move(name, DeviceState.CONNECTED, site=AWAY)
    return name


@pytest.fixture
def hub(platform: Any) -> Iterator[httpx.Client]:
    """Who sends the gateway what devices say."""
    token = platform.addresses.gateway_token_file.read_text()
    with httpx.Client(base_url=platform.addresses.gateway, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def test_a_site_catches_up_when_its_device_is_heard_of_again(
    floor: Floor, write_stamp: Any, device: str, hub: httpx.Client, site_of: Any
) -> None:
    stamp = write_stamp("by-return")
    floor.platform.lab.fault(AWAY, "offline")
    floor.start(stamp, FIRST, AWAY, strategy={"canary": "0", "waves": ["100%"]})
    floor.until(lambda: floor.ledger.catch_ups.get(AWAY, "by-return"), "the site is queued")
    floor.platform.lab.lift(AWAY)

    def caught_up() -> bool:
        now = datetime.now(UTC).isoformat()
        data = {"deviceId": device, "hubName": "hub"}
        event = {"eventType": "Microsoft.Devices.DeviceConnected", "subject": f"devices/{device}", "data": data}
        body = [{**event, "id": now, "topic": "/hub", "eventTime": now, "dataVersion": "", "metadataVersion": "1"}]
        assert hub.post("/events", json=body).status_code == 202
        entry = floor.ledger.catch_ups.get(AWAY, "by-return")
        return entry is not None and entry.state is CatchUpState.DONE

    floor.until(caught_up, "the site has what it missed")
    settings = ObjectRef(api_version="v1", kind="ConfigMap", name="settings", namespace="by-return")
    assert site_of(AWAY).get(settings)["data"] == {"colour": "red"}
    listed = floor.edge("catch-up", "list", "--all")
    assert listed["report"]["met"] == 1
    assert [one["objective_met"] for one in listed["catch_ups"] if one["stamp"] == "by-return"] == [True]
