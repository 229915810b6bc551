"""Feedback, drift and quality results, and the runs of continuous training."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "feedback",
        sa.Column("seq", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("prediction_id", sa.String(36), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("target", sa.JSON(none_as_null=True)),
        sa.Column("correct", sa.Boolean),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("superseded_by", sa.BigInteger),
        sa.UniqueConstraint("prediction_id", "revision", name="uq_feedback_prediction_id_revision"),
    )
    op.create_index("ix_feedback_model_seq", "feedback", ["model", "seq"])
    op.create_index("ix_feedback_model_version_seq", "feedback", ["model", "version", "seq"])
    op.create_table(
        "drift_results",
        sa.Column("id", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("first_prediction", sa.String(36)),
        sa.Column("last_prediction", sa.String(36)),
        sa.Column("run_id", sa.String(64)),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("detected", sa.Boolean, nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("model", "version", "last_prediction", name="uq_drift_results_window"),
    )
    op.create_index("ix_drift_results_model_kind_id", "drift_results", ["model", "kind", "id"])
    op.create_table(
        "quality_results",
        sa.Column("id", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("estimate", sa.Float),
        sa.Column("dropped", sa.Boolean, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("model", "version", "metric", "last_seq", name="uq_quality_results_window"),
    )
    op.create_index("ix_quality_results_model_id", "quality_results", ["model", "id"])
    op.create_table(
        "training_runs",
        sa.Column("id", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("watermark", sa.BigInteger, nullable=False),
        sa.Column("config_hash", sa.String(12), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("snapshot", sa.String(32)),
        sa.Column("version", sa.String(16)),
        sa.Column("run_id", sa.String(64)),
        sa.Column("outcome", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.UniqueConstraint("model", "watermark", "config_hash", name="uq_training_runs_watermark"),
    )
    op.create_index("ix_training_runs_model_id", "training_runs", ["model", "id"])
