"""The ledger of erasures, and the predictions of each."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("selection", sa.Text, nullable=False),
        sa.Column("n_predictions", sa.Integer, nullable=False),
        sa.Column("places", sa.JSON, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
    )
    op.create_index("ix_erasures_model_id", "erasures", ["model", "id"])
    op.create_table(
        "erased_predictions",
        sa.Column("erasure", sa.Integer, primary_key=True),
        sa.Column("prediction_id", sa.String(64), primary_key=True),
    )
    op.create_index("ix_erased_predictions_prediction_id", "erased_predictions", ["prediction_id"])
