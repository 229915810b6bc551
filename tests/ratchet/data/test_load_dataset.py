from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Column, CsvDataset, ParquetDataset, SklearnDataset, TaskName
from ratchet.data import LoadedDataset, load_dataset, row_hashes, split_rows
from ratchet.errors import DataError

GOOD = "size,colour,kind\n1.0,red,a\n2.5,blue,b\n3.0,red,a\n4.0,,b\n"


def csv(tmp_path: Path, text: str, **keys: Any) -> CsvDataset:
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode(keys.get("encoding", "utf-8")))
    return CsvDataset(source="csv", path=path, target=keys.pop("target", "kind"), **keys)


def load(config: Any, task: TaskName = "classification") -> LoadedDataset:
    return load_dataset(config, task)


@pytest.mark.parametrize(
    ("name", "task", "shape"),
    [
        ("iris", "classification", (150, 5)),
        ("wine", "classification", (178, 14)),
        ("breast_cancer", "classification", (569, 31)),
        ("digits", "classification", (1797, 65)),
        ("diabetes", "regression", (442, 11)),
    ],
)
def test_bundled_data_sets_load(name: Any, task: TaskName, shape: tuple[int, int]) -> None:
    data = load(SklearnDataset(source="sklearn", name=name, target="y"), task)
    assert data.frame.shape == shape
    assert (data.schema.labels is None) == (task == "regression")


def test_iris_has_field_names_without_units() -> None:
    data = load(SklearnDataset(source="sklearn", name="iris", target="species"))
    assert data.schema.feature_names == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert data.schema.labels == ("setosa", "versicolor", "virginica")


def test_data_that_change_during_a_run_are_refused(tmp_path: Path) -> None:
    config = csv(tmp_path, GOOD)
    with pytest.raises(DataError, match="changed during the run"):
        load_dataset(config, "classification", expected_version="0" * 32)


def test_columns_are_typed_and_have_a_schema(tmp_path: Path) -> None:
    data = load(csv(tmp_path, GOOD))
    size, colour = data.schema.features
    assert (size.type, size.minimum, size.maximum, size.nullable) == ("number", 1.0, 4.0, False)
    assert (colour.type, colour.categories, colour.nullable) == ("category", ("blue", "red"), True)
    assert data.frame["size"].dtype == "float64"
    assert data.schema.labels == ("a", "b")


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    from_csv = load(csv(tmp_path, GOOD))
    path = tmp_path / "data.parquet"
    pd.read_csv(tmp_path / "data.csv").to_parquet(path)
    from_parquet = load(ParquetDataset(source="parquet", path=path, target="kind"))
    pd.testing.assert_frame_equal(from_parquet.frame, from_csv.frame)
    assert from_parquet.schema == from_csv.schema


def test_separator_encoding_and_drop_are_applied(tmp_path: Path) -> None:
    text = "id;größe;kind\n1;1,5;ä\n2;2,5;ö\n".replace(",", ".")
    config = csv(tmp_path, text, separator=";", encoding="latin-1", drop=("id",))
    data = load(config)
    assert data.schema.feature_names == ["größe"]
    assert data.schema.labels == ("ä", "ö")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, expected a header"),
        ("size,kind\n", "has a header but no rows"),
        ("size,size,kind\n1,2,a\n", "column 'size' is 2 times in the header"),
        ("size,kind\n1,a\n2\n", "line 3: expected 2 fields, got 1"),
        ("size,kind\n1,a\n2,b,c\n", "line 3: expected 2 fields, got 3"),
        ('size,kind\n1,"a\n', "line 2: unexpected end of data"),
        ("size,kind\n1,a\n2,b\nthree,a\n", "column 'size': expected a number, got 'three' in row 3"),
        ("size,kind\n1,a\ninf,b\n", "column 'size': expected a finite number, got infinity in row 2"),
        ("size,kind\n,a\n,b\n", "column 'size': every value is missing"),
        ("size,kind\n1,a\n2,a\n", "has only one class, 'a'"),
        ("size,kind\n1,a\n2,\n", "target 'kind': is missing in row 2"),
        ("size,kin\n1,a\n2,b\n", "dataset.target: there is no column 'kind'; did you mean 'kin'?"),
        ("kind\na\nb\n", "no feature besides the target"),
        ("size;kind\n1;a\n2;b\n", "the header has one column, 'size;kind'; set dataset.separator"),
        ("size,kind\n1,0.5\n2,1.0\n", "target 'kind': 0.5 is not a class; to predict a number, set task: regression"),
    ],
)
def test_an_invalid_csv_is_refused_with_column_and_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load(csv(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"size": Column(minimum=2)}, "column 'size': breaks the rule greater_than_or_equal_to(2.0): got 1.0 in row 1"),
        ({"size": Column(maximum=3)}, "column 'size': breaks the rule less_than_or_equal_to(3.0): got 4.0 in row 4"),
        ({"colour": Column(categories=("red",))}, "got 'blue' in row 2"),
        ({"colour": Column(nullable=False)}, "column 'colour': breaks the rule not_nullable"),
        ({"weight": Column()}, "dataset.columns: there is no column 'weight'"),
        ({"colour": Column(type="number")}, "column 'colour': expected a number, got 'red' in row 1"),
    ],
)
def test_a_broken_rule_is_refused_with_an_example(tmp_path: Path, rule: dict[str, Column], message: str) -> None:
    with pytest.raises(DataError) as caught:
        load(csv(tmp_path, GOOD, columns=rule))
    assert message in str(caught.value)


