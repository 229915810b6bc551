"""Predictions whose features were removed, and the files that held them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.store.database import Store
from ratchet.store.forgotten_features import forget_batch_rows, forget_single_rows, has_features, wipe_free_space
from ratchet.store.prediction_batches import with_nulls
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import insert_predictions
from ratchet.store.tables import predictions
from tests.ratchet.store.test_prediction_batches import COLUMNS, stored
from tests.store_rows import batch_of, prediction

SECRET = "ada@example.org"


def person(number: int) -> Any:
    return prediction(number, features={"mail": SECRET, "age": 36.5})


def test_a_single_row_keeps_all_but_its_features(store: Store) -> None:
    insert_predictions(store, [person(1), prediction(2)])
    assert forget_single_rows(store, [person(1)["id"], "unknown"]) == 1
    assert find_prediction(store, person(1)["id"]) == person(1) | {"features": None}
    assert find_prediction(store, prediction(2)["id"]) == prediction(2)
    with store.reading() as connection:
        assert connection.scalars(sa.select(predictions.c.id).where(has_features())).all() == [prediction(2)["id"]]


def test_features_are_removed_once(store: Store) -> None:
    insert_predictions(store, [person(1)])
    assert [forget_single_rows(store, [person(1)["id"]]) for _ in range(2)] == [1, 0]


def test_more_rows_than_a_transaction_takes_are_removed(store: Store) -> None:
    insert_predictions(store, [person(number) for number in range(1200)])
    assert forget_single_rows(store, [person(number)["id"] for number in range(1100)]) == 1100
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(predictions).where(has_features())) == 100


def test_a_row_of_a_batch_keeps_all_but_its_features(store: Store) -> None:
    batch = batch_of([person(1), prediction(2), prediction(3)])
    insert_predictions(store, [batch])
    before = list(batch.rows())
    assert forget_batch_rows(store, [before[0]["id"], before[2]["id"], f"{'0' * 36}#00001"]) == 1
    (after,) = stored(store)
    assert list(after.rows()) == [before[0] | {"features": None}, before[1], before[2] | {"features": None}]
    assert SECRET.encode() not in b"".join(_buffers(after.table()))


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_values_of_every_type_are_removed_and_the_others_kept(values: list[Any]) -> None:
    batch = batch_of([prediction(0, features={"x": value, "y": "kept"}) for value in values])
    after = batch.without_features([1])
    assert repr([row["features"] for row in after.rows()]) == repr(
        [None if at == 1 else {"x": value, "y": "kept"} for at, value in enumerate(values)]
    )


def test_a_removed_value_is_not_below_a_mask() -> None:
    table = pa.table({"features": pa.array([{"mail": SECRET}, {"mail": "b"}]), "id": ["1", "2"]})
    after = with_nulls(table, "features", [True, False])
    assert after.column("features").to_pylist() == [None, {"mail": "b"}]
    assert after.schema == table.schema
    assert SECRET.encode() not in b"".join(_buffers(after))


def test_the_files_of_sqlite_no_longer_hold_the_values(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    batch = batch_of([person(1), prediction(2)])
    insert_predictions(store, [batch, *(person(number) for number in range(500))])
    assert any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())
    forget_single_rows(store, [person(number)["id"] for number in range(500)])
    forget_batch_rows(store, [row["id"] for row in batch.rows()])
    assert any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir()), "the free pages hold them"
    wipe_free_space(store)
    assert not [path for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]
    store.engine.dispose()


def test_a_process_that_reads_an_old_state_is_waited_for_and_named(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db", timeout=0.1)
    insert_predictions(store, [person(1)])
    with store.engine.connect() as reader:
        reader.execution_options(ratchet_reading=True)
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT count(*) FROM predictions").all()
        forget_single_rows(store, [person(1)["id"]])
        with pytest.raises(StateError, match=r"the write-ahead log of .* is in use .* run the same command again"):
            wipe_free_space(store)
    wipe_free_space(store)
    assert not [path for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]
    store.engine.dispose()


def test_the_space_of_old_rows_is_freed_on_both_kinds_of_database(store: Store) -> None:
    insert_predictions(store, [person(1)])
    forget_single_rows(store, [person(1)["id"]])
    wipe_free_space(store)
    assert find_prediction(store, person(1)["id"]) == person(1) | {"features": None}


def _buffers(table: pa.Table) -> list[bytes]:
    """All memory that a table refers to, also below its null values."""
    columns = [chunk for column in table.columns for chunk in column.chunks]
    return [buffer.to_pybytes() for chunk in columns for buffer in chunk.buffers() if buffer is not None]
