"""Heartbeats of watchers, and the triggers of a run."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# Before this migration, only the reason held the names: "drift: …; every_k_labels: …".
_NAMED = re.compile(r"(?:^|; )(every_k_labels|drift|quality_drop|cron): ")


def upgrade() -> None:
    """Create the table, the column and its index, and fill the column."""
    op.create_table(
        "heartbeats",
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("looked_at", sa.Float, nullable=False),
        sa.Column("interval", sa.Float, nullable=False),
    )
    op.add_column("training_runs", sa.Column("triggers", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_training_runs_model_state_id", "training_runs", ["model", "state", "id"])
    runs = sa.table("training_runs", sa.column("id"), sa.column("reason"), sa.column("triggers"))
    connection = op.get_bind()
    for number, reason in connection.execute(sa.select(runs.c.id, runs.c.reason)).all():
        names = ",".join(dict.fromkeys(_NAMED.findall(reason)))
        if names:
            connection.execute(sa.update(runs).where(runs.c.id == number).values(triggers=names))
