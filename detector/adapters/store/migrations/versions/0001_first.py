"""The first schema: states, incidents, timeline, outbox, rule set, leases, the book lock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SHARDS = 64
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table, with one lease a shard and the book's one row."""
    _create_state()
    _create_incidents()
    _create_outbox()
    op.create_table(
        "rule_set",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("files", sa.Text, nullable=False),
    )
    lease = op.create_table(
        "lease",
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    book = op.create_table("book", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))
    op.bulk_insert(lease, [{"shard": shard, "holder": "", "epoch": 0, "expires": 0.0} for shard in range(SHARDS)])
    op.bulk_insert(book, [{"id": 1}])


def _create_state() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("rule", sa.String, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )


def _create_incidents() -> None:
    op.create_table(
        "incident",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("opened", sa.Double, nullable=False),
        sa.Column("detected", sa.Double, nullable=False),
        sa.Column("closed", sa.Double),
        sa.Column("due", sa.Double),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("incident_status", "incident", ["status"])
    op.create_index("incident_opened", "incident", ["opened", "id"])
    op.create_table(
        "event",
        sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("incident", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("message", sa.String, nullable=False),
    )
    op.create_index("event_incident", "event", ["incident", "at", "seq"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("incident", sa.String, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("retry_at", sa.Double),
        sa.Column("first_attempt", sa.Double),
        sa.Column("claimed_by", sa.String),
        sa.Column("claim_epoch", sa.BigInteger),
        sa.Column("claimed_at", sa.Double),
        sa.Column("delivered_at", sa.Double),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("credential", sa.String),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("outbox_state", "outbox", ["state", "channel"])
    op.create_index("outbox_order", "outbox", ["incident", "channel", "route", "seq"])
    op.create_index("outbox_key", "outbox", ["key"])
