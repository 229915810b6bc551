"""The check of a data set before a run, which reads the first rows of a large file alone."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter

from ratchet.config import Dataset
from ratchet.data.first_rows import check_first_rows
from ratchet.data.sources import files
from ratchet.errors import DataError
from tests.conftest import Cli
from tests.ratchet.data.test_suspicious_columns import case

LINES = 400


def dataset(path: Path, **keys: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(Dataset)
    return adapter.validate_python({"source": "csv", "path": str(path), "target": "kind", **keys})


def text(n_rows: int = LINES) -> str:
    """Rows with a time, a text with line breaks in quotation marks, and classes in the order of the file."""
    rows = (
        f"2026-01-{1 + at * 28 // n_rows:02d}T00:00:00,{at % 50 / 10},\"ä line\nof {at % 40}, ''\",{at * 2 // n_rows}\n"
        for at in range(n_rows)
    )
    return "day,size,words,kind\n" + "".join(rows)


@pytest.fixture(params=["whole", "first"])
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the files of a test are large: their first part ends in the middle of a row."""
    if request.param == "first":
        monkeypatch.setattr(files, "_FIRST_BYTES", 5_003)
        monkeypatch.setattr(files, "_FIRST_ROWS", 100)
    return str(request.param) == "first"


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "encoding": ({}, "latin-1", "not readable as utf-8, probably latin-1: set dataset.encoding"),
    "another encoding": ({"encoding": "ascii"}, "utf-8", "not readable as ascii, probably utf-8: set dataset.encoding"),
    "target": ({"target": "kid"}, "utf-8", r"dataset.target: there is no column 'kid'; did you mean 'kind'\?"),
    "time": ({"time": "date"}, "utf-8", "dataset.time: there is no column 'date'"),
    "drop": ({"drop": ["id"]}, "utf-8", "dataset.drop: there is no column 'id'"),
    "rule": ({"columns": {"sise": {"minimum": 0}}}, "utf-8", "dataset.columns: there is no column 'sise'"),
    "lags": ({"time": "day", "window": {"lags": {"sise": [1]}}}, "utf-8", "dataset.window: there is no column 'sise'"),
    "value": ({"columns": {"words": {"type": "number"}}}, "utf-8", "column 'words': expected a number, got"),
    "bound": ({"columns": {"size": {"minimum": 1}}}, "utf-8", "column 'size': breaks the rule"),
    "target's rule": ({"columns": {"kind": {"categories": ["9"]}}}, "utf-8", "column 'kind': breaks the rule"),
    "separator": ({"separator": ";"}, "utf-8", 'set dataset.separator, probably to ","'),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_of_file_or_config_is_found_in_the_first_rows(name: str, small_parts: bool, tmp_path: Path) -> None:
    keys, encoding, message = WRONG[name]
    (tmp_path / "data.csv").write_text(text(), encoding=encoding)
    with pytest.raises(DataError, match=message):
        check_first_rows(dataset(tmp_path / "data.csv", **keys), "classification")


def test_the_part_that_was_checked_is_named(small_parts: bool, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(text())
    config = dataset(tmp_path / "data.csv", time="day", columns={"words": {"type": "text"}})
    checked = check_first_rows(config, "classification")
    assert checked.complete is not small_parts
    assert checked.warnings == (), "a class or a value that the first rows alone have is no constant"
    if small_parts:
        assert 50 < checked.n_rows < LINES
        assert str(checked).startswith(f"the first {checked.n_rows} rows are checked; the run checks later rows")
    else:
        assert str(checked) == f"all {LINES} rows are checked"


def test_the_first_rows_of_parquet_are_checked(small_parts: bool, tmp_path: Path) -> None:
    frame = pd.DataFrame({"price": [f"{at},5" for at in range(LINES)], "kind": ["a", "b"] * (LINES // 2)})
    frame.to_parquet(tmp_path / "data.parquet", row_group_size=50)
    config = dataset(tmp_path / "data.parquet", source="parquet", batch_rows=100)
    checked = check_first_rows(config, "classification")
    assert (checked.n_rows, checked.complete) == ((100, False) if small_parts else (LINES, True))
    assert [one.kind for one in checked.warnings] == ["number-like text"]
    with pytest.raises(DataError, match="dataset.strict: column 'price'"):
        check_first_rows(config.model_copy(update={"strict": True}), "classification")


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FIRST_BYTES", 1 << 20)
    peaks = []
    for n_rows in (200_000, 800_000):
        path = tmp_path / f"{n_rows}.csv"
        path.write_text("a,b,kind\n" + "".join(f"{at % 977}.5,{at % 13},{at % 2}\n" for at in range(n_rows)))
        config = dataset(path)
        tracemalloc.start()
        check_first_rows(config, "classification")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_a_dry_run_shows_the_warnings_of_the_data(here: Cli) -> None:
    config = case("numbered", "animal")
    data = f"dataset={{source: csv, path: {config.path}, target: animal}}"
    done = here("--config", "baseline", "--set", data, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "# data: all 300 rows are checked\n"
        "# data warning: column '': has no name, and another value in each row (0, 1, 2, …): dataset.drop: [\"\"]\n"
    )
    refused = here("--config", "baseline", "--set", data, "--set", "dataset.target=animals", "--dry-run")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "dataset.target: there is no column 'animals'; did you mean 'animal'?" in refused.stderr
