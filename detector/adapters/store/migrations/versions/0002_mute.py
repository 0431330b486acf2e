"""Silences and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add their table."""
    op.create_table(
        "mute",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("matchers", sa.Text, nullable=False),
        sa.Column("starts", sa.Double, nullable=False),
        sa.Column("ends", sa.Double, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expired_at", sa.Double),
        sa.Column("expired_by", sa.String),
    )
    op.create_index("mute_ends", "mute", ["ends"])
