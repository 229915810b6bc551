"""Files of every format get the same predictions, bad files one line, and the output is complete or not there."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ratchet.config import Column
from ratchet.data import delimited
from ratchet.data.schema import Field, Schema
from ratchet.errors import DataError, RegistryError
from ratchet.inference.file_prediction import output_file, predict_file
from ratchet.inference.file_prediction.predict_file import FilePrediction, open_prediction, prediction_of
from ratchet.inference.production_model import ProductionModel
from ratchet.inference.runtime import Runtime
from ratchet.settings import Settings
from tests.fitted import Trained, registered


class Answering:
    """An engine whose prediction is the text of the row that it was given."""

    def __call__(self, records: Any) -> Any:
        labels = ["odd" if len(str(record["note"])) % 2 else "even" for record in records]
        chances = [
            [record["age"] / 100, 1 - record["age"] / 100] if record["age"] else [0.5, 0.5] for record in records
        ]
        return labels, np.array(chances, dtype=np.float32)


NO_WORDS = Column(missing=())
SCHEMA = Schema(
    features=(
        Field(name="age", type="number", nullable=True, minimum=0.0, maximum=100.0, rule=Column(missing=("NA",))),
        Field(name="plan", type="category", nullable=True, categories=("7", "pro"), rule=NO_WORDS),
        Field(name="note", type="text", nullable=False, longest=99, rule=NO_WORDS),
        Field(name="day", type="time", nullable=True, rule=NO_WORDS),
    ),
    target="left",
    labels=("even", "odd"),
)
ROWS = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "age": ["30", "40.5", "NA", ""],
        "plan": ["pro", "", "7", "new"],
        "note": ["näh", 'said "no"', "two\nlines", "a, b; c"],
        "day": ["2026-01-31", "2026-01-31T19:00:00+01:00", "", "2026-02-01 08:00"],
        "left": ["odd", "", "even", "odd"],
    }
)
PREDICTED = ["odd", "odd", "odd", "odd"]
TYPED = {
    "age": pd.array([30, 40.5, None, None], dtype="Float64"),
    "plan": pd.Categorical(ROWS["plan"].where(ROWS["plan"] != "")),
    "day": pd.to_datetime(["2026-01-31", "2026-01-31T18:00:00", None, "2026-02-01 08:00"], format="ISO8601"),
}


@pytest.fixture
def model() -> ProductionModel:
    return ProductionModel(Runtime("churn", "2", "", SCHEMA, Answering(), "test"))


@pytest.fixture
def predicted(model: ProductionModel, tmp_path: Path) -> Callable[..., FilePrediction]:
    """Predict a file of a name, which a function writes."""

    def predict(name: str, write: Callable[[Path], Any], *, to: str = "out.csv", **options: Any) -> FilePrediction:
        write(tmp_path / name)
        trained = options.pop("trained", {"drop": ("id",)})
        prediction = prediction_of(model, trained, tmp_path / name, tmp_path / to, **options)
        prediction.run(lambda share, rows: None)
        return prediction

    return predict


def read_csv(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=separator))


def as_csv(**options: Any) -> Callable[[Path], Any]:
    return lambda path: ROWS.to_csv(path, index=False, **options)


def as_tsv(path: Path) -> None:
    flat = ROWS.replace({"\n": " ", '"': ""}, regex=True)
    flat.to_csv(path, index=False, sep="\t", quoting=csv.QUOTE_NONE)


FORMATS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "commas": ("rows.csv", as_csv()),
    "semicolons": ("rows.csv", as_csv(sep=";")),
    "tabs in a csv": ("rows.csv", as_csv(sep="\t")),
    "bars": ("rows.csv", as_csv(sep="|")),
    "all quoted": ("rows.csv", as_csv(quoting=csv.QUOTE_ALL)),
    "byte order mark": ("rows.CSV", as_csv(encoding="utf-8-sig")),
    "utf-16": ("rows.csv", as_csv(encoding="utf-16")),
    "windows lines": ("rows.csv", as_csv(lineterminator="\r\n")),
    "tsv": ("rows.tsv", as_tsv),
    "text in parquet": ("rows.parquet", lambda path: ROWS.to_parquet(path, index=False)),
    "typed parquet": ("rows.parquet", lambda path: ROWS.assign(**TYPED).to_parquet(path)),
    "indexed parquet": ("rows.parquet", lambda path: ROWS.assign(**TYPED).set_index("id").to_parquet(path)),
    "compressed parquet": ("rows.parquet", lambda path: ROWS.to_parquet(path, compression="zstd", row_group_size=3)),
    "columns in another order": ("rows.csv", lambda path: ROWS[ROWS.columns[::-1]].to_csv(path, index=False)),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_every_format_gets_the_same_predictions(
    form: str, kind: str, predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    found = predicted(*FORMATS[form], to=f"out.{kind}")
    out = tmp_path / f"out.{kind}"
    rows = read_csv(out, found.source.separator) if kind == "csv" else pq.read_table(out).to_pylist()
    assert [row["prediction"] for row in rows] == PREDICTED
    assert [float(row["probability_even"]) for row in rows] == pytest.approx([0.3, 0.405, 0.5, 0.5])
    assert [row["id"] for row in rows] == ROWS["id"].tolist()
    assert (found.rows, found.labels, found.left_out) == (4, {"odd": 4}, [])


def test_the_output_has_the_fields_of_the_input_and_the_predictions(
    predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    predicted("rows.csv", as_csv())
    out = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert list(out.columns) == [*ROWS.columns, "prediction", "probability_even", "probability_odd"]
    pd.testing.assert_frame_equal(out[ROWS.columns], ROWS)
    first = (tmp_path / "out.csv").read_text().splitlines()[1]
    assert first == "a,30,pro,näh,2026-01-31,odd,odd,0.30000001192092896,0.699999988079071"


def test_text_becomes_the_types_of_the_model_in_parquet_and_types_stay(
    predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    predicted("rows.csv", as_csv(), to="out.parquet")
    types = dict(
        zip(*[getattr(pq.read_schema(tmp_path / "out.parquet"), name) for name in ("names", "types")], strict=True)
    )
    assert (types["age"], types["id"], types["probability_odd"]) == (pa.float64(), pa.string(), pa.float64())
    predicted("rows.parquet", lambda path: ROWS.assign(**TYPED).set_index("id").to_parquet(path), to="out.parquet")
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert out.index.name == "id"
    assert str(out["plan"].dtype) == "category"
    assert out["day"].dtype.kind == "M"


def test_names_that_the_file_has_already_are_not_written_twice(
    predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    named = ROWS.assign(prediction="mine", probability_odd="mine")
    predicted("rows.csv", lambda path: named.to_csv(path, index=False), keep=["prediction", "probability_odd"])
    (row, *_) = read_csv(tmp_path / "out.csv")
    assert (row["prediction"], row["probability_odd"]) == ("mine", "mine")
    assert row["prediction_"] == "odd"
    assert float(row["probability_odd_"]) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("trained", "write"),
    [
        ({"names": tuple(ROWS.columns)}, as_csv(header=False)),
        ({"encoding": "cp1252"}, as_csv(encoding="cp1252")),
        ({"encoding": "cp1252"}, as_csv()),
        ({"separator": "^"}, as_csv(sep="^")),
    ],
)
def test_a_file_is_read_as_the_training_file_was(
    trained: dict[str, Any], write: Callable[[Path], Any], predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    predicted("rows.csv", write, trained={"drop": ("id",), **trained})
    rows = read_csv(tmp_path / "out.csv", trained.get("separator", ","))
    assert [row["note"] for row in rows] == ROWS["note"].tolist()


def test_rows_in_many_parts_are_predicted_and_counted_alike(
    predicted: Callable[..., FilePrediction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_file, "BATCH_ROWS", 3)
    monkeypatch.setattr(output_file, "_GROUP_ROWS", 5)
    monkeypatch.setattr(delimited, "_BLOCKS", (300, 1 << 20))  # the row of 500 characters needs the second size
    many = pd.concat([ROWS] * 30, ignore_index=True)
    many.loc[50, "note"] = "long" * 125
    many["age"] = [str(number % 100) for number in range(120)]
    for name in ("rows.csv", "rows.parquet"):
        source = tmp_path / name
        many.to_csv(source, index=False) if name.endswith("csv") else many.to_parquet(source)
        for kind in ("csv", "parquet"):
            assert predicted(name, lambda path: None, to=f"out.{kind}").rows == 120
            out = tmp_path / f"out.{kind}"
            rows = read_csv(out) if kind == "csv" else pq.read_table(out).to_pylist()
            assert [row["note"] for row in rows] == many["note"].tolist()
            expected = [0.5 if n % 100 == 0 else n % 100 / 100 for n in range(120)]
            assert [float(row["probability_even"]) for row in rows] == pytest.approx(expected, abs=1e-6)
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 20


def changed(**columns: Any) -> Callable[[Path], Any]:
    return lambda path: ROWS.assign(**columns).to_csv(path, index=False)


def text(content: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(content)


LATE = ["ok"] * 3 + [""]


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "rows.csv",
            changed(age=["1", "2", "old", "4"]),
            "row 3, column 'age': got 'old': Input should be a valid number",
        ),
        ("rows.csv", changed(note=LATE), "row 4, column 'note': got a missing value: .*no training row lacks it"),
        ("rows.csv", changed(day="31.1."), r"row 1, column 'day': got '31.1.': .*ISO 8601.* \(1 more\)$"),
        (
            "rows.csv",
            changed(note="x" * 30_000),
            r"row 1, column 'note': got 'x{39}…: String should have at most 20000",
        ),
        ("rows.csv", changed(region=1), "column 'region' is no feature of churn: correct .* with --keep region$"),
        ("rows.csv", changed(plans=1), "column 'plans' is no feature of churn; is it 'plan'\\?: correct"),
        ("rows.csv", changed(a=1, b=2, c=3), "columns 'a', 'b', 'c' are no feature of churn"),
        ("rows.csv", lambda path: ROWS.drop(columns="note").to_csv(path), "column 'note' is missing; column '' is no"),
        (
            "rows.csv",
            lambda path: ROWS.rename(columns={"note": "notes"}).to_csv(path, index=False),
            "rows.csv: column 'note' is missing; is it 'notes'\\?$",
        ),
        ("rows.csv", text(""), "is empty, expected a header and rows"),
        ("rows.csv", text("age,note,plan,day\n"), "has a header but no rows"),
        (
            "rows.csv",
            text("1,2\n3,4\n"),
            "expected the names of features in its first line, such as 'age', .*; got '1', '2'",
        ),
        ("rows.csv", text("age,note,note\n1,2,3\n"), "the column 'note' is 2 times in the header"),
        ("rows.csv", text("age,note\n1,2\n3\n"), "line 3: expected 2 fields, got 1"),
        ("rows.csv", text('age,note\n1,"2\n'), "line 2: unexpected end of data"),
        (
            "rows.csv",
            lambda path: path.write_bytes("age,note\n1,näh\n".encode("latin-1")),
            "expected UTF-8.*latin-1: save",
        ),
        (
            "rows.csv",
            lambda path: path.write_bytes(b"age,note\n" + (b"1," + b"a" * 9_000 + b"\n") * 130 + b"1,\xe4\n"),
            "save it as UTF-8",
        ),
        ("rows.csv", lambda path: path.write_bytes(b"age,note\n1,a\x00b\n"), "control character"),
        ("rows.parquet", text("no parquet"), "not a readable Parquet file"),
        ("rows.parquet", lambda path: ROWS.head(0).to_parquet(path), "has columns but no rows"),
        ("rows.parquet", ROWS[["id"]].to_parquet, "expected the names of features, such as 'age'"),
        ("rows.parquet", lambda path: ROWS.assign(age=[[1]] * 4).to_parquet(path), "age.*the column has type list"),
        ("rows.parquet", lambda path: ROWS.assign(id=[[1]] * 4).to_parquet(path), "'id': list.* write a .parquet file"),
    ],
)
def test_a_bad_file_is_one_line_and_the_output_stays(
    name: str,
    write: Callable[[Path], Any],
    message: str,
    predicted: Callable[..., FilePrediction],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predict_file, "BATCH_ROWS", 2)  # errors come after rows that are written
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(DataError, match=message) as error:
        predicted(name, write)
    assert "\n" not in str(error.value)
    assert (tmp_path / "out.csv").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {name, "out.csv"}


def test_a_disk_that_is_full_leaves_the_output_as_it_was(
    predicted: Callable[..., FilePrediction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "out.csv").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="out.csv: cannot be written: No space left on device"):
        predicted("rows.csv", as_csv())
    assert (tmp_path / "out.csv").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "out.csv"}


def test_a_tsv_takes_no_field_with_a_tab_or_a_line_break(
    predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="'note': .* write a .csv file"):
        predicted("rows.csv", as_csv(), to="out.tsv")
    predicted("rows.tsv", as_tsv, to="out.tsv")
    assert [row["prediction"] for row in read_csv(tmp_path / "out.tsv", "\t")] == PREDICTED


def test_a_feature_that_is_left_out_counts_as_missing_and_is_named(
    predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    found = predicted("rows.csv", lambda path: ROWS[["note", "plan"]].to_csv(path, index=False))
    assert found.left_out == ["age", "day"]
    assert {row["probability_odd"] for row in read_csv(tmp_path / "out.csv")} == {"0.5"}


def test_a_column_to_keep_has_to_be_in_the_file(predicted: Callable[..., FilePrediction]) -> None:
    with pytest.raises(DataError, match=r"--keep nmae: .*rows.csv has no such column"):
        predicted("rows.csv", as_csv(), keep=["nmae"])


def test_an_output_that_cannot_be_written_is_found_before_a_model_is_loaded(
    tmp_path: Path, mlflow_settings: Settings
) -> None:
    source = tmp_path / "rows.csv"
    as_csv()(source)
    (tmp_path / "read_only.csv").touch(mode=0o444)
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in {
        "read_only.csv": "is read-only: make it writable",
        "folder.csv": "is no file that can be replaced",
        "pipe.csv": "is no file that can be replaced",
        "none/out.csv": "there is no folder",
        "out.txt": "expected a file whose name ends with .csv, .tsv or .parquet",
    }.items():
        with pytest.raises(DataError, match=message):
            open_prediction(mlflow_settings, "no such model", None, source, tmp_path / name)


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_an_output_that_another_process_has_locked_is_refused(
    kind: str, tmp_path: Path, mlflow_settings: Settings
) -> None:
    source, target = tmp_path / "rows.csv", tmp_path / "locked.csv"
    as_csv()(source)
    target.write_text("old")
    program = "import fcntl, sys; file = open(sys.argv[1], 'r+')\n"
    program += f"fcntl.{kind}(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "\n"
        with pytest.raises(DataError, match=r"locked.csv: is locked by another process: close it there"):
            open_prediction(mlflow_settings, "no such model", None, source, target)
        holder.communicate("")
    assert target.read_text() == "old"


def test_a_file_that_cannot_be_read_is_found_before_a_model_is_loaded(
    tmp_path: Path, mlflow_settings: Settings
) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "rows.txt").touch()
    for name, message in {
        "none.csv": "No such file",
        "folder.csv": "Is a directory",
        "rows.txt": "expected a file whose name ends with",
    }.items():
        with pytest.raises(DataError, match=message):
            open_prediction(mlflow_settings, "no such model", None, tmp_path / name, tmp_path / "out.csv")


def test_the_input_is_not_replaced(predicted: Callable[..., FilePrediction], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is the input: choose another name"):
        predicted("rows.csv", as_csv(), to="rows.csv")
    (tmp_path / "link.csv").symlink_to("rows.csv")
    with pytest.raises(DataError, match="is the input"):
        predicted("rows.csv", as_csv(), to="link.csv")


def test_a_link_keeps_pointing_to_the_file_that_is_written(
    predicted: Callable[..., FilePrediction], tmp_path: Path
) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    predicted("rows.csv", as_csv(), to="link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert len(read_csv(tmp_path / "real.csv")) == 4


def test_the_columns_that_training_dropped_are_known_from_the_run(
    mlflow_settings: Settings, model_name: str, mixed: Trained, tmp_path: Path
) -> None:
    config = mixed.config.model_copy(update={"dataset": mixed.config.dataset.model_copy(update={"drop": ("id",)})})
    version = registered(mlflow_settings, model_name, Trained(**{**vars(mixed), "config": config}))
    rows = mixed.holdout.assign(id=range(len(mixed.holdout)))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for number in (None, version):
        found = open_prediction(mlflow_settings, model_name, number, tmp_path / "rows.csv", tmp_path / "out.parquet")
        found.run(lambda share, rows: None)
        out = pd.read_parquet(tmp_path / "out.parquet")
        assert out["id"].tolist() == [str(number) for number in rows["id"]]
        assert out["prediction"].tolist() == found.model.predict(mixed.holdout).tolist()
    with pytest.raises(RegistryError, match="has no version '9'"):
        open_prediction(mlflow_settings, model_name, "9", tmp_path / "rows.csv", tmp_path / "out.csv")


def test_progress_ends_with_the_whole_file(
    model: ProductionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_BLOCKS", (10_000, 1 << 20))  # Arrow reads some blocks ahead
    many = pd.concat([ROWS] * 6_000, ignore_index=True).assign(note="long " * 60)
    many.to_csv(tmp_path / "rows.csv", index=False)
    many.to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        seen: list[tuple[float, int]] = []
        prediction = prediction_of(model, {"drop": ("id",)}, tmp_path / name, tmp_path / "out.parquet")
        prediction.run(lambda share, rows, seen=seen: seen.append((share, rows)))  # type: ignore[misc]
        assert seen == sorted(seen)
        assert len({share for share, _ in seen}) > 1
        assert seen[-1] == (1.0, 24_000)
