"""Revocations: the issuers' lists, and the keys that were revoked here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from edge.ledger.store import Book
from edge.ledger.tables import revocation_lists, revoked_keys
from edge.ledger.writer import Transaction
from edge.model.admission import RevocationList, RevokedKey


class Revocations(Book):
    """Whom nobody lets in any more."""

    def put_list(self, given: RevocationList) -> bool:
        """Keep an issuer's list when it is newer than the one on record: by its number, then by its time.

        Answers whether it was kept. An older list never comes back, or a stolen key could be un-revoked with it.
        """
        return self._store.write(lambda txn: _put_list(txn, given))

    def lists(self) -> tuple[RevocationList, ...]:
        """The newest list of each issuer, by the issuer's name."""
        wanted = select(revocation_lists).order_by(revocation_lists.c.issuer_name, revocation_lists.c.issuer)
        with self._store.read() as connection:
            return tuple(_list(row) for row in connection.execute(wanted).mappings())

    def revoke_key(self, fingerprint: str, *, device_id: str, reason: str, at: datetime) -> RevokedKey:
        """Let nobody in with this key any more. One that is revoked keeps its reason and its time."""
        revoked = RevokedKey(fingerprint=fingerprint, device_id=device_id, reason=reason, at=at)
        return self._store.write(lambda txn: _revoke(txn, revoked))

    def restore_key(self, fingerprint: str) -> bool:
        """Take a revocation back; answers whether there was one."""
        return self._store.write(lambda txn: _restore(txn, fingerprint))

    def revoked(self, fingerprints: Iterable[str]) -> frozenset[str]:
        """Those of the fingerprints that were revoked here."""
        wanted = select(revoked_keys.c.fingerprint).where(revoked_keys.c.fingerprint.in_(set(fingerprints)))
        with self._store.read() as connection:
            return frozenset(connection.execute(wanted).scalars())

    def keys(self) -> tuple[RevokedKey, ...]:
        """Every key that was revoked here, oldest first."""
        wanted = select(revoked_keys).order_by(revoked_keys.c.at, revoked_keys.c.fingerprint)
        with self._store.read() as connection:
            return tuple(RevokedKey.model_validate(dict(row)) for row in connection.execute(wanted).mappings())


def _list(row: RowMapping) -> RevocationList:
    return RevocationList.model_validate({**row, "number": int(row["number"])})


def _put_list(txn: Transaction, given: RevocationList) -> bool:
    this = revocation_lists.c.issuer == given.issuer
    row = txn.connection.execute(select(revocation_lists).where(this).with_for_update()).mappings().one_or_none()
    fields = {**given.model_dump(), "number": str(given.number)}
    if row is None:
        txn.connection.execute(insert(revocation_lists), fields)
    elif (given.number, given.this_update) > ((known := _list(row)).number, known.this_update):
        txn.connection.execute(update(revocation_lists).where(this).values(**fields))
    else:
        return False
    detail = {"issuer": given.issuer_name, "number": str(given.number), "this_update": given.this_update.isoformat()}
    txn.audit("revocation-list.kept", given.issuer, detail)
    return True


def _known(connection: Connection, fingerprint: str) -> RevokedKey | None:
    wanted = select(revoked_keys).where(revoked_keys.c.fingerprint == fingerprint)
    row = connection.execute(wanted).mappings().one_or_none()
    return None if row is None else RevokedKey.model_validate(dict(row))


def _revoke(txn: Transaction, revoked: RevokedKey) -> RevokedKey:
    known = _known(txn.connection, revoked.fingerprint)
    if known is not None:
        return known
    txn.connection.execute(insert(revoked_keys), revoked.model_dump())
    txn.audit("key.revoked", revoked.device_id, {"fingerprint": revoked.fingerprint, "reason": revoked.reason})
    return revoked


def _restore(txn: Transaction, fingerprint: str) -> bool:
    known = _known(txn.connection, fingerprint)
    if known is None:
        return False
    txn.connection.execute(delete(revoked_keys).where(revoked_keys.c.fingerprint == fingerprint))
    txn.audit("key.restored", known.device_id, {"fingerprint": fingerprint})
    return True