def test_a_number_that_is_declared_a_category_keeps_its_text(tmp_path: Path) -> None:
    data = load(csv(tmp_path, GOOD, columns={"size": Column(type="category")}))
    assert data.schema.features[0].categories == ("1.0", "2.5", "3.0", "4.0")


def test_a_category_of_integers_has_the_same_names_with_and_without_a_missing_value(tmp_path: Path) -> None:
    text = "code,kind\n" + "".join(f"{number % 3},{'ab'[number % 2]}\n" for number in range(30))
    for rows in (text, f"{text},a\n"):
        data = load(csv(tmp_path, rows, columns={"code": Column(type="category")}))
        assert data.schema.features[0].categories == ("0", "1", "2")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"drop": ("kind",)}, "drop: 'kind' is the target, which is needed"),
        ({"time": "size", "drop": ("size",)}, "drop: 'size' is the time, which is needed"),
        ({"time": "kind"}, "time: 'kind' is the target"),
    ],
)
def test_target_and_time_are_two_columns_that_cannot_be_dropped(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        csv(tmp_path, GOOD, **keys)


def test_years_have_four_digits_so_that_text_sorts_by_time(tmp_path: Path) -> None:
    text = (
        "at,kind,size\n" + "".join(f"{year}-01-01,{'ab'[year % 2]},1\n" for year in (2026, 1999)) + "0987-01-01,a,1\n"
    )
    data = load(csv(tmp_path, text, time="at"))
    assert data.frame["at"].tolist() == ["0987-01-01T00:00:00", "1999-01-01T00:00:00", "2026-01-01T00:00:00"]


def test_a_column_of_distinct_numbers_is_not_a_class(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i}" for i in range(1001))
    with pytest.raises(DataError, match="set task: regression"):
        load(csv(tmp_path, f"size,kind\n{rows}\n"))


def frame(rows: int = 100) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(rows, dtype=float), "y": ["a", "b"] * (rows // 2)})


def test_a_split_has_every_row_once_and_the_same_shares_of_classes() -> None:
    train, holdout = split_rows(frame(), "y", 0.2, seed=1, stratify=True)
    assert sorted([*train["x"], *holdout["x"]]) == list(range(100))
    assert holdout["y"].value_counts().to_dict() == {"a": 10, "b": 10}


def test_the_seed_fixes_the_split() -> None:
    one, same, other = (split_rows(frame(), "y", 0.2, seed, stratify=True)[1] for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_a_feature_cannot_be_the_target_of_a_bundled_set() -> None:
    with pytest.raises(DataError, match="'sepal_length' is a feature of iris; choose another name"):
        load(SklearnDataset(source="sklearn", name="iris", target="sepal_length"))


def test_classes_written_as_decimals_are_integers(tmp_path: Path) -> None:
    assert load(csv(tmp_path, "size,kind\n1,0.0\n2,1.0\n")).schema.labels == (0, 1)


def test_a_class_that_is_too_rare_for_a_split_is_refused() -> None:
    rows = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": ["a", "a", "b"]})
    with pytest.raises(DataError, match="split.test_size"):
        split_rows(rows, "y", 0.3, seed=1, stratify=True)


def test_equal_rows_have_equal_hashes_with_any_dtype_of_text() -> None:
    rows = frame()
    again = rows.sample(frac=1, random_state=0)
    assert set(row_hashes(rows)) == set(row_hashes(again))
    assert np.array_equal(row_hashes(rows), row_hashes(rows.astype({"y": "string"}).astype({"y": object})))
    assert len(set(row_hashes(rows))) == len(rows)


def test_hashes_survive_a_parquet_file(tmp_path: Path) -> None:
    rows = load(csv(tmp_path, GOOD)).frame
    rows.to_parquet(tmp_path / "rows.parquet")
    assert np.array_equal(row_hashes(pd.read_parquet(tmp_path / "rows.parquet")), row_hashes(rows))


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    for config in (CsvDataset(source="csv", path=tmp_path / "nowhere", target="kind"), parquet(tmp_path / "nowhere")):
        with pytest.raises(DataError, match=r"dataset.path .*nowhere: No such file"):
            load(config)


def parquet(path: Path) -> ParquetDataset:
    return ParquetDataset(source="parquet", path=path, target="kind")


@pytest.mark.parametrize(("content", "message"), [(GOOD, "not a readable Parquet file"), (None, "no rows")])
def test_a_parquet_file_without_rows_or_of_another_kind_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "data.parquet"
    pd.DataFrame({"size": [], "kind": []}).to_parquet(path) if content is None else path.write_text(content)
    with pytest.raises(DataError, match=message):
        load(parquet(path))


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (GOOD, "kind", "target 'kind': expected a number, got 'a' in row 1"),
        ("size,weight\n1,2\ninf,3\n", "size", r"target 'size': expected a finite number, got .*inf.* in row 2"),
    ],
)
def test_a_regression_predicts_finite_numbers(tmp_path: Path, text: str, target: str, message: str) -> None:
    assert load(csv(tmp_path, GOOD, target="size"), "regression").schema.labels is None
    with pytest.raises(DataError, match=message):
        load(csv(tmp_path, text, target=target), "regression")
