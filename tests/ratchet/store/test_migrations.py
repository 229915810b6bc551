"""What migrations do with existing rows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ratchet.loop.training_runs import TrainingRuns
from ratchet.store import database
from ratchet.store.database import Store

REASONS = {
    "every_k_labels: 200 new labels and more": "every_k_labels",
    "drift: drift in 2 of the last 3 windows; quality_drop: quality in 2 of the last 2 windows": "drift,quality_drop",
    "begun by the person on call: drift was seen": "",
}


def migrated_to_0003(store: Store) -> None:
    with store.transaction() as connection:
        database._upgrade(connection, "0003")


def test_the_triggers_of_earlier_runs_are_read_from_their_reasons(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_migrate", migrated_to_0003)
        old = Store(store_url)
    run = "INSERT INTO training_runs (model, watermark, config_hash, state, reason, attempts, created_at)"
    with old.transaction() as connection:
        for watermark, reason in enumerate(REASONS):
            statement = sa.text(f"{run} VALUES ('iris', :watermark, 'c', 'refused', :reason, 1, 0)")
            connection.execute(statement, {"watermark": watermark, "reason": reason})
    old.engine.dispose()
    new = Store(store_url)
    assert {found.reason: found.triggers for found in TrainingRuns(new, "iris").history(9)} == REASONS
    new.engine.dispose()
