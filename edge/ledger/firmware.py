"""Updates of firmware and operating system: every try on every device, so that what failed there stays known."""

from __future__ import annotations

from sqlalchemy import Connection, Select, insert, select

from edge.errors import LedgerMismatch
from edge.ledger.store import Book
from edge.ledger.tables import update_attempts
from edge.ledger.writer import Transaction
from edge.model.firmware import Component, UpdateAttempt, UpdateOutcome


class Firmware(Book):
    """What was tried where, and how it ended."""

    def record(self, attempt: UpdateAttempt) -> UpdateAttempt:
        """Keep it. The same again changes nothing; another end of the same try raises LedgerMismatch.

        A try is known by device, component, version and time.
        """
        return self._store.write(lambda txn: _record(txn, attempt))

    def attempts(self, device_id: str) -> tuple[UpdateAttempt, ...]:
        """Every try on the device, oldest first."""
        with self._store.read() as connection:
            return _found(connection, _ALL.where(update_attempts.c.device_id == device_id))

    def failed_versions(self, device_id: str, component: Component) -> frozenset[str]:
        """Versions that fell back or failed on the device and were not confirmed on it later."""
        failed: set[str] = set()
        for attempt in self.attempts(device_id):
            if attempt.component is not component:
                continue
            if attempt.outcome is UpdateOutcome.CONFIRMED:
                failed.discard(attempt.version)
            elif attempt.outcome is not UpdateOutcome.SILENT:
                failed.add(attempt.version)
        return frozenset(failed)

    def confirmed(self, component: Component) -> dict[str, str]:
        """The version that each device confirmed last, by the device's id."""
        this, good = update_attempts.c.component == component, update_attempts.c.outcome == UpdateOutcome.CONFIRMED
        with self._store.read() as connection:
            return {attempt.device_id: attempt.version for attempt in _found(connection, _ALL.where(this, good))}


_ALL = select(update_attempts).order_by(update_attempts.c.at, update_attempts.c.sequence)


def _found(connection: Connection, wanted: Select[tuple[object, ...]]) -> tuple[UpdateAttempt, ...]:
    rows = connection.execute(wanted).mappings()
    return tuple(
        UpdateAttempt.model_validate({field: row[field] for field in UpdateAttempt.model_fields}) for row in rows
    )


def _record(txn: Transaction, attempt: UpdateAttempt) -> UpdateAttempt:
    fields = attempt.model_dump()
    same = [update_attempts.c[field] == fields[field] for field in ("device_id", "component", "version", "at")]
    for known in _found(txn.connection, _ALL.where(*same)):
        if known != attempt:
            raise LedgerMismatch(
                "Another end of this try is recorded", device=attempt.device_id, version=attempt.version
            )
        return known
    txn.connection.execute(insert(update_attempts), fields)
    detail = {"component": attempt.component, "version": attempt.version, "outcome": attempt.outcome}
    txn.audit("update.ended", attempt.device_id, {**detail, "from": attempt.from_version})
    return attempt
