"""Reading from Azure until when each site's identity holds, and from the ledger which certificates end soon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.arc import ArcSubscription
from blocks.ledger import EdgeLedger
from blocks.load import load
from edge.clients.arc import ArcClient
from edge.ledger import Ledger
from edge.model.arc import ConnectedCluster
from edge.model.device import Device, DeviceState
from edge.model.expiry import ExpiryPlan
from edge.model.site import Site, SiteIdentity, SiteState
from edge.policy.expiry import GONE, plan_expiry
from edge.policy.renewal import ends_soon
from tasks.retry import DELAY_S, RETRIES, only_transient


class ExpiryJob:
    """One look at all identities. A plain class, so that Prefect does not look into it."""

    def __init__(self, ledger: Ledger, arc: ArcClient | None) -> None:
        self.ledger = ledger
        self.arc = arc
        self.now = datetime.now(UTC)


@contextmanager
def open_expiry(blocks: Mapping[str, str], *, with_azure: bool = True) -> Iterator[ExpiryJob]:
    """What the look works with. `blocks` names the blocks `ledger` and `arc`; the latter only `with_azure`."""
    subscription = load(ArcSubscription, blocks["arc"])
    with load(EdgeLedger, blocks["ledger"]).client() as ledger:
        if not (with_azure and subscription.used):
            yield ExpiryJob(ledger, None)
            return
        with subscription.client() as arc:
            yield ExpiryJob(ledger, arc)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAY_S,
    retry_condition_fn=only_transient,
)
def read_identities(job: ExpiryJob) -> int:
    """Ask Azure about every connected site and keep what it says; answers how many sites there are."""
    return refresh(job)


def refresh(job: ExpiryJob) -> int:
    """As `read_identities`, outside of a run."""
    sites = connected(job.ledger)
    if job.arc is None or not sites:
        return 0
    by_id = {cluster.resource_id.lower(): cluster for cluster in job.arc.list()}
    for site in sites:
        job.ledger.identities.put(_identity(site, by_id.get((site.arc_id or "").lower()), job.now))
    return len(sites)


def plans(ledger: Ledger, now: datetime) -> tuple[ExpiryPlan, ...]:
    """What to do about the identity of each connected site, as last seen; the most urgent first."""
    names = {site.name for site in connected(ledger)}
    return plan_expiry([one for one in ledger.identities.list() if one.site in names], now=now)


def connected(ledger: Ledger) -> tuple[Site, ...]:
    """The sites that are connected to Azure."""
    return tuple(site for site in ledger.sites.list(state=SiteState.CONNECTED) if site.arc_id)


def ending_certificates(ledger: Ledger, now: datetime) -> tuple[Device, ...]:
    """Devices in use whose certificate has ended or ends soon."""
    living = ledger.devices.list(states=(DeviceState.CONNECTED, DeviceState.ONBOARDING, DeviceState.FAILED))
    return tuple(device for device in living if ends_soon(device.registration, now=now))


def _identity(site: Site, cluster: ConnectedCluster | None, now: datetime) -> SiteIdentity:
    if cluster is None:
        return SiteIdentity(site=site.name, connectivity=GONE, seen_at=now)
    return SiteIdentity(
        site=site.name,
        expires_at=cluster.certificate_expires,
        last_connected_at=cluster.last_connected,
        connectivity=cluster.connectivity,
        seen_at=now,
    )
