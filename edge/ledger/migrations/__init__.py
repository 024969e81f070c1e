"""The ledger's tables through time. `edge.ledger.migrate` runs these; nobody needs the Alembic command."""
