"""Whether the chance of a label depended on the answer."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "label_checks",
        sa.Column("id", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("biased", sa.Boolean, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("ix_label_checks_model_id", "label_checks", ["model", "id"])
