"""Tenants and sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, insert, select, update

from edge.errors import InvalidInput, LedgerMismatch, NotFound
from edge.ledger import tables
from edge.ledger.store import Book
from edge.ledger.writer import Transaction
from edge.model.site import Site, SiteState, Tenant


class Tenants(Book):
    """Who owns sites."""

    def ensure(self, name: str, display_name: str = "") -> Tenant:
        """The tenant of this name; it is made when there is none."""
        return self._store.write(lambda txn: ensure_tenant(txn, Tenant(name=name, display_name=display_name)))

    def list(self) -> tuple[Tenant, ...]:
        """All tenants, by name."""
        with self._store.read() as connection:
            rows = connection.execute(select(tables.tenants).order_by(tables.tenants.c.name))
            return tuple(Tenant(**row) for row in rows.mappings())


def ensure_tenant(txn: Transaction, tenant: Tenant) -> Tenant:
    """As `Tenants.ensure`, inside a transaction."""
    wanted = select(tables.tenants).where(tables.tenants.c.name == tenant.name)
    row = txn.connection.execute(wanted).mappings().one_or_none()
    if row is not None:
        return Tenant(**row)
    txn.connection.execute(insert(tables.tenants), tenant.model_dump())
    txn.audit("tenant.added", tenant.name)
    return tenant


class Sites(Book):
    """One row per cluster."""

    def put(self, site: Site) -> Site:
        """Store the site as it is, and its tenant if that is new. The same again changes nothing.

        The name of a decommissioned site is free: another tenant's site may have it. Raises LedgerMismatch when
        another tenant has a site of that name.
        """
        return self._store.write(lambda txn: _put(txn, site))

    def get(self, name: str) -> Site:
        """Raises NotFound."""
        with self._store.read() as connection:
            return site_of(connection, name)

    def list(
        self,
        *,
        tenant: str | None = None,
        region: str | None = None,
        labels: Mapping[str, str] | None = None,
        state: SiteState | None = None,
    ) -> tuple[Site, ...]:
        """The sites that match all that is given, by name. `labels` must all be there with these values."""
        wanted = select(tables.sites).order_by(tables.sites.c.name)
        for column, value in (("tenant", tenant), ("region", region), ("state", state)):
            if value is not None:
                wanted = wanted.where(tables.sites.c[column] == value)
        with self._store.read() as connection:
            found = [Site(**row) for row in connection.execute(wanted).mappings()]
        asked = dict(labels or {})
        return tuple(site for site in found if asked.items() <= site.labels.items())

    def update(self, name: str, /, **changes: Any) -> Site:
        """Change fields of a site; its name and its tenant stay. Raises NotFound or InvalidInput."""
        return self._store.write(lambda txn: _update(txn, name, changes))


def site_of(connection: Connection, name: str) -> Site:
    """The site, read inside a transaction. Raises NotFound."""
    row = connection.execute(select(tables.sites).where(tables.sites.c.name == name)).mappings().one_or_none()
    if row is None:
        raise NotFound("No such site", site=name)
    return Site(**row)


def _put(txn: Transaction, site: Site) -> Site:
    ensure_tenant(txn, Tenant(name=site.tenant))
    try:
        known = site_of(txn.connection, site.name)
    except NotFound:
        txn.connection.execute(insert(tables.sites), site.model_dump())
        txn.audit("site.added", site.name, {"tenant": site.tenant, "region": site.region, "state": site.state})
        return site
    if known.tenant != site.tenant and known.state is not SiteState.DECOMMISSIONED:
        remedy = "Give the site another name"
        raise LedgerMismatch("Another tenant has a site of this name", remedy=remedy, site=site.name)
    return _replace(txn, known, site)


def _update(txn: Transaction, name: str, changes: Mapping[str, Any]) -> Site:
    fixed = sorted({"name", "tenant"} & changes.keys())
    if fixed:
        raise InvalidInput("A site keeps its name and its tenant", site=name, field=fixed[0])
    known = site_of(txn.connection, name)
    try:
        wanted = Site.model_validate({**known.model_dump(), **changes})
    except ValidationError as theirs:
        first = theirs.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInput(first["msg"], site=name, field=field, value=first["input"]) from theirs
    return _replace(txn, known, wanted)


def _replace(txn: Transaction, known: Site, wanted: Site) -> Site:
    before = known.model_dump()
    changed = {field: value for field, value in wanted.model_dump().items() if value != before[field]}
    if changed:
        txn.connection.execute(update(tables.sites).where(tables.sites.c.name == wanted.name).values(**changed))
        txn.audit("site.changed", wanted.name, {field: str(value) for field, value in changed.items()})
    return wanted
