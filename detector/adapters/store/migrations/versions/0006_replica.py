"""Several replicas: who is alive, that something was committed, and openings of which nobody knows whether they were sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two tables and a column with a default: the process of the revision before goes on."""
    op.create_table(
        "replica",
        sa.Column("holder", sa.String, primary_key=True),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("blind", sa.Integer, nullable=False, server_default=sa.text("0")),
    )
    op.create_table(
        "doubt",
        sa.Column("notice", sa.String, primary_key=True),
        sa.Column("incident", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
    )
    op.add_column("book", sa.Column("revision", sa.BigInteger, nullable=False, server_default=sa.text("0")))
