"""The archive of rows in Parquet files: reading, writing, and what other tools see."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import uuid_utils

from ratchet.errors import StateError
from ratchet.settings import Settings
from ratchet.store.archive import PREDICTIONS, Archive, archive_lease, by_day
from ratchet.store.archive_columns import from_table, is_json, to_table
from ratchet.store.database import Store
from ratchet.store.tables import drift_results, feedback, predictions
from tests.store_rows import prediction

DAY = date(2023, 11, 14)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive in a folder."""
    return Archive(Settings(home=tmp_path / "home"))


def rows(*numbers: int, **changes: Any) -> list[dict[str, Any]]:
    return [dict(prediction(number, **changes)) for number in numbers]


def written(archive: Archive, *numbers: int, **changes: Any) -> list[dict[str, Any]]:
    """Write predictions into one file, and return them."""
    new = rows(*numbers, **changes)
    archive.write(PREDICTIONS, new[0]["model"], DAY, new[0]["id"], to_table(new, predictions))
    return new


@pytest.mark.parametrize(
    "features",
    [
        pytest.param([{"a": 1.5, "b": "x"}, {"a": 2.5, "b": None}], id="numbers and text"),
        pytest.param([{"a": 1}, {"a": 2.5}], id="whole numbers among fractions"),
        pytest.param([{"a": True}, {"a": False}], id="booleans"),
        pytest.param([{"a": 1}, {"a": "one"}], id="mixed types"),
        pytest.param([{"a": 2**60}, {"a": 0.5}], id="a whole number that is no fraction"),
        pytest.param([{"a": [1, 2]}, {"a": []}], id="lists"),
        pytest.param([{"a": {"b": 1}}], id="nested objects"),
        pytest.param([{"a": 10**30}], id="a number of more than 64 bits"),
        pytest.param([{}, {}], id="no features"),
        pytest.param([None, None], id="forgotten features"),
    ],
)
def test_rows_are_read_as_they_were_written(archive: Archive, features: list[Any]) -> None:
    new = [dict(prediction(number, features=one)) for number, one in enumerate(features)]
    archive.write(PREDICTIONS, "iris", DAY, new[0]["id"], to_table(new, predictions))
    (file,) = archive.files(PREDICTIONS)
    assert archive.rows(file) == new


def test_rows_of_every_table_are_read_as_they_were_written(archive: Archive) -> None:
    answers = {"prediction_id": "p", "revision": 1, "model": "iris", "version": "3", "superseded_by": None}
    answer = answers | {"seq": 7, "target": 2, "correct": False, "source": "user", "created_at": 1.5}
    window = dict.fromkeys(drift_results.columns.keys()) | {"id": 1, "model": "iris", "version": "3"}
    window |= {"kind": "production", "n_rows": 9, "detected": True, "share": 0.5, "created_at": 2.25}
    window |= {"report": {"columns": [{"name": "a", "value": 0.1}]}}
    for table, row in ((feedback, answer), (drift_results, window)):
        archive.write(table.name, "iris", DAY, "1", to_table([row], table))
        (file,) = archive.files(table.name)
        assert archive.rows(file) == [row]


def test_features_of_one_type_are_a_struct_and_others_are_json_text() -> None:
    typed = to_table(rows(1, features={"a": 1.5}), predictions)
    mixed = to_table([*rows(1, features={"a": 1.5}), *rows(2, features={"a": "x"})], predictions)
    assert str(typed.schema.field("features").type) == "struct<a: double>"
    assert is_json(mixed.schema.field("features"))
    assert [row["features"] for row in from_table(mixed)] == [{"a": 1.5}, {"a": "x"}]


def test_a_later_file_keeps_the_types_of_an_earlier_one_where_its_values_fit() -> None:
    first = to_table(rows(1, features={"a": 1.5, "b": "x"}), predictions)
    second = to_table(rows(2, features={"b": "y", "a": 2}), predictions, first.schema)
    assert second.schema.field("features") == first.schema.field("features")
    third = to_table(rows(3, features={"a": 1, "c": 2}), predictions, second.schema)
    assert str(third.schema.field("features").type) == "struct<a: double, b: string, c: int64>"


