"""The inventory: what an operator knows of a device. A device need not have registered to have a row."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from edge.ledger.store import Book
from edge.ledger.tables import inventory
from edge.ledger.writer import Transaction
from edge.model.device import Inventory


class Inventories(Book):
    """One row per device that an operator said something about."""

    def put(self, item: Inventory) -> Inventory:
        """Store the row as it is. The same again changes nothing."""
        return self._store.write(lambda txn: _put(txn, item))

    def get(self, device_id: str) -> Inventory:
        """The device's row; one that says nothing when there is none."""
        with self._store.read() as connection:
            return _find(connection, device_id) or Inventory(device_id=device_id)

    def list(self) -> dict[str, Inventory]:
        """Every row, by the device's id."""
        with self._store.read() as connection:
            rows = connection.execute(select(inventory).order_by(inventory.c.device_id)).mappings()
            return {row["device_id"]: Inventory.model_validate(dict(row)) for row in rows}


def _find(connection: Connection, device_id: str) -> Inventory | None:
    row = connection.execute(select(inventory).where(inventory.c.device_id == device_id)).mappings().one_or_none()
    return None if row is None else Inventory.model_validate(dict(row))


def _put(txn: Transaction, item: Inventory) -> Inventory:
    known = _find(txn.connection, item.device_id)
    before, after = (known or Inventory(device_id=item.device_id)).model_dump(mode="json"), item.model_dump(mode="json")
    changed = {field: value for field, value in after.items() if value != before[field]}
    if known is None:
        txn.connection.execute(insert(inventory), item.model_dump())
    elif changed:
        txn.connection.execute(
            update(inventory).where(inventory.c.device_id == item.device_id).values(**item.model_dump())
        )
    if changed:
        txn.audit("inventory.changed", item.device_id, changed)
    return item
