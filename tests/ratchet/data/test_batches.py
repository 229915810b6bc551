from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom

from ratchet.config import ParquetDataset, Split, TaskName
from ratchet.data import LoadedDataset, dataset_version, load_dataset, row_hashes
from ratchet.data.batches import BatchedFile, Ingested, ingest, reader, scan
from ratchet.data.batches.draws import RowSample, held_out
from ratchet.data.row_identities import contents_of, identify
from ratchet.errors import DataError
from ratchet.model.train_holdout import load_train_holdout

SPLIT = Split(test_size=0.25)
SEED = 7


def rows(n_rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Numbers with gaps, far from zero and constant, categories with gaps, and three classes."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n_rows)
    frame = pd.DataFrame(
        {
            "x": x,
            "far": 1e6 + generator.normal(size=n_rows),
            "gaps": np.where(generator.random(n_rows) < 0.1, np.nan, 3 * x + generator.normal(size=n_rows)),
            "same": 0.1,
            "count": generator.integers(0, 50, n_rows),
            "colour": generator.choice(["red", "green", "blue"], n_rows),
        }
    )
    frame["kind"] = np.where(x < -0.5, "low", np.where(x > 0.5, "top", "mid"))
    frame.loc[::11, "colour"] = None
    return frame


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., ParquetDataset]:
    """Write rows to a Parquet file with small row groups; the section ``dataset`` that reads it."""

    def written(frame: pd.DataFrame, row_group: int = 700, **keys: Any) -> ParquetDataset:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        frame.to_parquet(path, row_group_size=row_group, index=False)
        return ParquetDataset(**{"source": "parquet", "path": path, "target": "kind", "batch_rows": 500, **keys})

    return written


def whole(config: ParquetDataset, task: TaskName = "classification") -> LoadedDataset:
    return load_dataset(config.model_copy(update={"batch_rows": None}), task)


