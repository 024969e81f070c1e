"""What sites have: a row per stamp and site, and the versions that failed there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, bindparam, delete, select, text

from edge.ledger.columns import Json, Utc
from edge.ledger.store import Book
from edge.ledger.tables import drift, failed_versions, placements
from edge.ledger.writer import Transaction
from edge.model.placement import FailedVersion, Placement
from edge.policy.redact import text_without_secrets

# As text, because SQLAlchemy compiles its own ON CONFLICT anew each time.
_PUT = text("""
    INSERT INTO placements (site, stamp, version, digest, content, rollout_id, at, inventory, parameters)
    VALUES (:site, :stamp, :version, :digest, :content, :rollout_id, :at, :inventory, :parameters)
    ON CONFLICT (site, stamp) DO UPDATE SET
        version = excluded.version, digest = excluded.digest, content = excluded.content,
        rollout_id = excluded.rollout_id, at = excluded.at, inventory = excluded.inventory,
        parameters = excluded.parameters
""").bindparams(bindparam("at", type_=Utc), bindparam("inventory", type_=Json), bindparam("parameters", type_=Json))
_FAIL = text("""
    INSERT INTO failed_versions (site, stamp, digest, version, rollout_id, at, reason)
    VALUES (:site, :stamp, :digest, :version, :rollout_id, :at, :reason)
    ON CONFLICT (site, stamp, digest) DO UPDATE SET
        rollout_id = excluded.rollout_id, at = excluded.at, reason = excluded.reason
""").bindparams(bindparam("at", type_=Utc))
_ONE = (placements.c.site == bindparam("a"), placements.c.stamp == bindparam("b"))
_GET = select(placements).where(*_ONE)
_DROP = delete(placements).where(*_ONE)
_FORGIVE = delete(failed_versions).where(
    failed_versions.c.site == bindparam("a"),
    failed_versions.c.stamp == bindparam("b"),
    failed_versions.c.digest == bindparam("c"),
)


class Placements(Book):
    """Which version of which stamp is on which site."""

    def put(self, placement: Placement) -> None:
        """The site has this now. That it failed there before, if so, is forgotten. The same again changes nothing."""
        self._store.write(lambda txn: _put(txn, placement))

    def get(self, site: str, stamp: str) -> Placement | None:
        """What the site has of the stamp; None when it has nothing of it."""
        with self._store.read() as connection:
            row = connection.execute(_GET, {"a": site, "b": stamp}).mappings().one_or_none()
        return None if row is None else _placement(row)

    def of_site(self, site: str) -> tuple[Placement, ...]:
        """All stamps on a site, by name."""
        return self._all(placements.c.site == site)

    def of_stamp(self, stamp: str) -> tuple[Placement, ...]:
        """All sites that have some version of the stamp, by name."""
        return self._all(placements.c.stamp == stamp)

    def list(self) -> tuple[Placement, ...]:
        """Everything that is anywhere, by site and stamp."""
        return self._all(placements.c.site != "")

    def drop(self, site: str, stamp: str) -> bool:
        """The site has nothing of the stamp any more; answers whether it had."""
        return self._store.write(lambda txn: _drop(txn, site, stamp))

    def fail(self, failed: FailedVersion) -> None:
        """The version failed on the site: it is not tried there again unless the site is named."""
        self._store.write(lambda txn: _fail(txn, failed))

    def failed(self, stamp: str, digest: str) -> frozenset[str]:
        """The sites on which this content failed."""
        wanted = select(failed_versions.c.site).where(
            failed_versions.c.stamp == stamp, failed_versions.c.digest == digest
        )
        with self._store.read() as connection:
            return frozenset(connection.execute(wanted).scalars())

    def failures(self, site: str) -> tuple[FailedVersion, ...]:
        """What failed on a site, newest first."""
        wanted = select(failed_versions).where(failed_versions.c.site == site).order_by(failed_versions.c.at.desc())
        with self._store.read() as connection:
            return tuple(FailedVersion.model_validate(dict(row)) for row in connection.execute(wanted).mappings())

    def _all(self, which: Any) -> tuple[Placement, ...]:
        wanted = select(placements).where(which).order_by(placements.c.site, placements.c.stamp)
        with self._store.read() as connection:
            return tuple(_placement(row) for row in connection.execute(wanted).mappings())


def _placement(row: RowMapping) -> Placement:
    return Placement.model_validate(dict(row))


def _put(txn: Transaction, placement: Placement) -> None:
    known = txn.connection.execute(_GET, {"a": placement.site, "b": placement.stamp}).mappings().one_or_none()
    if known is None or _placement(known) != placement:
        inventory = [ref.model_dump() for ref in placement.inventory]
        txn.connection.execute(_PUT, {**dict(placement), "inventory": inventory})
        said = {"version": placement.version, "digest": placement.digest, "content": placement.content}
        subject = f"{placement.site}/{placement.stamp}"
        txn.audit("placement.put", subject, {**said, "rollout": placement.rollout_id, "objects": len(inventory)})
    _forgive(txn, placement.site, placement.stamp, placement.digest)


def _drop(txn: Transaction, site: str, stamp: str) -> bool:
    dropped = bool(txn.connection.execute(_DROP, {"a": site, "b": stamp}).rowcount)
    if dropped:
        txn.connection.execute(delete(drift).where(drift.c.site == site, drift.c.stamp == stamp))
        txn.audit("placement.dropped", f"{site}/{stamp}")
    return dropped


def _fail(txn: Transaction, failed: FailedVersion) -> None:
    reason = text_without_secrets(failed.reason)
    txn.connection.execute(_FAIL, {**dict(failed), "reason": reason})
    said = {"version": failed.version, "digest": failed.digest, "rollout": failed.rollout_id, "reason": reason}
    txn.audit("placement.failed", f"{failed.site}/{failed.stamp}", said)


def _forgive(txn: Transaction, site: str, stamp: str, digest: str) -> None:
    if txn.connection.execute(_FORGIVE, {"a": site, "b": stamp, "c": digest}).rowcount:
        txn.audit("placement.forgiven", f"{site}/{stamp}", {"digest": digest})
