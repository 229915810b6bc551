"""The tables of the store; a test compares them with the migrations."""

from __future__ import annotations

import sqlalchemy as sa

# SQLite numbers rows by itself only in a column of type INTEGER.
_Counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")

metadata = sa.MetaData()

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("operation_id", sa.String(64), nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("from_version", sa.String(16)),
    sa.Column("to_version", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.String(256), nullable=False),
    sa.Column("run_id", sa.String(64)),
    sa.Column("data_version", sa.String(64)),
    sa.Column("digest", sa.String(64)),
    sa.Column("gate", sa.JSON),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("pending", sa.JSON(none_as_null=True)),
    sa.UniqueConstraint("model", "operation_id", name="uq_promotions_model_operation_id"),
    sa.Index("ix_promotions_model_id", "model", "id"),
    sa.Index("ix_promotions_model_state", "model", "state"),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("holder", sa.String(256)),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    # Seconds for which it was granted or renewed; NULL in rows of earlier versions.
    sa.Column("duration", sa.Float),
)

# The id of a prediction: a UUID, or that of a batch with the number of a row.
_PredictionId = sa.String(64)

# One row for each answer, written before the answer is sent. Ids sort by time, so that the primary key finds an id and
# a span of time; a further index would be written for every answer.
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("id", _PredictionId, primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("version", sa.String(16), nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("prediction", sa.JSON, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("probabilities", sa.JSON),
    sa.Column("latency", sa.Float, nullable=False),
    sqlite_with_rowid=False,
)

# One row for each batch of predictions; see ``ratchet.store.prediction_batches``.
prediction_batches = sa.Table(
    "prediction_batches",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("version", sa.String(16), nullable=False),
    sa.Column("n_rows", sa.Integer, nullable=False),
    sa.Column("latency", sa.Float, nullable=False),
    # The last column, so that SQLite reads the others without it.
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Index("ix_prediction_batches_model_id", "model", "id"),
)

# Predictions that were inserted late, such as from a journal, and are in no drift window yet. The id of a batch stands
# for all its rows, and the id of a row of a batch for the rows after it.
late_predictions = sa.Table(
    "late_predictions",
    metadata,
    sa.Column("model", sa.String(256), primary_key=True),
    sa.Column("version", sa.String(16), primary_key=True),
    sa.Column("id", _PredictionId, primary_key=True),
)

# Feedback on predictions. Rows are added and never changed, except for ``superseded_by``, so that the labels that were
# current at a watermark can be read again. ``seq`` follows the order of commits.
feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("seq", _Counter, primary_key=True, autoincrement=True),
    sa.Column("prediction_id", _PredictionId, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("version", sa.String(16), nullable=False),
    sa.Column("target", sa.JSON(none_as_null=True)),
    sa.Column("correct", sa.Boolean),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("superseded_by", sa.BigInteger),
    sa.UniqueConstraint("prediction_id", "revision", name="uq_feedback_prediction_id_revision"),
    sa.Index("ix_feedback_model_seq", "model", "seq"),
    sa.Index("ix_feedback_model_version_seq", "model", "version", "seq"),
)

# The drift result of each window of production rows, and of each training set.
drift_results = sa.Table(
    "drift_results",
    metadata,
    sa.Column("id", _Counter, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("version", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("first_prediction", _PredictionId),
    sa.Column("last_prediction", _PredictionId),
    sa.Column("run_id", sa.String(64)),
    sa.Column("n_rows", sa.Integer, nullable=False),
    sa.Column("detected", sa.Boolean, nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.UniqueConstraint("model", "version", "last_prediction", name="uq_drift_results_window"),
    sa.Index("ix_drift_results_model_kind_id", "model", "kind", "id"),
)

# The quality of the champion on each window of labelled rows.
quality_results = sa.Table(
    "quality_results",
    metadata,
    sa.Column("id", _Counter, primary_key=True, autoincrement=True),
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
    sa.Index("ix_quality_results_model_id", "model", "id"),
)

# The newest feedback that was judged in windows, also in those without a verdict.
window_positions = sa.Table(
    "window_positions",
    metadata,
    sa.Column("model", sa.String(256), primary_key=True),
    sa.Column("version", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
)

# Whether the chance of a label depended on the answer, at a watermark.
label_checks = sa.Table(
    "label_checks",
    metadata,
    sa.Column("id", _Counter, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("biased", sa.Boolean, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Index("ix_label_checks_model_id", "model", "id"),
)

# The runs of continuous training: one row for each watermark and config.
training_runs = sa.Table(
    "training_runs",
    metadata,
    sa.Column("id", _Counter, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("watermark", sa.BigInteger, nullable=False),
    sa.Column("config_hash", sa.String(12), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    # The names of the triggers that fired, separated by commas; empty for a run that a user started.
    sa.Column("triggers", sa.String(64), nullable=False, server_default=""),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("snapshot", sa.String(32)),
    sa.Column("version", sa.String(16)),
    sa.Column("run_id", sa.String(64)),
    sa.Column("outcome", sa.Text),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.UniqueConstraint("model", "watermark", "config_hash", name="uq_training_runs_watermark"),
    sa.Index("ix_training_runs_model_id", "model", "id"),
    sa.Index("ix_training_runs_model_state_id", "model", "state", "id"),
)

# The last check of each model by a watcher.
heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("model", sa.String(256), primary_key=True),
    sa.Column("looked_at", sa.Float, nullable=False),
    sa.Column("interval", sa.Float, nullable=False),
)

# The homes that use this store, with fingerprints of what they have to share.
machines = sa.Table(
    "machines",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("home", sa.Text, nullable=False),
    sa.Column("shared", sa.JSON, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
)

# The challengers that were compared with a champion, with sketches of the held-out rows; see
# ``ratchet.registry.holdout_trials``.
holdout_trials = sa.Table(
    "holdout_trials",
    metadata,
    sa.Column("id", _Counter, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("trial", sa.String(64), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("ids", sa.LargeBinary, nullable=False),
    sa.Column("contents", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.UniqueConstraint("model", "trial", name="uq_holdout_trials_trial"),
    sa.Index("ix_holdout_trials_model_id", "model", "id"),
)

# The highest prediction id that retention has moved out of the store, and whether into the archive.
retention_positions = sa.Table(
    "retention_positions",
    metadata,
    sa.Column("model", sa.String(256), primary_key=True),
    sa.Column("last_prediction", sa.String(64), nullable=False),
    sa.Column("archived", sa.Boolean, nullable=False),
    sa.Column("moved_at", sa.Float, nullable=False),
)

# The ledger of erasures: whose predictions' features were removed from where; see ``ratchet.store.erasures``.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("actor", sa.String(256), nullable=False),
    # The names of the columns that were searched, or the words "prediction ids"; never a value.
    sa.Column("selection", sa.Text, nullable=False),
    sa.Column("n_predictions", sa.Integer, nullable=False),
    # Rows that were found by kind of place.
    sa.Column("places", sa.JSON, nullable=False),
    # The versions that were trained on some of the rows.
    sa.Column("versions", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Index("ix_erasures_model_id", "model", "id"),
)

# The predictions of each erasure, so that it can be resumed, and repeated in another home.
erased_predictions = sa.Table(
    "erased_predictions",
    metadata,
    sa.Column("erasure", sa.Integer, primary_key=True),
    sa.Column("prediction_id", sa.String(64), primary_key=True),
    sa.Index("ix_erased_predictions_prediction_id", "prediction_id"),
)
