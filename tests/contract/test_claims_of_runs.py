"""A run says again and again that it still works on what it took; one that is killed says nothing more."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.gateway.settings import GatewaySettings
from edge.ledger import Ledger
from edge.model.event import IncomingEvent
from edge.settings import Settings
from tasks.onboarding_claim import holding_batch

EVENT = IncomingEvent(id="e1", source="plant", type="registered", time=datetime(2026, 3, 1, tzinfo=UTC), data={})
KEY = (EVENT.source, EVENT.id)


class Job:
    """What a run works with; of it a claim needs this alone."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.holder = "run/process"
        self.lasting = timedelta(seconds=0.1)


@pytest.fixture
def job(tmp_path: Path) -> Any:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.inbox.add([EVENT], at=datetime.now(UTC))
        ledger.inbox.mark_sent([KEY], "b1")
        yield Job(ledger)


def left_alone_since(ledger: Ledger, moment: datetime) -> list[str]:
    """What the gateway would send again, were a claim older than `moment` taken for dead."""
    later = datetime.now(UTC) + timedelta(hours=1)
    return [stored.event.id for stored in ledger.inbox.unclaimed(later, claimed_before=moment)]


def test_a_run_renews_its_claim_for_as_long_as_it_works(job: Any) -> None:
    with holding_batch(job, "b1") as taken:
        assert taken == (KEY,)
        begun = datetime.now(UTC)
        while left_alone_since(job.ledger, begun):
            time.sleep(0.01)
    ended = datetime.now(UTC)
    time.sleep(0.1)
    assert left_alone_since(job.ledger, ended) == ["e1"]


def test_a_run_without_a_batch_takes_nothing(job: Any) -> None:
    with holding_batch(job, "") as taken:
        assert taken == ()
    assert left_alone_since(job.ledger, datetime.now(UTC)) == ["e1"]


def test_a_batch_that_another_run_has_is_left_to_it(job: Any) -> None:
    job.ledger.inbox.claim("b1", by="another run")
    job.lasting = timedelta(minutes=1)
    with holding_batch(job, "b1") as taken:
        assert taken == ()


def test_a_run_renews_its_devices_too(job: Any) -> None:
    with holding_batch(job, ""):
        job.ledger.leases.take("device:dev-1", by=job.holder, lasting=job.lasting)
        time.sleep(0.3)
        assert job.ledger.leases.holds("device:dev-1", by=job.holder)
    time.sleep(0.2)
    assert not job.ledger.leases.holds("device:dev-1", by=job.holder)


def test_the_gateway_waits_longer_than_a_run_that_comes_second() -> None:
    waits = GatewaySettings.model_fields["reclaim_after_s"].default
    assert Settings.model_fields["claim_s"].default < waits
