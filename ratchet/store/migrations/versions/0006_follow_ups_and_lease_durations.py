"""Failed follow-ups of a promotion, and the durations of leases."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add two columns, which are NULL in existing rows."""
    op.add_column("promotions", sa.Column("pending", sa.JSON(none_as_null=True)))
    op.add_column("leases", sa.Column("duration", sa.Float))
