"""Who works on what right now, so that two runs do not work on one device at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "leases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False, index=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    )
