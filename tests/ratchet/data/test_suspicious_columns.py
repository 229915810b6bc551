"""Warnings about the columns and rows of a data set, and the lines of the config that fix them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from ratchet.config import Dataset, Split, TaskName
from ratchet.config.files import load_config
from ratchet.data import load_dataset
from ratchet.data.batches import ingest
from ratchet.data.suspicion import Suspicion
from ratchet.data.suspicious_columns import SAMPLE, suspicious_columns
from ratchet.errors import DataError
from tests.conftest import ROOT
from tests.originals import FETCHED, served
from tests.web_server import serving

CASES = ROOT / "tests" / "cases"
ROWS = 300
CONFIGS = sorted(
    path
    for path in (ROOT / "configs").rglob("*.yaml")
    if path.parent.name not in FETCHED and path.stem not in ("reporting", "simulate")
)


def dataset(path: Path, **keys: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(Dataset)
    return adapter.validate_python({"source": "csv", "path": str(path), "target": "y", **keys})


def case(name: str, target: str, **keys: Any) -> Any:
    return dataset(CASES / f"{name}.csv", **{"target": target, **keys})


def found_in(config: Any, task: TaskName = "classification") -> tuple[Suspicion, ...]:
    return load_dataset(config, task).warnings


def fixed(config: Any, line: str) -> Any:
    """The config with a line of a warning in it."""
    ((path, value),) = yaml.safe_load(line).items()
    values = config.model_dump(mode="json", exclude_unset=True)
    _, _, key = path.partition(".")
    new = {key: value} if key else value
    merged = {name: values.get(name, {}) | part if isinstance(part, dict) else part for name, part in new.items()}
    return dataset(**{**values, **merged})


def test_a_decimal_comma_has_a_warning_with_the_line_that_reads_the_numbers() -> None:
    config = case("decimals", "clase", separator=";")
    warnings = found_in(config)
    assert [(one.column, one.kind, one.fix) for one in warnings] == [
        ("larga", "number-like text", 'dataset.decimal: ","'),
        ("alta", "number-like text", 'dataset.decimal: ","'),
    ]
    data = load_dataset(fixed(config, warnings[0].fix), "classification")
    assert (data.schema.numeric, data.warnings) == (True, ())


def test_the_unnamed_column_of_row_numbers_is_warned_of_refused_or_left_out() -> None:
    config = case("numbered", "animal")
    (warning,) = found_in(config)
    assert str(warning) == "column '': has no name, and another value in each row (0, 1, 2, …): dataset.drop: [\"\"]"
    with pytest.raises(DataError, match=r"dataset.strict: column '': has no name.*: dataset.drop: \[\"\"\]$"):
        found_in(case("numbered", "animal", strict=True))
    data = load_dataset(case("numbered", "animal", strict=True, drop=[""]), "classification")
    assert (data.schema.feature_names, data.warnings) == (["a", "b"], ())


def test_ids_of_19_digits_have_a_warning_unless_they_are_declared() -> None:
    (warning,) = found_in(case("devices", "fault"))
    assert (warning.column, warning.kind) == ("device", "digits")
    assert warning.fix == "dataset.columns: {device: {type: category}}"
    assert found_in(case("devices", "fault", columns={"device": {"type": "category"}})) == ()


DRAW = np.random.default_rng(0)
DAYS = pd.date_range("2020-01-01", periods=ROWS).strftime
COLUMNS: dict[str, tuple[Any, str, bool]] = {
    # name: (values, kind, whether the line reads the column rightly and does not leave it out)
    "decimal comma": ([f"{at / 100:.2f}".replace(".", ",") for at in range(ROWS)], "number-like text", True),
    "thousands": ([f"{at * 997:,}" for at in range(ROWS)], "number-like text", True),
    "both": ([f"{at * 997:,}.5" for at in range(ROWS)], "number-like text", True),
    "european": ([f"{at * 997:_},5".replace("_", ".") for at in range(ROWS)], "number-like text", True),
    "dollars": ([f"${at * 997:,.2f}" for at in range(ROWS)], "number-like text", False),
    "weight": ([f"{at} kg" for at in range(ROWS)], "number-like text", False),
    "unknown": (["?" if at % 3 else str(at) for at in range(ROWS)], "number-like text", True),
    "NA": (["NA" if at % 4 else str(at % 3) for at in range(ROWS)], "number-like text", True),
    "percent": ([f"{at % 100} %" for at in range(ROWS)], "number-like text", False),
    "ISO day": (DAYS("%Y-%m-%d"), "date-like text", True),
    "ISO time": (DAYS("%Y-%m-%dT%H:%M:%S"), "date-like text", True),
    "German day": (DAYS("%d.%m.%Y"), "date-like text", False),
    "American day": (DAYS("%m/%d/%Y"), "date-like text", False),
    "day with a name": (DAYS("%d %b %Y"), "date-like text", False),
    "zip": (DRAW.choice(["02116", "00501", "94110"], ROWS), "digits", True),
    "long": (DRAW.choice(["1582218195625938946", "1582218195625938947"], ROWS), "digits", True),
    "number": (np.arange(ROWS) + 1, "row number", False),
    "shuffled": (DRAW.permutation(ROWS), "row number", False),
    "ids": (1000 + DRAW.choice(2 * ROWS, ROWS, replace=False), "id", False),
    "customer_id": (DRAW.choice(10**8, ROWS, replace=False), "id", False),
    "code": ([f"{at * 7919:08x}-z" for at in range(ROWS)], "id", False),
    "padded": ([f"{at:09d}" for at in range(ROWS)], "id", False),
    "same": (np.full(ROWS, 7), "constant", False),
    "same word": (["x"] * ROWS, "constant", False),
    "names": ([f"n{at % 100}" for at in range(ROWS)], "many categories", False),
    "sentences": ([f"a text with number {at}" for at in range(ROWS)], "many categories", True),
    'the "odd", name: {x}': (np.full(ROWS, 7), "constant", False),
    "é" * 300: (["x"] * ROWS, "constant", False),
}


@pytest.mark.parametrize("name", COLUMNS, ids=lambda name: name[:20])
def test_each_kind_has_one_warning_whose_line_in_the_config_ends_it(name: str, tmp_path: Path) -> None:
    values, kind, is_kept = COLUMNS[name]
    y = np.random.default_rng(1).choice(["a", "b"], ROWS)
    frame = pd.DataFrame({name: values, "x": np.random.default_rng(2).normal(size=ROWS).round(3), "y": y})
    frame.to_csv(tmp_path / "data.csv", index=False)
    config = dataset(tmp_path / "data.csv")
    (warning,) = found_in(config)
    assert (warning.column, warning.kind) == (name, kind)
    data = load_dataset(fixed(config, warning.fix), "classification")
    assert data.warnings == ()
    assert (name in data.schema.feature_names) == is_kept
    with pytest.raises(DataError, match=r"^dataset\.strict: column "):
        found_in(dataset(tmp_path / "data.csv", strict=True))


@pytest.mark.parametrize(
    "values",
    [["3G", "4G", "5G"], ["10cm", "20cm"], ["none", "none", "1", "2"], ["?", "02116", "00501"], ["1.5", "a", "?", "?"]],
    ids=repr,
)
def test_few_categories_with_digits_have_no_warning(values: list[str]) -> None:
    frame = pd.DataFrame({"a": DRAW.choice(values, ROWS), "y": DRAW.choice(["a", "b"], ROWS)})
    warnings = suspicious_columns(frame, dataset(Path("x.csv")), "classification")
    assert [one for one in warnings if one.column] == []


@pytest.mark.parametrize("share", [0.05, 0.7])
@pytest.mark.parametrize("missing", [[], ["-"]])
def test_a_word_among_numbers_is_named_as_missing(share: float, missing: list[str], tmp_path: Path) -> None:
    numbers = pd.Series(DRAW.integers(0, 50, ROWS) / 10)
    frame = pd.DataFrame(
        {"a": numbers.astype(str).mask(DRAW.random(ROWS) < share, "?"), "y": DRAW.choice([0, 1], ROWS)}
    )
    frame.loc[0, "a"] = (missing or ["?"])[0]
    frame.to_parquet(tmp_path / "data.parquet")
    config = dataset(tmp_path / "data.parquet", source="parquet", missing=missing)
    (warning,) = (one for one in found_in(config) if one.column)
    listed = ", ".join(f'"{word}"' for word in [*missing, "?"])
    assert warning.fix == f"dataset.columns: {{a: {{missing: [{listed}], type: number}}}}"
    data = load_dataset(fixed(config, warning.fix), "classification")
    read = data.frame["a"].to_numpy()
    assert np.array_equal(read, pd.to_numeric(frame["a"], errors="coerce").to_numpy(), equal_nan=True)


TEXTS = {
    "comma": [f"{at},5" for at in range(ROWS)],
    "points and a comma": [f"{at * 997:_},5".replace("_", ".") for at in range(ROWS)],
    "points": [f"{at * 9973:_}".replace("_", ".") for at in range(ROWS)],
    "one point": [f"0.{at:03d}" for at in range(ROWS)],
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_line_for_numbers_as_text_in_a_typed_source_reads_the_numbers(name: str, tmp_path: Path) -> None:
    values = [text if name == "one point" else text.replace(".", "").replace(",", ".") for text in TEXTS[name]]
    frame = pd.DataFrame({"a": TEXTS[name], "y": DRAW.choice(["a", "b"], ROWS)})
    frame.to_parquet(tmp_path / "data.parquet")
    config = dataset(tmp_path / "data.parquet", source="parquet")
    (warning,) = found_in(config)
    data = load_dataset(fixed(config, warning.fix), "classification")
    assert data.frame["a"].tolist() == list(map(float, values))


def test_what_a_config_says_of_a_column_stays_in_the_line() -> None:
    config = dataset(Path("x.csv"), columns={"a": {"minimum": 0.5, "nullable": False}}, drop=["b"])
    frame = pd.DataFrame({"a": [f"{at},5" for at in range(ROWS)], "c": range(ROWS), "y": DRAW.choice([0, 1], ROWS)})
    comma, number = suspicious_columns(frame.assign(f=0.25 * DRAW.choice(5, ROWS)), config, "classification")
    assert comma.fix == 'dataset.columns: {a: {minimum: 0.5, nullable: false, type: number, decimal: ","}}'
    assert number.fix == "dataset.drop: [b, c]"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_config_of_the_repository_has_a_warning(path: Path) -> None:
    config = load_config(path)
    assert found_in(config.dataset, config.task) == ()


@pytest.mark.parametrize("use_case", FETCHED)
def test_no_use_case_with_fetched_data_has_a_warning(use_case: str) -> None:
    with serving() as site:
        config = served(site, Path(use_case, "baseline.yaml"))
        # The stand-in for the bikes has one season and one year.
        assert [one for one in found_in(config.dataset, config.task) if one.kind != "constant"] == []


def rows_of(n_rows: int, **columns: Any) -> pd.DataFrame:
    draw = np.random.default_rng(3)
    x = draw.normal(size=n_rows)
    return pd.DataFrame({"x": x, "k": draw.choice(["p", "q", "r"], n_rows), **columns, "y": np.where(x > 0, "a", "b")})


def kinds(frame: pd.DataFrame, task: TaskName = "classification") -> dict[str | None, str]:
    found = suspicious_columns(frame, dataset(Path("x.csv")), task)
    return {one.column: one.kind for one in found}


@pytest.mark.parametrize("n_rows", [ROWS, 5 * SAMPLE])
def test_a_column_that_determines_the_target_has_a_warning(n_rows: int) -> None:
    frame = rows_of(n_rows)
    assert kinds(frame) == {}, "a class for each side of a threshold is what a model learns"
    code = np.where(frame["y"] == "a", 7, 9) + 10 * np.random.default_rng(0).choice(4, n_rows)
    assert kinds(frame.assign(code=code)) == {"code": "determines the target"}
    almost = np.where(np.arange(n_rows) % 50 == 0, 7, code)
    assert kinds(frame.assign(code=almost)) == {}


@pytest.mark.parametrize(("leak", "is_found"), [(lambda y: 2 * y + 1, True), (np.exp, True), (lambda y: y**2, False)])
def test_a_number_that_grows_with_the_target_has_a_warning(leak: Any, is_found: bool) -> None:
    y = np.random.default_rng(0).normal(size=ROWS)
    frame = pd.DataFrame({"x": y + np.random.default_rng(1).normal(size=ROWS), "leak": leak(y), "y": y})
    assert kinds(frame, "regression") == ({"leak": "determines the target"} if is_found else {})


@pytest.mark.parametrize("n_rows", [ROWS, 10 * SAMPLE])
def test_rows_that_are_in_the_data_twice_have_a_warning(n_rows: int) -> None:
    frame = rows_of(n_rows)
    assert kinds(pd.concat([frame, frame.head(n_rows // 5)], ignore_index=True)) == {None: "repeated rows"}
    assert kinds(pd.concat([frame, frame.head(n_rows // 500)], ignore_index=True)) == {}
    assert kinds(pd.concat([frame, frame], ignore_index=True)) == {None: "repeated rows"}, "no value has two rows"


def test_rows_of_a_few_categories_are_equal_by_chance() -> None:
    assert kinds(rows_of(2000).drop(columns="x").assign(z=DRAW.choice(4, 2000), w=DRAW.choice(3, 2000))) == {}
    assert found_in(case("survey", "decision")) == ()


def test_numbers_that_happen_to_differ_are_no_ids() -> None:
    draw = np.random.default_rng(0)
    assert kinds(rows_of(ROWS, income=draw.choice(10**7, ROWS, replace=False))) == {}
    assert kinds(rows_of(15, n=range(15))) == {}, "a few rows show nothing"


def test_a_file_that_is_read_in_batches_has_the_warnings_of_its_training_sample(tmp_path: Path) -> None:
    frame = rows_of(4000, price=[f"{at},5" for at in range(4000)], same=1.0, n=range(4000))
    frame["price"] = frame["price"].str.slice(-4)
    frame.to_parquet(tmp_path / "data.parquet", index=False)
    keys = {"source": "parquet", "batch_rows": 500}
    found = ingest(dataset(tmp_path / "data.parquet", **keys), Split(), "classification", 0).warnings
    assert {one.column: one.kind for one in found} == {"price": "number-like text", "same": "constant", "n": "id"}
    with pytest.raises(DataError, match=r"dataset.strict: column 'price'.* \(and 2 more, which --dry-run lists\)"):
        ingest(dataset(tmp_path / "data.parquet", **keys, strict=True), Split(), "classification", 0)


def test_rows_of_different_times_repeat_no_row() -> None:
    hours = pd.date_range("2025-01-01", periods=ROWS, freq="h").strftime("%Y-%m-%dT%H:%M")
    rows = pd.DataFrame({"at": hours, "y": np.random.default_rng(0).integers(0, 150, ROWS) / 10})
    assert suspicious_columns(rows, dataset(Path("x.csv"), time="at"), "regression") == ()


def test_commas_in_numbers_with_a_point_are_thousands_also_between_semicolons() -> None:
    draws = np.random.default_rng(0)
    rows = pd.DataFrame({"a": [f"{value:,.2f}" for value in draws.normal(40_000, 900, ROWS)], "y": ["u", "v"] * 150})
    (found,) = suspicious_columns(rows, dataset(Path("x.csv"), separator=";"), "classification")
    assert found.fix == 'dataset.columns: {a: {type: number, thousands: ","}}'
