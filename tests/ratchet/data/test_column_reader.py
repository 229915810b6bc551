"""Columns of text get the types that the config declares, else those that their values have."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.config import Column, CsvDataset, ParquetDataset
from ratchet.data import delimited, load_dataset
from ratchet.data.column_reader import ColumnReader, rule_of
from ratchet.data.delimited import Dialect, read_delimited
from ratchet.data.number_text import NumberFormat
from ratchet.errors import DataError

CSV = Dialect(",", "utf-8", (), quotes=True)


def read(tmp_path: Path, text: str, dialect: Dialect = CSV, **keys: Any) -> pd.DataFrame:
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode())
    return read_delimited(path, dialect, CsvDataset(**{"source": "csv", "path": path, "target": "y", **keys}))


@pytest.mark.parametrize(
    "values",
    [
        ["1", "-2", "7"],
        ["1", "", "3"],
        ["0.1", "1e3", ".5", "5.", "-0.0", "1.7976931348623157e308", "0.30000000000000004"],
        ["999999999999999", "-999999999999999"],
        [" 1", "2 "],
        [" 1.5", "\t2"],
        ["inf", "-Infinity"],
        ["True", "FALSE", "true"],
        ["true", "yes"],
        ["0x1F", "0x2A"],
        ["1_000", "2_000"],
        ["1,5", "2,5"],
        ["NAN", "1"],
        ["2026-01-01", "2026-01-02"],
        ["12:00", "13:00"],
        ["1", "two", "three"],
        ["NA", "x", "null"],
        ["n/a", "x", "NULL"],
        ["NaN", "None", "nan"],
        ["a\nb", 'say "no"', "c,d"],
    ],
)
def test_columns_have_the_types_and_values_of_pandas(tmp_path: Path, values: list[str]) -> None:
    text = pd.DataFrame({"row": range(len(values)), "value": values}).to_csv(index=False)
    options: Any = {"float_precision": "round_trip", "low_memory": False, "keep_default_na": False, "na_values": [""]}
    expected = pd.read_csv(StringIO(text), **options)
    pd.testing.assert_frame_equal(read(tmp_path, text), expected)


def test_booleans_may_be_missing(tmp_path: Path) -> None:
    assert read(tmp_path, "row,value\n1,True\n2,\n3,false\n")["value"].tolist() == [True, None, False]


def test_the_words_of_pandas_are_missing_where_the_config_asks_for_them(tmp_path: Path) -> None:
    text = "row,value,word\n" + "".join(f"{row},{value},{value}\n" for row, value in enumerate(["1", "", "NA", "null"]))
    frame = read(tmp_path, text, missing="pandas", columns={"word": Column(missing=("null",))})
    assert frame["value"].isna().tolist() == [False, True, True, True]
    assert frame["word"].fillna("").tolist() == ["1", "", "NA", ""]


@pytest.mark.parametrize("others", [[], ["", "7"]])
def test_integers_beyond_64_bits_keep_their_digits(tmp_path: Path, others: list[str]) -> None:
    values = ["18446744073709551616", "18446744073709551617", *others]
    text = "row,value\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values))
    assert read(tmp_path, text)["value"].fillna("").tolist() == values


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    assert read(tmp_path, "\nsize,kind\n\n1,a\n\n").to_dict("list") == {"size": [1], "kind": ["a"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('1,"a', "line 4: unexpected end of data"),
        ('1,"a"b', "line 3: ',' expected after '\"'"),
        ('1,"say "no" to it"', "line 3: ',' expected after '\"'"),
        ('1,""a"', "line 3: ',' expected after '\"'"),
    ],
)
def test_a_misplaced_quotation_mark_is_refused_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, f'size,kind\n0,"b, c"\n{row}\n5,d\n')


def test_a_quotation_mark_in_a_field_without_quotation_marks_is_a_letter(tmp_path: Path) -> None:
    assert read(tmp_path, 'size,kind\n1,5" pipe\n2,6"\n')["kind"].tolist() == ['5" pipe', '6"']


def test_a_separator_beyond_ascii_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset.separator: expected an ASCII character, got '§'"):
        read(tmp_path, "size§kind\n1§a\n", Dialect("§", "utf-8", (), quotes=True))


@pytest.mark.parametrize(
    "values",
    [
        ["02116", "00501", "10001"],
        ["-012", "5", "7"],
        ["007", "012", ""],
        ["00.5", "1.5"],
        [" 01", "2"],
        ["1582218195625938945", "1582218195625938946"],
        ["1234567890123456", "1.5"],
    ],
)
def test_numbers_that_would_lose_a_zero_or_digits_stay_text(tmp_path: Path, values: list[str]) -> None:
    text = "row,value\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values))
    assert read(tmp_path, text)["value"].fillna("").tolist() == values


def test_declared_columns_keep_their_text_whatever_it_looks_like(tmp_path: Path) -> None:
    values = ["1.10", "1.1", "True", "NA", " 5", "0x1F", "1e3"]
    text = "value\n" + "\n".join(values) + "\n"
    for kind in ("category", "text"):
        assert read(tmp_path, text, columns={"value": {"type": kind}})["value"].tolist() == values


@pytest.mark.parametrize(
    ("keys", "values", "expected"),
    [
        ({"decimal": ","}, ["1,5", "-2", ",25", "1,5e2"], [1.5, -2, 0.25, 150]),
        ({"thousands": ","}, ["1,023.04", "12", "1,234,567"], [1023.04, 12, 1234567]),
        ({"decimal": ",", "thousands": "."}, ["1.023,04", "12", "+7"], [1023.04, 12, 7]),
        ({"thousands": " "}, ["1 000", "2"], [1000, 2]),
        ({"missing": ["-999", "?"]}, ["-999", "-999.0", "?", "5"], [None, None, None, 5]),
        ({"missing": [-999]}, ["-999", "1"], [None, 1]),
        ({"columns": {"value": {"type": "number"}}}, ["007", "+8", " 9"], [7, 8, 9]),
        ({"columns": {"value": {"decimal": ","}}}, ["1,5", "2,5"], [1.5, 2.5]),
        ({"columns": {"value": {"type": "number"}}}, ["True", "false"], [1, 0]),
    ],
)
def test_numbers_are_read_in_the_declared_format(
    tmp_path: Path, keys: dict[str, Any], values: list[str], expected: list[float | None]
) -> None:
    text = "row;value\n" + "".join(f'{row};"{value}"\n' for row, value in enumerate(values))
    frame = read(tmp_path, text, Dialect(";", "utf-8", (), quotes=True), **keys)
    column = ColumnReader("value", rule_of(CsvDataset(source="csv", path=tmp_path, target="y", **keys), "value"))
    found = column.from_values(frame["value"])
    assert [None if pd.isna(value) else value for value in found] == expected


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ({"thousands": ","}, ["1,5", "2,5"]),
        ({"decimal": ","}, ["1.5", "2.5"]),
        ({"decimal": ",", "thousands": "."}, ["1.5", "2.25"]),
    ],
)
def test_text_in_another_format_is_no_number(tmp_path: Path, keys: dict[str, Any], values: list[str]) -> None:
    text = "row;value\n" + "".join(f"{row};{value}\n" for row, value in enumerate(values))
    assert read(tmp_path, text, Dialect(";", "utf-8", (), quotes=True), **keys)["value"].tolist() == values


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("NA", r"set dataset.missing to \[NA\]"),
        ("1,5", "set dataset.decimal or dataset.thousands"),
        ("many", "declare the column as type: category"),
    ],
)
@pytest.mark.parametrize("keys", [{}, {"columns": {"value": {"type": "number"}}}])
def test_a_word_among_numbers_is_refused_with_what_to_do(
    tmp_path: Path, word: str, advice: str, keys: dict[str, Any]
) -> None:
    for values in ([word, "1", "2"], ["1", "2", word]):
        text = "row;value\n" + "".join(f"{row};{value}\n" for row, value in enumerate(values))
        with pytest.raises(
            DataError, match=f"expected a number, got '{word}' in row {values.index(word) + 1}.*{advice}"
        ):
            read(tmp_path, text, Dialect(";", "utf-8", (), quotes=True), **keys)


def test_a_dropped_column_and_the_target_may_have_words_among_numbers(tmp_path: Path) -> None:
    frame = read(tmp_path, "id,y\n1,1\n2,2\nx,other\n", drop=("id",))
    assert frame.to_dict("list") == {"id": ["1", "2", "x"], "y": ["1", "2", "other"]}


@pytest.mark.parametrize(
    "values", [[-999, 2, 7], [-999.0, 2.0, 7.0], ["-999", "2", "7"], pd.Series([-999, 2, 7], dtype="Int64")]
)
def test_a_missing_number_of_a_declared_category_is_missing_in_every_source_and_in_requests(values: Any) -> None:
    reader = ColumnReader("code", Column(type="category", missing=("-999",)))
    assert reader.from_values(pd.Series(values)).fillna("").tolist() == ["", "2", "7"]
    assert reader.from_json("-999") is None


@pytest.mark.parametrize("texts", [["0,5", "1,5"], ["00,5", "01,5"], ["1.000,5", "1.001,5"]])
@pytest.mark.parametrize("kind", [None, "number"])
def test_a_number_to_predict_is_read_in_the_declared_format_in_every_source(
    tmp_path: Path, texts: list[str], kind: Any
) -> None:
    columns = {"y": {"type": kind}}
    keys: Any = {"target": "y", "decimal": ",", "thousands": ".", "columns": columns}
    rows = pd.DataFrame({"x": [0.25, 1.25], "y": texts})
    rows.to_csv(tmp_path / "data.csv", sep=";", index=False)
    rows.to_parquet(tmp_path / "data.parquet")
    csv = CsvDataset(
        source="csv",
        path=tmp_path / "data.csv",
        separator=";",
        **{**keys, "columns": columns | {"x": {"decimal": ".", "thousands": ","}}},
    )
    parquet = ParquetDataset(source="parquet", path=tmp_path / "data.parquet", **keys)
    expected = [float(text.replace(".", "").replace(",", ".")) for text in texts]
    for config in (csv, parquet):
        assert load_dataset(config, "regression").frame["y"].tolist() == expected


@pytest.mark.parametrize(
    ("texts", "rule", "values"),
    [
        (["007", "012"], {"minimum": 3}, [7, 12]),
        (["007", "012"], {"maximum": 12}, [7, 12]),
        (["True", "False"], {"minimum": 0}, [1, 0]),
        (["0", "1"], {"categories": ["0", "1"]}, ["0", "1"]),
        (["True", "False"], {"categories": ["True", "False"]}, ["True", "False"]),
    ],
)
def test_a_column_with_bounds_is_a_number_and_one_with_categories_a_category(
    tmp_path: Path, texts: list[str], rule: dict[str, Any], values: list[Any]
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,y\n" + "".join(f"{text},{at}\n" for at, text in enumerate(texts)))
    config = CsvDataset(source="csv", path=path, target="y", columns={"a": Column(**rule)})
    assert load_dataset(config, "regression").frame["a"].tolist() == values


@pytest.mark.parametrize("column", ["a", "y"])
def test_bounds_of_text_are_refused_in_one_line(tmp_path: Path, column: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,y\nred,no\nblue,yes\n")
    config = CsvDataset(source="csv", path=path, target="y", columns={column: Column(type="category", minimum=0)})
    with pytest.raises(DataError, match=f"column '{column}': minimum and maximum need numbers, got text"):
        load_dataset(config, "classification")


FORMATS = [NumberFormat(), NumberFormat(","), NumberFormat(".", ","), NumberFormat(",", ".")]


@given(text=st.text("0123456789.,+-eExX n_afi", max_size=8), form=st.sampled_from(FORMATS))
@settings(max_examples=500)
def test_a_column_and_a_single_text_are_read_alike(text: str, form: NumberFormat) -> None:
    try:
        column = form.cast(pa.chunked_array([[text]]))[0].as_py()
    except ValueError:
        column = None
    assert form.parse(text) == column
    assert form.is_number(pa.chunked_array([[text]]))[0].as_py() == (column is not None)


def test_a_field_may_be_longer_than_131072_characters(tmp_path: Path) -> None:
    words = "word " * 30_000
    frame = read(tmp_path, f'first,note\n1,"{words}"\n')
    assert frame["note"].tolist() == [words]
    with pytest.raises(DataError, match="line 3: expected 2 fields, got 1"):
        read(tmp_path, f'first,note\n1,"{words}"\n2\n')
    assert len(read(tmp_path, f"{words},note\n1,a\n").columns) == 2


@pytest.mark.parametrize("size", [100, 257])
def test_a_column_has_one_type_in_however_many_blocks_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    rows, columns = 400, {
        "integer": str,
        "late_fraction": lambda row: "0.5" if row == 399 else str(row),
        "late_zero": lambda row: "007" if row == 399 else str(row),
        "late_id": lambda row: "1582218195625938945" if row == 399 else str(row),
        "late_text": lambda row: "other" if row >= 150 else str(row),
        "truth": lambda row: ["True", "false", ""][row % 3],
        "late_truth": lambda row: "1" if row < 100 else "True",
        "gaps_first": lambda row: "" if row < 300 else str(row),
        "only_gaps": lambda row: "",
        "quoted": lambda row: f'"a ""{row}"""',
    }  # fmt: skip
    lines = [",".join(columns), *(",".join(write(row) for write in columns.values()) for row in range(rows))]
    text = "\n".join(lines) + "\n"
    whole = read(tmp_path, text)
    monkeypatch.setattr(delimited, "_BLOCKS", (size, 1 << 20))
    pd.testing.assert_frame_equal(read(tmp_path, text), whole)
    for wrong in ('1,"a', '1,"a"b'):
        with pytest.raises(DataError, match="line 402"):
            read(tmp_path, f"{text}{wrong}{',' * 8}\n")


def test_a_word_among_numbers_is_refused_with_its_row_in_a_later_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_BLOCKS", (100, 1 << 20))
    text = "row,value\n" + "".join(f"{row},{'NA' if row == 299 else row}\n" for row in range(300))
    for keys in ({}, {"columns": {"value": {"type": "number"}}}):
        with pytest.raises(DataError, match="expected a number, got 'NA' in row 300"):
            read(tmp_path, text, **keys)
