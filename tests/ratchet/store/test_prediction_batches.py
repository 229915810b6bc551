from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch, row_id, split_id
from ratchet.store.predictions import first_id, insert_predictions
from ratchet.store.tables import late_predictions, prediction_batches
from tests.store_rows import batch_of, prediction

COLUMNS = {
    "floats": [5.0, 0.1, -1e-300],
    "whole": [1, -(2**63), 2**63 - 1],
    "booleans": [True, False, True],
    "texts": ["", "日本 \\ \n 🙂", "151.0"],
    "missing": [None, 1.5, None],
    "all missing": [None, None, None],
    "integers and floats": [1, 1.0, 2.5],
    "integers and booleans": [1, True, 0],
    "texts and numbers": ["1", 1, None],
    "64 bits": [2**64 - 1, 0, 1],
    "nested": [[1, 2.5], {"a": None}, None],
}


def stored(store: Store) -> list[PredictionBatch]:
    with store.reading() as connection:
        return [PredictionBatch(*row) for row in connection.execute(sa.select(prediction_batches))]


def typed(value: Any) -> Any:
    """A value with its types, which == does not compare."""
    return repr(value)


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_a_feature_keeps_its_values_and_types(values: list[Any]) -> None:
    records = [{"x": value, "y": 1.5} for value in values]
    batch = batch_of([prediction(0, features=record) for record in records])
    assert typed([row["features"] for row in batch.rows()]) == typed(records)


@pytest.mark.parametrize(
    "labels", [["setosa", "virginica"], [3, 4], [151.0, 2.5], [True, False], ["1", 1], [1, 1.0]], ids=str
)
def test_a_prediction_keeps_its_type(labels: list[Any]) -> None:
    batch = batch_of([prediction(0, prediction=label) for label in labels])
    assert typed([row["prediction"] for row in batch.rows()]) == typed(labels)


def test_a_row_of_a_batch_is_that_of_a_single_prediction() -> None:
    rows = [prediction(0, score=0.5), prediction(0, features={"sepal_length": 1.0, "colour": "red"})]
    batch = batch_of(rows)
    expected = {"id": f"{1:036d}#00001", "created_at": batch.created_at}
    assert batch.row(1) == rows[1] | expected
    assert [row["score"] for row in batch.rows()] == [0.5, 0.75]
    assert [row["id"] for row in batch.rows(1, 9)] == [f"{1:036d}#00001"]


def test_a_regression_has_no_score_and_no_probabilities() -> None:
    row = prediction(0, prediction=151.0, score=None, probabilities=None)
    batch = batch_of([row])
    assert batch.table().column_names == ["features", "prediction"]
    assert batch.row(0) == row | {"id": row_id(batch.id, 0), "created_at": batch.created_at}


def test_a_feature_that_a_record_lacks_is_none() -> None:
    batch = batch_of(
        [prediction(0, features={"x": 1.5}), prediction(0, features={"y": "a"}), prediction(0, features={})]
    )
    assert [row["features"] for row in batch.rows()] == [
        {"x": 1.5, "y": None},
        {"x": None, "y": "a"},
        {"x": None, "y": None},
    ]


def test_records_without_features_are_a_batch_too() -> None:
    batch = batch_of([prediction(0, features={})] * 2)
    assert [row["features"] for row in batch.rows()] == [{}, {}]


def test_single_precision_is_read_as_it_was_computed() -> None:
    column = np.array([0.1, 0.7], dtype=np.float32)
    batch = PredictionBatch.from_columns(
        f"{1:036d}", 0.0, "iris", "3", 0.1, features=pa.array([{"x": 1.0}] * 2), prediction=pa.array(column)
    )
    assert [row["prediction"] for row in batch.rows()] == column.tolist()


def test_ids_of_rows_sort_by_time_and_row() -> None:
    first, second = first_id(1e9) + "-7000-8000-000000000000", first_id(1e9 + 1) + "-7000-8000-000000000000"
    ids = [first, *(row_id(first, row) for row in (0, 9, 10, 12_345)), second, row_id(second, 0)]
    assert sorted(ids) == ids
    assert split_id(ids[4]) == (first, 12_345)


@pytest.mark.parametrize("text", ["", "a", "a#", "a#1", "a#0000x", "a#000001", "a#²0000", f"{1:036d}"])
def test_any_other_id_is_not_split(text: str) -> None:
    assert split_id(text) is None


def test_a_batch_is_stored_once_and_read_as_it_was_written(store: Store) -> None:
    batch = batch_of([prediction(0)] * 3)
    insert_predictions(store, [batch, prediction(0), batch])
    insert_predictions(store, [batch_of([prediction(0)], version="4")])
    assert stored(store) == [batch]


def test_a_late_batch_is_noted_once(store: Store) -> None:
    late, punctual = batch_of([prediction(0)] * 3), batch_of([prediction(0)], batch_id="f" * 36)
    for _ in range(2):
        insert_predictions(store, [late, punctual])
    with store.reading() as connection:
        assert connection.execute(sa.select(late_predictions)).all() == [("iris", "3", late.id)]


def test_a_row_of_a_large_batch_takes_few_bytes() -> None:
    random = np.random.default_rng(0)
    features = pa.StructArray.from_arrays(
        [pa.array(random.normal(5, 1, 10_000).round(1)) for _ in range(4)], list("abcd")
    )
    probabilities = random.dirichlet([0.1, 1, 10], 10_000).astype(np.float32)
    names = np.array(["setosa", "versicolor", "virginica"])
    batch = PredictionBatch.from_columns(
        f"{1:036d}",
        0.0,
        "iris",
        "3",
        0.1,
        features=features,
        prediction=pa.array(names[probabilities.argmax(1)]),
        score=pa.array(probabilities.max(1)),
        probabilities=pa.StructArray.from_arrays([pa.array(column) for column in probabilities.T], names.tolist()),
    )
    assert len(batch.content) / batch.n_rows < 60
