"""What Alembic runs: the migrations, on the connection and in the transaction that the ledger has opened for them."""

from __future__ import annotations

from alembic import context

from edge.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
