"""The challengers that were tried on each holdout."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table; earlier trials are unknown and do not count."""
    op.create_table(
        "holdout_trials",
        sa.Column("id", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("trial", sa.String(64), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("ids", sa.LargeBinary, nullable=False),
        sa.Column("contents", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("model", "trial", name="uq_holdout_trials_trial"),
    )
    op.create_index("ix_holdout_trials_model_id", "holdout_trials", ["model", "id"])
