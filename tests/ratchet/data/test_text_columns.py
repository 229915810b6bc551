"""Columns of text get the types that their values have."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from ratchet.data.delimited import Dialect, read_delimited
from ratchet.errors import DataError

CSV = Dialect(",", "utf-8", (), quotes=True)


def read(tmp_path: Path, text: str, dialect: Dialect = CSV) -> pd.DataFrame:
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode())
    return read_delimited(path, dialect)


@pytest.mark.parametrize(
    "values",
    [
        ["1", "-2", "007"],
        ["1", "", "3"],
        ["0.1", "1e3", ".5", "5.", "-0.0", "1.7976931348623157e308", "0.30000000000000004"],
        ["9223372036854775807", "-9223372036854775807"],
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
        ["1", "two", "3"],
        ["", "NA", "null", "None", "NaN"],
        ["n/a", "x", "NULL"],
        ["a\nb", 'say "no"', "c,d"],
    ],
)
def test_columns_have_the_types_and_values_of_pandas(tmp_path: Path, values: list[str]) -> None:
    text = pd.DataFrame({"row": range(len(values)), "value": values}).to_csv(index=False)
    expected = pd.read_csv(StringIO(text), float_precision="round_trip", low_memory=False)
    pd.testing.assert_frame_equal(read(tmp_path, text), expected)


def test_booleans_may_be_missing(tmp_path: Path) -> None:
    assert read(tmp_path, "row,value\n1,True\n2,\n3,false\n")["value"].tolist() == [True, None, False]


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
