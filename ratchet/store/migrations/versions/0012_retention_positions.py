"""How far retention has moved predictions out of the store."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "retention_positions",
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("last_prediction", sa.String(64), nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.Column("moved_at", sa.Float, nullable=False),
    )
