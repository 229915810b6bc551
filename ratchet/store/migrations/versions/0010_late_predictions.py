"""Predictions that were inserted late and are in no drift window yet."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table; predictions that were late before are unknown and are not judged."""
    op.create_table(
        "late_predictions",
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("version", sa.String(16), primary_key=True),
        sa.Column("id", sa.String(36), primary_key=True),
    )
