"""Identities of sites: until when each one's certificate holds, as Azure last told."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from edge.ledger.sites import site_of
from edge.ledger.store import Book
from edge.ledger.tables import site_identities
from edge.ledger.writer import Transaction
from edge.model.site import SiteIdentity


class Identities(Book):
    """One row per site that was asked about. It is an observation, so it leaves nothing on the audit trail."""

    def put(self, identity: SiteIdentity) -> SiteIdentity:
        """Keep what was seen, unless something newer is on record; answers what is. Raises NotFound for the site."""
        return self._store.write(lambda txn: _put(txn, identity))

    def get(self, site: str) -> SiteIdentity | None:
        """What was last seen of the site's identity; None when nobody ever asked."""
        with self._store.read() as connection:
            return _find(connection, site)

    def list(self) -> tuple[SiteIdentity, ...]:
        """Every row, by the site's name."""
        with self._store.read() as connection:
            rows = connection.execute(select(site_identities).order_by(site_identities.c.site)).mappings()
            return tuple(SiteIdentity.model_validate(dict(row)) for row in rows)


def _find(connection: Connection, site: str) -> SiteIdentity | None:
    row = connection.execute(select(site_identities).where(site_identities.c.site == site)).mappings().one_or_none()
    return None if row is None else SiteIdentity.model_validate(dict(row))


def _put(txn: Transaction, identity: SiteIdentity) -> SiteIdentity:
    site_of(txn.connection, identity.site)
    known = _find(txn.connection, identity.site)
    if known is None:
        txn.connection.execute(insert(site_identities), identity.model_dump())
        return identity
    if identity.seen_at <= known.seen_at:
        return known
    this = site_identities.c.site == identity.site
    txn.connection.execute(update(site_identities).where(this).values(**identity.model_dump()))
    return identity
