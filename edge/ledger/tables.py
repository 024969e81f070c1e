"""What the ledger stores, table by table. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from edge.ledger.columns import Json, Utc

REVISION = "0004"
"""The migration that makes these tables: what an up-to-date database says of itself."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

tenants = Table(
    "tenants",
    metadata,
    Column("name", String, primary_key=True),
    Column("display_name", String, nullable=False),
)

sites = Table(
    "sites",
    metadata,
    Column("name", String, primary_key=True),
    Column("tenant", ForeignKey("tenants.name"), nullable=False, index=True),
    Column("region", String, nullable=False),
    Column("role", String, nullable=False),
    Column("labels", Json, nullable=False),
    Column("when_offline", String, nullable=False),
    Column("time_zone", String, nullable=False),
    Column("state", String, nullable=False),
    Column("arc_id", String),
    Column("stamp", String),
    Column("arc_resource_group", String),
    Column("arc_location", String),
)

devices = Table(
    "devices",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("state", String, nullable=False, index=True),
    Column("registration", Json, nullable=False),
    Column("key", String, nullable=False),
    Column("registered_at", Utc, nullable=False),
    Column("last_contact", Utc),
    Column("tenant", ForeignKey("tenants.name")),
    Column("site", ForeignKey("sites.name")),
    Column("reason", Text, nullable=False),
    Column("via", String, nullable=False, server_default="event"),
    Column("generation", Integer, nullable=False, server_default="1"),
)

claims = Table(
    "claims",
    metadata,
    Column("device_id", ForeignKey("devices.device_id"), primary_key=True),
    Column("key", String, primary_key=True),
    Column("registration", Json, nullable=False),
    Column("first_at", Utc, nullable=False),
    Column("last_at", Utc, nullable=False),
    Column("via", String, nullable=False, server_default="event"),
)

