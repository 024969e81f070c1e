"""What a rollout waits for and who approved it; what sites have, missed, ask for, and how they drifted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add columns and tables; every row that is there stays."""
    _columns()
    _waves()
    _placements()
    _catch_ups()
    _holds()
    _drift()


def _columns() -> None:
    """Each has a constant default, or none: SQLite can add such columns in place."""
    op.add_column("rollouts", sa.Column("waiting", sa.Text, nullable=False, server_default=""))
    op.add_column("rollouts", sa.Column("wake_at", MOMENT))
    op.add_column("rollouts", sa.Column("cancelled_at", MOMENT))
    op.add_column("rollout_sites", sa.Column("precached_at", MOMENT))


def _waves() -> None:
    op.create_table(
        "rollout_waves",
        sa.Column(
            "rollout_id",
            sa.String,
            sa.ForeignKey("rollouts.rollout_id", name="fk_rollout_waves_rollout_id"),
            nullable=False,
        ),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("rollout_id", "wave", name="pk_rollout_waves"),
    )
    op.create_table(
        "rollout_gates",
        sa.Column(
            "rollout_id",
            sa.String,
            sa.ForeignKey("rollouts.rollout_id", name="fk_rollout_gates_rollout_id"),
            nullable=False,
        ),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("side", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("decided_at", MOMENT),
        sa.Column("decided_by", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "wave", "side", name="pk_rollout_gates"),
    )


def _placements() -> None:
    op.create_table(
        "placements",
        sa.Column("site", sa.String, nullable=False),
        sa.Column("stamp", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("content", sa.String, nullable=False),
        sa.Column("rollout_id", sa.String, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("inventory", sa.JSON, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("site", "stamp", name="pk_placements"),
    )
    op.create_index("ix_placements_stamp", "placements", ["stamp"])
    op.create_table(
        "failed_versions",
        sa.Column("site", sa.String, nullable=False),
        sa.Column("stamp", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("rollout_id", sa.String, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("site", "stamp", "digest", name="pk_failed_versions"),
    )
    op.create_index("ix_failed_versions_stamp", "failed_versions", ["stamp", "digest"])


def _catch_ups() -> None:
    open_states = "state IN ('queued', 'running', 'quarantined')"
    op.create_table(
        "catch_ups",
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("stamp", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("rollout_id", sa.String, nullable=False),
        sa.Column("objective_s", sa.Float, nullable=False),
        sa.Column("queued_at", MOMENT, nullable=False),
        sa.Column("returned_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("by_rollout", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("approved_by", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_catch_ups"),
    )
    op.create_index("ix_catch_ups_site", "catch_ups", ["site", "stamp"])
    op.create_index(
        "uq_catch_ups_open",
        "catch_ups",
        ["site", "stamp"],
        unique=True,
        sqlite_where=sa.text(open_states),
        postgresql_where=sa.text(open_states),
    )


def _holds() -> None:
    op.create_table(
        "site_holds",
        sa.Column("site", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("held_by", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("site", "kind", name="pk_site_holds"),
    )


def _drift() -> None:
    op.create_table(
        "drift",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("stamp", sa.String, nullable=False),
        sa.Column("finding", sa.JSON, nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_drift"),
    )
    op.create_index("ix_drift_site", "drift", ["site", "stamp"])
