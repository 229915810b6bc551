from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ratchet.data.schema import Field, Schema
from ratchet.errors import InputError, StateError
from ratchet.model.record_schema import LARGEST, RecordReader
from ratchet.store.database import Store
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import insert_predictions
from ratchet.store.tables import predictions
from tests.store_rows import prediction


def count(store: Store) -> int:
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(predictions)) or 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"score": None, "probabilities": None, "prediction": 151.5},
        {"prediction": 3, "probabilities": {"3": 0.5, "4": 0.5}},
        {"features": {}},
        {"features": {"x": None, "y": LARGEST, "z": -1e-300, 'odd "name"\' %s': "%(x)s '; --", "ü": "日本 \\ \n 🙂"}},
    ],
    ids=["label", "number", "int", "empty", "odd"],
)
def test_a_row_is_found_as_it_was_written(store: Store, changes: dict[str, Any]) -> None:
    row = prediction(1, **changes)
    insert_predictions(store, [prediction(0), row, prediction(2)])
    assert find_prediction(store, row["id"]) == row


def test_an_unknown_id_is_not_found(store: Store) -> None:
    insert_predictions(store, [prediction(1)])
    assert find_prediction(store, prediction(2)["id"]) is None


def test_a_row_whose_id_exists_is_not_changed(store: Store) -> None:
    insert_predictions(store, [prediction(1)])
    insert_predictions(store, [prediction(0), prediction(1, version="4"), prediction(2)])
    assert find_prediction(store, prediction(1)["id"]) == prediction(1)
    assert count(store) == 3


def test_the_same_row_twice_in_one_call_is_one_row(store: Store) -> None:
    insert_predictions(store, [prediction(1), prediction(1)])
    assert count(store) == 1


def test_rows_are_written_together_or_not_at_all(store: Store) -> None:
    with pytest.raises(StateError):
        insert_predictions(store, [prediction(1), prediction(2, model=None), prediction(3)])
    assert count(store) == 0
    insert_predictions(store, [prediction(1)])
    assert count(store) == 1, "a failure leaves no lock and no transaction behind"


def test_a_large_batch_is_written(store: Store) -> None:
    insert_predictions(store, [prediction(number) for number in range(10_000)])
    assert count(store) == 10_000


def test_nothing_is_written_to_a_locked_store(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db", timeout=0.1)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="database is locked; nothing was written"):
        insert_predictions(store, [prediction(1)])
    other.execute("ROLLBACK")
    other.close()
    assert count(store) == 0
    insert_predictions(store, [prediction(1)])
    assert count(store) == 1
    store.engine.dispose()


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", "\x01\x1f\x7f", "\ufffe\uffff", "\U0010ffff", "'; DROP TABLE predictions"]
)
def test_every_text_that_the_reader_accepts_can_be_stored(store: Store, text: str) -> None:
    schema = Schema(
        features=(Field(name="plan", type="category", nullable=False),), target="left", labels=("no", "yes")
    )
    reader = RecordReader(schema)
    with contextlib.suppress(InputError):  # which would be an answer too
        row = prediction(1, features=reader.read(json.dumps({"plan": text}).encode()))
        insert_predictions(store, [row, prediction(2)])
        assert find_prediction(store, row["id"]) == row
