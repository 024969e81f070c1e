"""What letting a device in rests on, its lives, its updates, and the clock of a site's identity."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add columns and tables; every row that is there stays."""
    _columns()
    _nobody_proved_a_key_before()
    _challenges()
    _ownerships()
    _revocations()
    _operators()
    _updates()
    _identities()


def _columns() -> None:
    """Each has a constant default, or none: SQLite can add such columns in place, and the audit's triggers stay."""
    for name in ("stamp", "arc_resource_group", "arc_location"):
        op.add_column("sites", sa.Column(name, sa.String))
    for table in ("devices", "claims", "inbox"):
        op.add_column(table, sa.Column("via", sa.String, nullable=False, server_default="event"))
    op.add_column("devices", sa.Column("generation", sa.Integer, nullable=False, server_default="1"))


def _nobody_proved_a_key_before() -> None:
    for name in ("devices", "claims"):
        key = sa.column("key", sa.String)
        rows = sa.table(name, key)
        op.execute(rows.update().where(key.not_like("unreadable:%")).values(key=sa.literal("unproven:") + key))


def _challenges() -> None:
    op.create_table(
        "challenges",
        sa.Column("nonce", sa.String, nullable=False),
        sa.Column("device_id", sa.String, nullable=False),
        sa.Column("issued_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("activation", sa.String, nullable=False),
        sa.Column("ak_name", sa.String, nullable=False),
        sa.Column("ek_fingerprint", sa.String, nullable=False),
        sa.Column("answered_at", MOMENT),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("generation", sa.Integer),
        sa.PrimaryKeyConstraint("nonce", name="pk_challenges"),
    )
    op.create_index("ix_challenges_expires_at", "challenges", ["expires_at"])
    op.create_index("ix_challenges_device_id", "challenges", ["device_id", "answered_at"])


def _ownerships() -> None:
    op.create_table(
        "ownerships",
        sa.Column("ownership_id", sa.String, nullable=False),
        sa.Column("serial", sa.String, nullable=False),
        sa.Column("tenant", sa.String, sa.ForeignKey("tenants.name", name="fk_ownerships_tenant"), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("issuer", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("ek_fingerprint", sa.String, nullable=False),
        sa.Column("used_by", sa.String),
        sa.Column("used_generation", sa.Integer),
        sa.Column("used_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("ownership_id", name="pk_ownerships"),
    )
    for column in ("serial", "tenant", "used_by"):
        op.create_index(f"ix_ownerships_{column}", "ownerships", [column])


def _revocations() -> None:
    op.create_table(
        "revocation_lists",
        sa.Column("issuer", sa.String, nullable=False),
        sa.Column("issuer_name", sa.String, nullable=False),
        # As text: RFC 5280 allows numbers of 20 octets, more than any integer column holds.
        sa.Column("number", sa.String, nullable=False),
        sa.Column("this_update", MOMENT, nullable=False),
        sa.Column("next_update", MOMENT),
        sa.Column("pem", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("issuer", name="pk_revocation_lists"),
    )
    op.create_table(
        "revoked_keys",
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("device_id", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_revoked_keys"),
    )


def _operators() -> None:
    """What an operator knows of a device, and the place that is kept for one. Either may come before the device."""
    op.create_table(
        "inventory",
        sa.Column("device_id", sa.String, nullable=False),
        sa.Column("vendor", sa.String, nullable=False),
        sa.Column("asset_tag", sa.String, nullable=False),
        sa.Column("purchased_on", sa.Date),
        sa.Column("warranty_until", sa.Date),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("device_id", name="pk_inventory"),
    )
    op.create_table(
        "reservations",
        sa.Column("device_id", sa.String, nullable=False),
        sa.Column("site", sa.String, sa.ForeignKey("sites.name", name="fk_reservations_site"), nullable=False),
        sa.Column("replaces", sa.String, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT),
        sa.PrimaryKeyConstraint("device_id", name="pk_reservations"),
    )
    op.create_index("ix_reservations_site", "reservations", ["site"])


def _updates() -> None:
    op.create_table(
        "update_attempts",
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("device_id", sa.String, nullable=False),
        sa.Column("component", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("from_version", sa.String, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_update_attempts"),
        sa.UniqueConstraint("device_id", "component", "version", "at", name="uq_update_attempts_device_id"),
    )
    op.create_index("ix_update_attempts_component", "update_attempts", ["component", "outcome"])


def _identities() -> None:
    op.create_table(
        "site_identities",
        sa.Column("site", sa.String, sa.ForeignKey("sites.name", name="fk_site_identities_site"), nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("last_connected_at", MOMENT),
        sa.Column("connectivity", sa.String, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("site", name="pk_site_identities"),
    )
    op.create_index("ix_site_identities_expires_at", "site_identities", ["expires_at"])