def parts_of(config: ParquetDataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training part and the holdout of the file read whole."""
    frame = whole(config).frame
    held = held_out(frame, SPLIT.test_size, SEED)
    return frame[~held].reset_index(drop=True), frame[held].reset_index(drop=True)


def ingested(config: ParquetDataset, task: TaskName = "classification") -> Ingested:
    return ingest(config, SPLIT, task, SEED)


@pytest.mark.parametrize("batch_rows", [100, 701, 2999, 3000, 100_000])
def test_no_part_is_larger_than_a_batch_and_together_they_are_the_file(
    write: Callable[..., ParquetDataset], batch_rows: int
) -> None:
    config = write(rows(), batch_rows=batch_rows)
    parts = list(BatchedFile(config, "classification").parts())
    assert {len(part) for part in parts[:-1]} <= {batch_rows}
    assert len(parts[-1]) <= batch_rows
    expected = whole(config).frame
    found = pd.concat(parts)
    pd.testing.assert_frame_equal(found, expected)
    np.testing.assert_array_equal(row_hashes(found), row_hashes(expected))


def test_wide_rows_come_in_smaller_parts(write: Callable[..., ParquetDataset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_CELLS", 7000)
    file = BatchedFile(write(rows(), batch_rows=3000), "classification")
    assert max(map(len, file.parts())) == 1000
    assert max(map(len, file.parts(width=70))) == 100


def test_the_memory_of_a_pass_does_not_grow_with_the_file(
    write: Callable[..., ParquetDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "TRAIN_SAMPLE", 500)
    monkeypatch.setattr(scan, "HOLDOUT_SAMPLE", 500)
    config = write(pd.concat([rows(20_000, seed) for seed in range(2)]), 5000, batch_rows=1000)
    frame_bytes = whole(config).frame.memory_usage(deep=True).sum()
    ingested(write(rows(500)))
    tracemalloc.start()
    result = ingested(config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (result.n_train + result.n_holdout, len(result.train), len(result.holdout)) == (40_000, 500, 500)
    assert peak < frame_bytes / 2


@pytest.mark.parametrize(
    "stored", [pa.bool_(), pa.int8(), pa.float32(), pa.decimal128(30, 2), pa.string(), pa.date32()]
)
def test_each_stored_type_is_typed_as_in_a_file_that_is_read_whole(tmp_path: Path, stored: pa.DataType) -> None:
    values = {pa.bool_(): [True, False], pa.string(): ["a", "b"], pa.date32(): [0, 1]}.get(stored, [1, 2])
    column = pa.array([*values, None] * 100, pa.int32() if stored == pa.date32() else None).cast(stored)
    table = pa.table({"x": column, "word": column.dictionary_encode(), "kind": ["a", "b", "c"] * 100})
    path = tmp_path / "types.parquet"
    pq.write_table(table.drop_columns(["word"] if pa.types.is_decimal(stored) else []), path)
    config = ParquetDataset(source="parquet", path=path, target="kind", batch_rows=100)
    found = pd.concat(BatchedFile(config, "classification").parts())
    pd.testing.assert_frame_equal(found, whole(config).frame)


def test_parts_do_not_depend_on_batches_or_row_groups(write: Callable[..., ParquetDataset]) -> None:
    one, other = ingested(write(rows(), 700)), ingested(write(rows(), 3000, batch_rows=2000))
    train, holdout = parts_of(write(rows()))
    for found in (one, other):
        pd.testing.assert_frame_equal(found.train, train)
        pd.testing.assert_frame_equal(found.holdout, holdout)
    assert 0.2 < one.n_holdout / 3000 < 0.3


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("copies", [1, 50, 3000], ids=["distinct", "50-copies", "all-equal"])
def test_the_asked_share_of_the_rows_is_held_out_however_often_a_row_occurs(share: float, copies: int) -> None:
    n_rows = 6000
    frame = pd.DataFrame({"x": np.arange(n_rows) // copies, "kind": "a"})
    for seed in range(10):
        held = held_out(frame, share, seed).sum()
        assert binom.ppf(0.0001, n_rows, share) <= held <= binom.ppf(0.9999, n_rows, share)


def test_identities_are_positions_in_the_file(write: Callable[..., ParquetDataset]) -> None:
    config = write(pd.concat([rows(), rows()]))
    result = ingested(config)
    held = held_out(whole(config).frame, SPLIT.test_size, SEED)
    places = identify(whole(config).frame, "kind", result.data_version, np.arange(6000))
    np.testing.assert_array_equal(result.holdout_identities.ids, places.ids[held])
    np.testing.assert_array_equal(result.train_identities.ids, places.ids[~held])
    np.testing.assert_array_equal(result.holdout_identities.contents, contents_of(result.holdout, "kind"))
    assert len(np.unique(places.ids)) == 6000


def test_a_row_keeps_its_part_when_rows_are_appended(write: Callable[..., ParquetDataset]) -> None:
    before, after = ingested(write(rows())), ingested(write(pd.concat([rows(), rows(1000, seed=1)])))
    n_before = len(before.holdout)
    pd.testing.assert_frame_equal(before.holdout, after.holdout.head(n_before))


def test_another_seed_gives_another_holdout() -> None:
    frame = rows()
    assert (held_out(frame, 0.25, 1) != held_out(frame, 0.25, 2)).mean() > 0.3


@pytest.mark.parametrize("step", [7, 399, 400, 5000])
def test_a_sample_does_not_depend_on_how_rows_are_divided(step: int) -> None:
    frame = pd.DataFrame({"number": np.arange(5000.0), "word": np.arange(5000).astype(str).astype(object)})
    once, often = RowSample(400, SEED), RowSample(400, SEED)
    once.add(frame)
    for first in range(0, 5000, step):
        often.add(frame.iloc[first : first + step])
    found, expected = often.take(), once.take()
    pd.testing.assert_frame_equal(found, expected)
    assert len(found) == 400
    assert found["number"].is_monotonic_increasing
    assert (found["number"].astype(int).astype(str) == found["word"]).all()


def test_every_row_has_the_same_chance_to_be_drawn() -> None:
    frame = pd.DataFrame({"number": np.arange(2000)})
    drawn = np.zeros(2000)
    for seed in range(200):
        sample = RowSample(200, seed)
        sample.add(frame)
        drawn[sample.take()["number"]] += 1
    # 200 draws with a chance of 0.1 each: 20 on average, with a standard deviation of 4.2.
    assert abs(drawn.reshape(10, 200).mean(axis=1) - 20).max() < 2
    assert drawn.max() < 40


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        ({"x": (2345, np.inf)}, {}, "column 'x': expected a finite number, got infinity in row 2346"),
        ({"x": (2345, -9.0)}, {"columns": {"x": {"minimum": -8}}}, "breaks the rule greater_than_or_equal_to(-8.0)"),
        ({"x": (2345, np.nan)}, {"columns": {"x": {"nullable": False}}}, "got nan in row 2346"),
        (
            {"colour": (2345, "n/a")},
            {"columns": {"colour": {"type": "number"}}},
            "expected a number, got 'blue' in row 2 ",
        ),
        ({"colour": (2345, "n/a")}, {"columns": {"colour": {"categories": ["red", "green", "blue"]}}}, "got 'n/a'"),
        ({"kind": (2345, None)}, {}, "target 'kind': is missing in row 2346 (1 such)"),
        ({"kind": (slice(None), "low")}, {}, "target 'kind': has only one class, 'low'"),
        ({"x": (slice(None), np.nan)}, {}, "column 'x': every value is missing; name it in dataset.drop"),
        ({}, {"target": "kin"}, "dataset.target: there is no column 'kin'; did you mean 'kind'?"),
        ({"kind": (5, "rare")}, {}, "the class 'rare' has 1 rows, and none is in the"),
        ({}, {"positive": "low"}, "dataset.positive: needs two classes"),
        (
            {"kind": (slice(None), [str(i) for i in range(3000)])},
            {},
            "classes; to predict a number, set task: regression",
        ),
        (
            {"id": (slice(None), [f"customer {i}" for i in range(3000)])},
            {},
            "column 'id': has more than 1000 categories; name it in dataset.drop",
        ),
    ],
)
def test_invalid_data_are_refused_with_column_and_row_of_the_file(
    write: Callable[..., ParquetDataset], change: dict[str, Any], keys: dict[str, Any], message: str
) -> None:
    frame = rows()
    for column, (where, value) in change.items():
        frame.loc[where, column] = value
    with pytest.raises(DataError) as caught:
        ingested(write(frame, **keys))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_regression_predicts_numbers(write: Callable[..., ParquetDataset]) -> None:
    result = ingested(write(rows(), target="count"), "regression")
    assert result.schema.labels is None
    assert result.train["count"].dtype == "float64"


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"a,b\n1,2\n"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(content)
    config = ParquetDataset(source="parquet", path=path, target="y", batch_rows=100)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        BatchedFile(config, "classification")


def test_a_file_that_is_damaged_in_the_middle_is_refused(write: Callable[..., ParquetDataset]) -> None:
    config = write(rows())
    content = bytearray(config.path.read_bytes())
    content[1000:40_000] = bytes(39_000)
    config.path.write_bytes(content)
    with pytest.raises(DataError, match=r"\.parquet"):
        ingested(config)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [], "kind": []}, "has columns but no rows"),
        ({"x": [[1], [2]], "kind": ["a", "b"]}, "column 'x': expected numbers or text, got list<"),
    ],
)
def test_a_file_without_rows_or_with_lists_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=message):
        BatchedFile(ParquetDataset(source="parquet", path=path, target="kind", batch_rows=100), "classification")


def test_a_missing_or_changed_file_is_refused(write: Callable[..., ParquetDataset], tmp_path: Path) -> None:
    config = write(rows())
    with pytest.raises(DataError, match="the data changed during the run: planned with 0000"):
        BatchedFile(config, "classification", "0000")
    with pytest.raises(DataError, match="No such file"):
        BatchedFile(config.model_copy(update={"path": tmp_path / "none.parquet"}), "classification")


def test_the_index_of_pandas_is_not_a_feature(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    rows().sample(frac=0.5, random_state=0).to_parquet(path)
    config = ParquetDataset(source="parquet", path=path, target="kind", batch_rows=500)
    assert BatchedFile(config, "classification").features == ["x", "far", "gaps", "same", "count", "colour"]


def test_a_file_with_batch_rows_is_not_read_whole(write: Callable[..., ParquetDataset]) -> None:
    with pytest.raises(Exception, match=r"dataset\.batch_rows: all rows are needed at once here"):
        load_dataset(write(rows()), "classification")


@pytest.mark.parametrize("source", ["batched", "whole"])
def test_the_parts_of_a_run_are_the_same_in_a_second_call(write: Callable[..., ParquetDataset], source: str) -> None:
    config = write(rows(), batch_rows=500 if source == "batched" else None)
    one, two = (load_train_holdout(config, SPLIT, "classification", SEED) for _ in range(2))
    pd.testing.assert_frame_equal(one.holdout, two.holdout)
    assert one.n_train + one.n_holdout == len(one.train) + len(one.holdout) == 3000
    assert one.data_version == dataset_version(config)
