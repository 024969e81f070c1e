"""Which of the ownerships that ever named a serial number is the device's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.model.admission import Ownership, OwnershipKind
from edge.model.device import Device, DeviceFacts, DeviceState, Registration
from edge.policy.owner import likely_owner, owner_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEVICE = Device(
    device_id="dev-1",
    state=DeviceState.REGISTERED,
    registration=Registration(device_id="dev-1", certificate="", facts=DeviceFacts(serial="SN-1")),
    registered_at=NOW,
    generation=2,
)


def owned(tenant: str, **more: Any) -> Ownership:
    return Ownership(
        ownership_id=tenant, serial="SN-1", tenant=tenant, kind=OwnershipKind.VOUCHER, created_at=NOW - HOUR, **more
    )


USED = {"used_by": "dev-1", "used_generation": 2, "used_at": NOW}


@pytest.mark.parametrize(
    ("ownerships", "tenant"),
    [
        pytest.param([], None, id="none"),
        pytest.param([owned("a"), owned("b")], "b", id="newest"),
        pytest.param([owned("a", **USED), owned("b")], "a", id="the-one-it-came-in-on"),
        pytest.param([owned("a", **{**USED, "used_generation": 1}), owned("b")], "b", id="used-in-an-earlier-life"),
        pytest.param([owned("a", **{**USED, "used_by": "dev-2"})], None, id="used-by-another"),
        pytest.param([owned("a"), owned("b", ended_at=NOW)], "a", id="ended"),
        pytest.param([owned("a", ended_at=NOW, **USED)], None, id="used-and-ended"),
        pytest.param([owned("a", expires_at=NOW)], None, id="expired"),
        pytest.param([owned("a", expires_at=NOW - HOUR, **USED)], "a", id="expired-after-it-was-used"),
        pytest.param([owned("a", expires_at=NOW + HOUR)], "a", id="not-expired"),
    ],
)
def test_the_likely_owner_of_a_device(ownerships: list[Ownership], tenant: str | None) -> None:
    found = likely_owner(ownerships, DEVICE, now=NOW)
    assert (found.tenant if found else None) == tenant


@pytest.mark.parametrize(
    ("ownerships", "tenant"),
    [
        pytest.param([owned("a")], None, id="only-said-to-be-its"),
        pytest.param([owned("a", **USED), owned("b")], "a", id="came-in-on-it"),
        pytest.param([owned("a", ended_at=NOW, **USED)], None, id="ended"),
        pytest.param([owned("a", **{**USED, "used_generation": 1})], None, id="an-earlier-life"),
    ],
)
def test_the_owner_is_whose_word_let_the_device_in(ownerships: list[Ownership], tenant: str | None) -> None:
    found = owner_of(ownerships, DEVICE)
    assert (found.tenant if found else None) == tenant
