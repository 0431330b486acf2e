"""Lists of incidents read their filters from the index that has their order."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put an index that covers the filters in the place of the one that has the order only."""
    op.drop_index("incident_opened", "incident")
    op.create_index("incident_listing", "incident", ["opened", "id", "status", "severity", "service"])
