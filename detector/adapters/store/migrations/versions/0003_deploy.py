"""Deploys that were told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add their table."""
    op.create_table(
        "deploy",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
    )
    op.create_index("deploy_service", "deploy", ["service", "at"])
