"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make everything."""
    _fleet()
    _stamps()
    _rollouts()
    _steps()
    _inbox()
    _audit()
    _seal_audit()


def _fleet() -> None:
    op.create_table(
        "tenants",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("display_name", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tenants"),
    )
    op.create_table(
        "sites",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("tenant", sa.String, sa.ForeignKey("tenants.name", name="fk_sites_tenant"), nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("when_offline", sa.String, nullable=False),
        sa.Column("time_zone", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("arc_id", sa.String),
        sa.PrimaryKeyConstraint("name", name="pk_sites"),
    )
    op.create_index("ix_sites_tenant", "sites", ["tenant"])
    op.create_table(
        "devices",
        sa.Column("device_id", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("registration", sa.JSON, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.Column("last_contact", MOMENT),
        sa.Column("tenant", sa.String, sa.ForeignKey("tenants.name", name="fk_devices_tenant")),
        sa.Column("site", sa.String, sa.ForeignKey("sites.name", name="fk_devices_site")),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("device_id", name="pk_devices"),
    )
    op.create_index("ix_devices_state", "devices", ["state"])
    op.create_table(
        "claims",
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.device_id", name="fk_claims_device_id")),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("registration", sa.JSON, nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("device_id", "key", name="pk_claims"),
    )


def _stamps() -> None:
    op.create_table(
        "stamps",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_stamps"),
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("rollout_id", sa.String, nullable=False),
        sa.Column("stamp", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("cohort", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("rollout_id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_started_at", "rollouts", ["started_at"])
    op.create_index("ix_rollouts_stamp", "rollouts", ["stamp", "version"])
    op.create_table(
        "rollout_sites",
        sa.Column("rollout_id", sa.String, sa.ForeignKey("rollouts.rollout_id", name="fk_rollout_sites_rollout_id")),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("status", sa.String),
        sa.Column("cause", sa.JSON),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("rollout_id", "site", name="pk_rollout_sites"),
    )


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("work", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("cause", sa.JSON),
        sa.PrimaryKeyConstraint("work", "subject", "step", name="pk_steps"),
        sqlite_with_rowid=False,
    )


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("batch", sa.String),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT),
        sa.Column("sends", sa.Integer, nullable=False),
        sa.Column("claimed_at", MOMENT),
        sa.Column("claimed_by", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_inbox"),
        sa.UniqueConstraint("source", "id", name="uq_inbox_source"),
    )
    op.create_index("ix_inbox_batch", "inbox", ["batch"])
    op.create_index("ix_inbox_state", "inbox", ["state", "sequence"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("sequence", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
        sa.CheckConstraint("id = 1", name="ck_audit_head_one_row"),
    )
    op.bulk_insert(head, [{"id": 1, "count": 0, "digest": "0" * 64}])


def _seal_audit() -> None:
    """The database itself refuses to change or remove a row. It stops accidents; the chain is there for the rest."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = '23001'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
    )
