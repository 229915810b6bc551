from __future__ import annotations

import codecs
import hashlib
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from ratchet.config import Column, CsvDataset, ParquetDataset, Timestamp, TsvDataset
from ratchet.data import dataset_version, load_dataset, open_source
from ratchet.data.batches import BatchedFile
from ratchet.errors import DataError

ROWS = "size,kind,note\n" + "".join(f"{number},{'ab'[number % 2]},nö{number}\n" for number in range(30))


def written(tmp_path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = tmp_path / "data.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def csv(tmp_path: Path, content: str | bytes, **keys: Any) -> CsvDataset:
    return CsvDataset(source="csv", path=written(tmp_path, content), target="kind", **keys)


def read(config: Any) -> Any:
    return open_source(config).read()


def refusal(config: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("separator", "shown"), [(";", '";"'), ("\t", r'"\t"'), ("|", '"|"'), (",", '","')])
def test_a_wrong_separator_is_refused_with_the_right_one(tmp_path: Path, separator: str, shown: str) -> None:
    wrong = ";" if separator == "," else ","
    message = refusal(csv(tmp_path, ROWS.replace(",", separator), separator=wrong))
    assert f"set dataset.separator, probably to {shown}" in message


def test_a_wrong_separator_is_refused_where_numbers_have_commas(tmp_path: Path) -> None:
    message = refusal(csv(tmp_path, "size;kind\n1,5;a\n2,5;b\n"))
    assert 'probably to ";"' in message


@pytest.mark.parametrize(
    ("encoding", "named", "looks"),
    [
        ("latin-1", "utf-8", "latin-1"),
        ("cp1252", "utf-8", "cp1252"),
        ("utf-16", "utf-8", "utf-16"),
        ("utf-16-le", "utf-8", "utf-16-le"),
        ("utf-8", "ascii", "utf-8"),
        ("utf-8", "latin-1", "utf-8"),
        ("utf-8", "utf-16", "utf-8"),
    ],
)
def test_a_wrong_encoding_is_refused_with_the_right_one(tmp_path: Path, encoding: str, named: str, looks: str) -> None:
    text = ROWS.replace("nö", "„nö“") if encoding == "cp1252" else ROWS
    path = written(tmp_path, text, encoding)
    message = refusal(CsvDataset(source="csv", path=path, target="kind", encoding=named))
    assert f"not readable as {named}, probably {looks}: set dataset.encoding" in message
    assert len(read(CsvDataset(source="csv", path=path, target="kind", encoding=looks))) == 30


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("line", [2, 900])
def test_a_null_character_is_refused_with_its_line(tmp_path: Path, encoding: str, line: int) -> None:
    lines = ["size,kind", *["1.5,a", "2.5,b"] * 500]
    lines[line - 1] = "1.5,a\0"
    config = csv(tmp_path, "\n".join(lines), encoding=encoding)
    assert refusal(config).endswith(f": expected text, got the control character '\\x00' in line {line}: remove it")


def test_bytes_without_an_encoding_and_unknown_encodings_are_refused(tmp_path: Path) -> None:
    assert "set dataset.encoding" in refusal(csv(tmp_path, ROWS, encoding="utf-7-and-a-half"))


@pytest.mark.parametrize("encoding", ["rot13", "hex", "base64", "undefined"])
def test_a_codec_that_is_not_a_text_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    assert "set dataset.encoding" in refusal(csv(tmp_path, ROWS, encoding=encoding))


def test_the_index_of_pandas_in_parquet_does_not_number_the_rows(tmp_path: Path) -> None:
    times = pd.date_range("2026-01-01", periods=40, freq="h")
    frame = pd.DataFrame({"time": times, "size": range(40), "kind": ["a", "b"] * 20})
    frame.index = pd.Index(list(range(20)) * 2)  # as pandas.concat leaves it
    frame.to_parquet(tmp_path / "data.parquet")
    config = ParquetDataset(source="parquet", path=tmp_path / "data.parquet", target="kind", time="time")
    loaded = load_dataset(config, "classification").frame
    assert loaded["size"].tolist() == list(range(40))
    frame.assign(size=["1"] * 39 + ["much"]).set_axis([f"row {n}" for n in range(40)]).to_parquet(config.path)
    number = config.model_copy(update={"columns": {"size": Column(type="number")}})
    with pytest.raises(DataError, match="expected a number, got 'much' in row 40"):
        load_dataset(number, "classification")


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    frame = read(csv(tmp_path, codecs.BOM_UTF8 + ROWS.encode()))
    assert list(frame.columns) == ["size", "kind", "note"]


def test_a_file_without_a_header_has_the_names_of_the_config(tmp_path: Path) -> None:
    frame = read(csv(tmp_path, "5,a\n5,b\n", names=("size", "kind")))
    assert frame.to_dict("list") == {"size": [5, 5], "kind": ["a", "b"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,a,x\n", "dataset.names has 2 names, and line 1 has 3 fields"),
        ("1,a\n2\n", "line 2: expected 2 fields, got 1"),
        ("", "is empty"),
    ],
)
def test_names_that_do_not_fit_the_lines_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(csv(tmp_path, text, names=("size", "kind")))


def test_tabs_separate_a_tsv_and_quotation_marks_are_letters(tmp_path: Path) -> None:
    path = written(tmp_path, 'text\tlabel\nsay "it\t1\nit, too\t0\n')
    config = TsvDataset(source="tsv", path=path, target="label")
    assert read(config)["text"].tolist() == ['say "it', "it, too"]
    assert dataset_version(config) == hashlib.md5(path.read_bytes()).hexdigest()


def test_a_tsv_with_commas_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    assert 'probably to ","' in refusal(TsvDataset(source="tsv", path=path, target="kind"))


STAMP = Timestamp(date="day", hour="hr")


def test_a_date_and_an_hour_become_one_time(tmp_path: Path) -> None:
    text = "day,hr,kind\n2011-01-01,0,a\n2011-01-01,23,b\n"
    frame = read(csv(tmp_path, text, timestamp=STAMP))
    assert frame.to_dict("list") == {"time": ["2011-01-01T00:00:00", "2011-01-01T23:00:00"], "kind": ["a", "b"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day,hr,kind\n2011-01-01,24,a\n", "column 'hr': expected an hour from 0 to 23, got 24 in row 1"),
        ("day,hr,kind\n2011-01-01,1,a\n01/02/11,1,a\n", "column 'day': expected a date such as 2026-01-31, got '01/02"),
        ("day,h,kind\n2011-01-01,24,a\n", "dataset.timestamp: there is no column 'hr'"),
        ("day,hr,time\n2011-01-01,2,a\n", "dataset.timestamp.column: there is a column 'time' already"),
    ],
)
def test_an_invalid_date_or_hour_is_refused_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(csv(tmp_path, text, timestamp=STAMP))


IDS = [2**53 + 1, None, 1582218195625938946, 1]


@pytest.mark.parametrize("batch_rows", [None, 100])
def test_whole_numbers_of_parquet_that_are_a_category_keep_their_digits_with_gaps(
    tmp_path: Path, batch_rows: int | None
) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"id": pa.array(IDS * 50), "size": range(200), "kind": ["a", "b"] * 100}), path)
    config = ParquetDataset(source="parquet", path=path, target="kind", columns={"id": Column(type="category")})
    if batch_rows is None:
        found = load_dataset(config, "classification").frame["id"]
    else:
        batched = config.model_copy(update={"batch_rows": batch_rows})
        found = pd.concat(BatchedFile(batched, "classification").parts())["id"]
    assert found.fillna("").tolist() == ["" if number is None else str(number) for number in IDS * 50]


