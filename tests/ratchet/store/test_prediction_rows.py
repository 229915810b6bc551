"""The reader of predictions, over single rows and batches."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from ratchet.store import prediction_batches, prediction_rows
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch, row_id
from ratchet.store.prediction_rows import PredictionRows, Span, find_prediction, settle_late
from ratchet.store.predictions import Entry, Prediction, first_id, insert_predictions
from ratchet.store.tables import late_predictions
from tests.labels import statements
from tests.store_rows import batch_of, prediction

Options = dict[str, Any]


def number_of(number: int, row: int | None = None) -> str:
    return f"{number:036d}" if row is None else row_id(f"{number:036d}", row)


def batch(number: int, size: int, **changes: Any) -> PredictionBatch:
    rows = [prediction(0, features={"number": number, "row": row}, score=None) for row in range(size)]
    return batch_of(rows, number, **changes)


def rows_of(entries: list[Entry]) -> list[Prediction]:
    rows = [row for entry in entries for row in (entry.rows() if isinstance(entry, PredictionBatch) else iter([entry]))]
    return sorted(rows, key=lambda row: row["id"])


@contextmanager
def reading(store: Store, *names: str) -> Iterator[PredictionRows]:
    with store.reading() as connection:
        yield PredictionRows(connection, *names)


@pytest.fixture
def entries(store: Store) -> list[Entry]:
    """Single rows of two models, and batches between them, in the store."""
    made: list[Entry] = [
        prediction(1),
        batch(2, 12),
        prediction(3, version="4"),
        prediction(4, model="wine"),
        batch(5, 1, version="4"),
        batch(6, 7, model="wine"),
        batch(7, 11),
        prediction(8),
    ]
    insert_predictions(store, made)
    return made


BOUNDS = ["", number_of(1), number_of(2), number_of(2, 5), number_of(2, 11), number_of(7, 3), "f"]


@pytest.mark.parametrize("options", [{}, {"model": "iris", "version": "3"}, {"version": "4"}], ids=str)
def test_a_span_has_the_rows_between_two_ids_in_both_orders(
    store: Store, entries: list[Entry], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"_PAGE": 3, "_HEADS": 1}.items():
        monkeypatch.setattr(prediction_rows, name, size)
    rows = [row for row in rows_of(entries) if {name: row[name] for name in options} == options]  # type: ignore[literal-required]
    with reading(store) as reader:
        for after in BOUNDS:
            for before in [None, *BOUNDS]:
                for inclusive in (False, True):
                    span = Span(after, before, inclusive)
                    expected = [row for row in rows if row["id"] in span]
                    found = list(reader.between(span, **options))
                    assert found == expected, span
                    assert list(reader.between(span, newest_first=True, **options)) == expected[::-1]
                    newest = list(reader.between(span, limit=4, newest_first=True, **options))
                    assert newest == expected[::-1][:4]


def test_the_two_ends_belong_to_an_inclusive_span_alone() -> None:
    ends = number_of(2, 1), number_of(3)
    assert [end in Span(*ends) for end in ends] == [False, False]
    assert [end in Span(*ends, inclusive=True) for end in ends] == [True, True]


def test_rows_are_found_by_their_ids(store: Store, entries: list[Entry]) -> None:
    rows = {row["id"]: row for row in rows_of(entries)}
    unknown = [number_of(9), number_of(2), number_of(2, 12), number_of(1, 0), "x#00000", "", "a" * 36]
    wanted = [*rows, *unknown]
    random.Random(0).shuffle(wanted)
    with reading(store) as reader:
        assert reader.find_many(wanted) == rows
        assert reader.find_many([]) == {}
    assert [find_prediction(store, some) for some in unknown] == [None] * len(unknown)
    assert find_prediction(store, number_of(7, 10)) == rows[number_of(7, 10)]


def test_rows_have_the_wanted_columns_alone(store: Store, entries: list[Entry]) -> None:
    with reading(store, "prediction", "version") as reader:
        rows = [*reader.between(Span()), *reader.find_many([number_of(2, 3)]).values()]
    assert {tuple(row) for row in rows} == {("id", "prediction", "version")}


def test_rows_of_batches_outside_a_window_are_not_decoded(
    store: Store, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    table = PredictionBatch.table
    monkeypatch.setattr(PredictionBatch, "table", lambda self: (decoded.append(self.id), table(self))[1])
    with reading(store) as reader:
        assert len([*reader.between(Span(number_of(2)), limit=12)]) == 12
        assert set(decoded) == {number_of(2)}
        decoded.clear()
        assert len([*reader.between(Span(number_of(2, 11), number_of(7)))]) == 10
        assert set(decoded) == {number_of(5), number_of(6)}
        decoded.clear()
        assert [row["id"] for row in reader.between(Span(), limit=1, newest_first=True)] == [number_of(8)]
        assert decoded == []


def test_memory_does_not_grow_with_the_number_of_batches(any_store: Store) -> None:
    column = pa.array(np.random.default_rng(0).normal(size=3000))
    features = pa.StructArray.from_arrays([column] * 10, [*"abcdefghij"])

    def made(number: int) -> PredictionBatch:
        return PredictionBatch.from_columns(
            number_of(number), 0.0, "iris", "3", 0.1, features=features, prediction=column
        )

    def peak(last: int) -> int:
        prediction_batches._decoded.cache_clear()
        tracemalloc.start()
        with reading(any_store) as reader:
            for _ in reader.between(Span("", number_of(last))):
                pass
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    for number in range(9):
        insert_predictions(any_store, [made(number)])
    assert peak(9) < 1.5 * peak(3)


def test_a_batch_that_is_read_again_is_decoded_once(store: Store, entries: list[Entry]) -> None:
    prediction_batches._decoded.cache_clear()
    with reading(store) as reader:
        for row in range(12):
            assert reader.find(number_of(2, row)) is not None
    assert prediction_batches._decoded.cache_info().misses == 1


def test_a_window_takes_a_bounded_number_of_queries(store: Store, entries: list[Entry]) -> None:
    with contextmanager(statements)(store) as asked, reading(store) as reader:
        assert len([*reader.between(Span(number_of(2, 3)), limit=5, model="iris")]) == 5
    assert len(asked) == 3, "rows, heads of batches, and one batch"


def late_ids(store: Store) -> list[str]:
    with store.reading() as connection:
        return list(connection.scalars(sa.select(late_predictions.c.id).order_by(late_predictions.c.id)))


def test_late_rows_and_batches_are_listed_until_they_are_settled(store: Store, entries: list[Entry]) -> None:
    rows = [row["id"] for row in rows_of(entries) if (row["model"], row["version"]) == ("iris", "3")]
    span = Span("", first_id(1e10))
    for size in (1, 5, 12, 100):
        with reading(store) as reader:
            listed = [row["id"] for row in reader.late("iris", "3", span, size)]
        assert listed == rows[:size]
        with store.transaction() as connection:
            settle_late(connection, "iris", "3", listed)
        rows = rows[size:]
    assert late_ids(store) == [number_of(number) for number in (3, 4, 5, 6)], "of the other model and version"


def test_late_rows_of_a_span_alone_are_listed(store: Store, entries: list[Entry]) -> None:
    with reading(store) as reader:
        found = reader.late("iris", "3", Span(number_of(2), number_of(8)), 100)
        assert {row["id"][:36] for row in found} == {number_of(7)}
    with store.transaction() as connection:
        settle_late(connection, "iris", "3", [number_of(2, row) for row in range(4)])
    with reading(store) as reader:
        found = reader.late("iris", "3", Span(number_of(1), number_of(3)), 100)
        assert [row["id"] for row in found] == [number_of(2, row) for row in range(4, 12)]
