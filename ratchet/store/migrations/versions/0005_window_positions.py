"""How far the labels of a version were judged in windows."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table; without a position, the newest window with a verdict is the position."""
    op.create_table(
        "window_positions",
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("version", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
    )