@pytest.mark.parametrize("batch_rows", [None, 100])
def test_the_text_of_parquet_stays_text_and_its_missing_words_are_missing(
    tmp_path: Path, batch_rows: int | None
) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"code": ["02116", "1", "NA", ""] * 50, "kind": ["a", "b"] * 100}), path)
    config = ParquetDataset(source="parquet", path=path, target="kind", missing=("NA",), batch_rows=batch_rows)
    if batch_rows is None:
        found = load_dataset(config, "classification").frame["code"]
    else:
        found = pd.concat(BatchedFile(config, "classification").parts())["code"]
    assert found.fillna("missing").tolist() == ["02116", "1", "missing", "missing"] * 50


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_arrow_reads_text_without_python_so_that_its_thread_may_outlive_the_interpreter(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams: list[Any] = []
    parse = pyarrow.csv.open_csv

    def spied(stream: Any, **options: Any) -> Any:
        streams.append(stream)
        return parse(stream, **options)

    monkeypatch.setattr(pyarrow.csv, "open_csv", spied)
    path = written(tmp_path, ROWS, encoding)
    frame = read(CsvDataset(source="csv", path=path, target="kind", encoding=encoding))
    assert frame["note"].tolist() == [f"nö{number}" for number in range(30)]
    assert streams
    assert {type(stream) for stream in streams} <= {pa.OSFile, pa.BufferReader}
    assert all(stream.closed for stream in streams)


def test_text_is_read_from_a_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"flowers \xff.csv")
    path.write_text(ROWS)
    assert len(read(CsvDataset(source="csv", path=path, target="kind"))) == 30