challenges = Table(
    "challenges",
    metadata,
    Column("nonce", String, primary_key=True),
    Column("device_id", String, nullable=False),
    Column("issued_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False, index=True),
    Column("activation", String, nullable=False),
    Column("ak_name", String, nullable=False),
    Column("ek_fingerprint", String, nullable=False),
    Column("answered_at", Utc),
    Column("answer", String, nullable=False),
    Column("generation", Integer),
    Index("ix_challenges_device_id", "device_id", "answered_at"),
)

ownerships = Table(
    "ownerships",
    metadata,
    Column("ownership_id", String, primary_key=True),
    Column("serial", String, nullable=False, index=True),
    Column("tenant", ForeignKey("tenants.name"), nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("issuer", String, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("ek_fingerprint", String, nullable=False),
    Column("used_by", String, index=True),
    Column("used_generation", Integer),
    Column("used_at", Utc),
    Column("ended_at", Utc),
)

revocation_lists = Table(
    "revocation_lists",
    metadata,
    Column("issuer", String, primary_key=True),
    Column("issuer_name", String, nullable=False),
    Column("number", String, nullable=False),
    Column("this_update", Utc, nullable=False),
    Column("next_update", Utc),
    Column("pem", Text, nullable=False),
)

revoked_keys = Table(
    "revoked_keys",
    metadata,
    Column("fingerprint", String, primary_key=True),
    Column("device_id", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Utc, nullable=False),
)

inventory = Table(
    "inventory",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("vendor", String, nullable=False),
    Column("asset_tag", String, nullable=False),
    Column("purchased_on", Date),
    Column("warranty_until", Date),
    Column("note", Text, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("site", ForeignKey("sites.name"), nullable=False, index=True),
    Column("replaces", String, nullable=False),
    Column("made_at", Utc, nullable=False),
    Column("used_at", Utc),
)

update_attempts = Table(
    "update_attempts",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("device_id", String, nullable=False),
    Column("component", String, nullable=False),
    Column("version", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("from_version", String, nullable=False),
    Column("at", Utc, nullable=False),
    UniqueConstraint("device_id", "component", "version", "at"),
    Index("ix_update_attempts_component", "component", "outcome"),
)

site_identities = Table(
    "site_identities",
    metadata,
    Column("site", ForeignKey("sites.name"), primary_key=True),
    Column("expires_at", Utc, index=True),
    Column("last_connected_at", Utc),
    Column("connectivity", String, nullable=False),
    Column("seen_at", Utc, nullable=False),
)

stamps = Table(
    "stamps",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("recorded_at", Utc, nullable=False),
    Column("content", Json, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("rollout_id", String, primary_key=True),
    Column("stamp", String, nullable=False),
    Column("version", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("cohort", String, nullable=False),
    Column("state", String, nullable=False),
    Column("plan", Json, nullable=False),
    Column("started_at", Utc, nullable=False, index=True),
    Column("ended_at", Utc),
    Column("waiting", Text, nullable=False, server_default=""),
    Column("wake_at", Utc),
    Column("cancelled_at", Utc),
    Index("ix_rollouts_stamp", "stamp", "version"),
)

rollout_sites = Table(
    "rollout_sites",
    metadata,
    Column("rollout_id", ForeignKey("rollouts.rollout_id"), primary_key=True),
    Column("site", String, primary_key=True),
    Column("wave", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("status", String),
    Column("cause", Json),
    Column("detail", Json, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("precached_at", Utc),
)

rollout_waves = Table(
    "rollout_waves",
    metadata,
    Column("rollout_id", ForeignKey("rollouts.rollout_id"), primary_key=True),
    Column("wave", Integer, primary_key=True, autoincrement=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
)

rollout_gates = Table(
    "rollout_gates",
    metadata,
    Column("rollout_id", ForeignKey("rollouts.rollout_id"), primary_key=True),
    Column("wave", Integer, primary_key=True, autoincrement=False),
    Column("side", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("asked_at", Utc, nullable=False),
    Column("decided_at", Utc),
    Column("decided_by", String, nullable=False),
    Column("reason", Text, nullable=False),
)

placements = Table(
    "placements",
    metadata,
    Column("site", String, primary_key=True),
    Column("stamp", String, primary_key=True, index=True),
    Column("version", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("content", String, nullable=False),
    Column("rollout_id", String, nullable=False),
    Column("at", Utc, nullable=False),
    Column("inventory", Json, nullable=False),
    Column("parameters", Json, nullable=False),
)

failed_versions = Table(
    "failed_versions",
    metadata,
    Column("site", String, primary_key=True),
    Column("stamp", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("version", String, nullable=False),
    Column("rollout_id", String, nullable=False),
    Column("at", Utc, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_failed_versions_stamp", "stamp", "digest"),
)

_OPEN = text("state IN ('queued', 'running', 'quarantined')")

catch_ups = Table(
    "catch_ups",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("site", String, nullable=False),
    Column("stamp", String, nullable=False),
    Column("version", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("rollout_id", String, nullable=False),
    Column("objective_s", Float, nullable=False),
    Column("queued_at", Utc, nullable=False),
    Column("returned_at", Utc),
    Column("ended_at", Utc),
    Column("state", String, nullable=False),
    Column("by_rollout", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approved_by", String, nullable=False),
    Index("ix_catch_ups_site", "site", "stamp"),
    Index("uq_catch_ups_open", "site", "stamp", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
)

site_holds = Table(
    "site_holds",
    metadata,
    Column("site", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("until", Utc, nullable=False),
    Column("reason", Text, nullable=False),
    Column("held_by", String, nullable=False),
)

drift = Table(
    "drift",
    metadata,
    Column("key", String, primary_key=True),
    Column("site", String, nullable=False),
    Column("stamp", String, nullable=False),
    Column("finding", Json, nullable=False),
    Column("first_seen", Utc, nullable=False),
    Column("last_seen", Utc, nullable=False),
    Index("ix_drift_site", "site", "stamp"),
)

steps = Table(
    "steps",
    metadata,
    Column("work", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("step", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("ended_at", Utc),
    Column("detail", Json, nullable=False),
    Column("cause", Json),
    sqlite_with_rowid=False,
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False, index=True),
    Column("until", Utc, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("source", String, nullable=False),
    Column("id", String, nullable=False),
    Column("type", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("time", Utc, nullable=False),
    Column("data", Json, nullable=False),
    Column("digest", String, nullable=False),
    Column("state", String, nullable=False),
    Column("batch", String, index=True),
    Column("received_at", Utc, nullable=False),
    Column("sent_at", Utc),
    Column("sends", Integer, nullable=False),
    Column("claimed_at", Utc),
    Column("claimed_by", String, nullable=False),
    Column("via", String, nullable=False, server_default="event"),
    UniqueConstraint("source", "id"),
    Index("ix_inbox_state", "state", "sequence"),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", Utc, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String, nullable=False),
    Column("digest", String, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("digest", String, nullable=False),
)
