"""The homes that use a store."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table; homes register themselves at their next start."""
    op.create_table(
        "machines",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("home", sa.Text, nullable=False),
        sa.Column("shared", sa.JSON, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
