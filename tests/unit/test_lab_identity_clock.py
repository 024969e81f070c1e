"""The pretend Azure's clock of identities: it renews for agents in contact, and ends for those in the dark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.lab.azure.agents import AgentsSeen
from edge.lab.azure.connectivity import contact_changed, refresh
from edge.lab.azure.options import AzureOptions
from edge.lab.azure.store import Resource, Store

START = datetime(2026, 1, 1, tzinfo=UTC)
ID = "/subscriptions/s/resourceGroups/edge/providers/Microsoft.Kubernetes/connectedClusters/site-1"


class Azure:
    """One connected cluster whose agents can be cut off, under a clock that is moved by hand."""

    def __init__(self) -> None:
        self.day = 0.0
        self.awake = True
        self.options = AzureOptions(agents=lambda _site: AgentsSeen(ID, "key", ready=True) if self.awake else None)
        self.store = Store(self, None)
        properties = {"provisioningState": "Succeeded", "agentPublicKeyCertificate": "key", "connectivityStatus": ""}
        self.resource = Resource({"id": ID, "name": "site-1", "properties": properties})

    def now(self) -> datetime:
        return START + timedelta(days=self.day)

    def look(self, day: float) -> tuple[str, float | None, float | None]:
        """Connectivity, last contact and end of the certificate, as days from the start."""
        self.day = day
        refresh(self.store, self.options, self.resource)
        shown = self.resource.properties
        return (
            shown["connectivityStatus"],
            days(shown.get("lastConnectivityTime")),
            days(shown.get("managedIdentityCertificateExpirationTime")),
        )

    def cut(self, day: float, *, off: bool) -> None:
        self.day, self.awake = day, not off
        contact_changed(self.store, self.options, self.resource)


def days(text: str | None) -> float | None:
    return None if text is None else (datetime.fromisoformat(text) - START) / timedelta(days=1)


def test_agents_in_contact_renew_on_day_46_whoever_looks_and_when() -> None:
    azure = Azure()
    assert azure.look(0) == ("Connected", 0, 90)
    assert azure.look(45.9) == ("Connected", 45.9, 90)
    assert azure.look(46) == ("Connected", 46, 136)
    assert azure.look(400) == ("Connected", 400, 46 * 8 + 90)


def test_a_site_that_is_dark_through_day_90_is_expired_and_stays_so() -> None:
    azure = Azure()
    azure.look(0)
    azure.cut(30, off=True)
    assert azure.look(89.9) == ("Offline", 30, 90)
    assert azure.look(90) == ("Expired", 30, 90)
    azure.cut(95, off=False)
    assert azure.look(96) == ("Expired", 30, 90)


@pytest.mark.parametrize(("back", "end"), [pytest.param(45, 90, id="before"), pytest.param(60, 150, id="inside")])
def test_a_site_that_comes_back_renews_when_it_is_inside_the_window(back: float, end: float) -> None:
    azure = Azure()
    azure.look(0)
    azure.cut(30, off=True)
    azure.cut(back, off=False)
    assert azure.look(back) == ("Connected", back, end)


def test_a_site_has_renewed_before_it_went_dark_though_nobody_looked() -> None:
    azure = Azure()
    azure.look(0)
    azure.cut(100, off=True)
    assert azure.look(101) == ("Offline", 100, 46 * 2 + 90)


def test_agents_that_never_called_in_have_no_certificate() -> None:
    azure = Azure()
    azure.awake = False
    assert azure.look(100) == ("Connecting", None, None)