def test_pandas_reads_the_folder_with_its_partitions(archive: Archive) -> None:
    written(archive, 1, 2)
    written(archive, 3, model="a b/c")
    frame = pd.read_parquet(Path(archive.root, PREDICTIONS))
    assert sorted(frame["model"].astype(str).unique()) == ["a b/c", "iris"]
    assert set(frame["date"].astype(str)) == {"2023-11-14"}
    assert frame["created_at"].dt.tz is not None
    assert frame["features"].iloc[0]["sepal_length"] == 5.1


def test_the_files_of_a_model_or_a_kind_or_a_day_are_listed(archive: Archive) -> None:
    written(archive, 1)
    written(archive, 2, model="wine")
    archive.write("feedback", "iris", date(2023, 11, 15), "9", to_table([], feedback))
    assert [file.model for file in archive.files(PREDICTIONS)] == ["iris", "wine"]
    assert [file.kind for file in archive.files(model="iris")] == ["feedback", PREDICTIONS]
    assert [file.kind for file in archive.files(day=DAY)] == [PREDICTIONS, PREDICTIONS]
    assert Path(archive.address(archive.files(PREDICTIONS, "wine")[0])).is_file()


def test_a_prediction_is_found_by_its_id(archive: Archive) -> None:
    ids = sorted(str(uuid_utils.uuid7()) for _ in range(3))
    new = [dict(prediction(1, id=one)) for one in ids]
    today = datetime.now(UTC).date()
    archive.write(PREDICTIONS, "iris", today, ids[0], to_table(new, predictions))
    written(archive, 5)
    found = archive.find(ids[1])
    assert found is not None
    file, row = found
    assert (file.day, row) == (today, new[1])
    assert archive.find(prediction(5)["id"]) is not None
    assert archive.find(str(uuid_utils.uuid7())) is None
    assert archive.rows_with(file, "version", "3") == archive.rows(file)


def test_a_file_is_rewritten_whole_and_deleted(archive: Archive) -> None:
    first, _ = written(archive, 1, 2)
    (file,) = archive.files()
    again = archive.rewrite(file, to_table([first | {"features": None}], predictions))
    assert archive.rows(again)[0]["features"] is None
    assert archive.files() == [again]
    archive.delete(again)
    archive.delete(again)
    assert archive.files() == []


def test_files_of_the_archive_are_private(archive: Archive) -> None:
    written(archive, 1)
    (file,) = archive.files()
    assert Path(archive.address(file)).stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_and_a_damaged_file_are_errors_of_one_line(
    archive: Archive, tmp_path: Path
) -> None:
    written(archive, 1)
    (file,) = archive.files()
    Path(archive.address(file)).write_bytes(b"no parquet")
    with pytest.raises(StateError, match="is damaged"):
        archive.read(file)
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="RATCHET_ARCHIVE"):
        written(Archive(Settings(archive=str(tmp_path / "file"))), 1)


def test_a_bucket_holds_the_same_files() -> None:
    bucket = Archive(Settings(archive="memory://ratchet-archive"))
    new = written(bucket, 1, 2)
    (file,) = bucket.files(PREDICTIONS, "iris", DAY)
    assert (bucket.rows(file), bucket.address(file)) == (new, f"memory://ratchet-archive/{file.path}")
    assert bucket.find(new[1]["id"]) == (file, new[1])
    bucket.rewrite(file, to_table(new[:1], predictions))
    assert bucket.rows(bucket.files()[0]) == new[:1]
    bucket.delete(file)
    assert bucket.files() == []


def test_one_process_at_a_time_changes_the_archive(any_store: Store) -> None:
    with archive_lease(any_store), pytest.raises(StateError, match="archive is held"), archive_lease(any_store, wait=0):
        pass


def test_rows_are_divided_by_the_utc_day() -> None:
    late, early = prediction(1, created_at=1_700_006_399.0), prediction(2, created_at=1_700_006_400.0)
    assert {day.isoformat(): len(found) for day, found in by_day([late, early]).items()} == {
        "2023-11-14": 1,
        "2023-11-15": 1,
    }
