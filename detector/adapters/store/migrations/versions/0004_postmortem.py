"""Where post-mortems stand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add their table."""
    op.create_table(
        "postmortem",
        sa.Column("incident", sa.String, primary_key=True),
        sa.Column("due", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("finished_by", sa.String),
        sa.Column("reminded_at", sa.Double),
    )
    op.create_index("postmortem_due", "postmortem", ["due"])
