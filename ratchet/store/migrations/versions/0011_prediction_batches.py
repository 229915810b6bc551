"""Batches of predictions as Arrow tables, and room for the ids of their rows."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

# The columns that hold the id of a prediction.
_IDS = {
    "predictions": ("id",),
    "late_predictions": ("id",),
    "feedback": ("prediction_id",),
    "drift_results": ("first_prediction", "last_prediction"),
}


def upgrade() -> None:
    """Create the table, and widen the columns of ids, whose length SQLite does not enforce."""
    op.create_table(
        "prediction_batches",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("latency", sa.Float, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_prediction_batches_model_id", "prediction_batches", ["model", "id"])
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, columns in _IDS.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.String(64))
