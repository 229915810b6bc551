"""Batches as rows, as columns and as Arrow: the same values, the same refusals, and bounded memory."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.config import Column
from ratchet.data.schema import Field, Schema
from ratchet.errors import InputError
from ratchet.inference.batch_reader import BatchReader
from ratchet.model.record_schema import RecordReader
from tests.batch_bodies import columns_of, rows_body, stream

MOST_ROWS, MOST_BYTES = 50, 4096
ARROW_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]


def field(name: str, kind: str, *, nullable: bool = False, boolean: bool = False, **rule: Any) -> Field:
    categories = ("1", "02", "pro") if kind == "category" else None
    ends = {"minimum": 0.0, "maximum": 1.0} if kind == "number" else {}
    rule = {"missing": ("none", "-999"), **rule}
    return Field(
        name=name,
        type=kind,  # type: ignore[arg-type]
        nullable=nullable,
        boolean=boolean,
        categories=categories,
        longest=10 if kind == "text" else None,
        rule=Column(**rule),
        **ends,
    )


SCHEMA = Schema(
    features=(
        field("age", "number", minimum=0.0, maximum=120.0),
        field("income", "number", nullable=True),
        field("member", "number", boolean=True, nullable=True),
        field("plan", "category", nullable=True),
        field("kind", "category", categories=("1", "02", "pro")),
        field("note", "text", nullable=True),
        field("day", "time", nullable=True),
    ),
    target="left",
    labels=("no", "yes"),
)
NAMES = SCHEMA.feature_names
RECORDS = RecordReader(SCHEMA, MOST_ROWS)
READER = BatchReader(RECORDS, MOST_BYTES)
GOOD = {
    "age": 30.5,
    "income": 1000.0,
    "member": 1.0,
    "plan": "pro",
    "kind": "02",
    "note": "näh",
    "day": "2026-01-31T18:00:00",
}

# Values of every type for every column, valid and not.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.sampled_from([0, 1, 2, 02.0, 1.0, -999, 121, 120.0, 1e39, 1e300]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "none", "-999", "pro", "1", "02", "2", "30", " 30", "1e3", "true", "x\0", "ééé"]),
    st.sampled_from(["2026-01-31", "2026-01-31T19:00:00+01:00", "2026-01-31 18:00:00.5", "31.1.2026", "20260131T18Z"]),
    st.lists(st.integers(), max_size=1),
)
rows = st.lists(
    st.fixed_dictionaries(dict.fromkeys(NAMES, scalars), optional={"extra": scalars}), min_size=1, max_size=4
)
mostly_good = st.lists(
    st.builds(lambda name, value: {**GOOD, name: value}, st.sampled_from([*NAMES, "extra"]), scalars),
    min_size=1,
    max_size=4,
)
exhaustively = settings(max_examples=300)


def outcome(read: Any, body: bytes) -> Any:
    """The records of a body, or the problems that a refusal names."""
    try:
        found = read(body)
    except InputError as error:
        return error.problems
    if isinstance(found, tuple):
        found = found[0]
    records = found if isinstance(found, list) else found.to_pylist()
    return [{name: record.get(name) for name in NAMES} for record in records]


@exhaustively
@given(rows | mostly_good)
def test_rows_are_read_as_the_reader_of_records_reads_them(rows: list[dict[str, Any]]) -> None:
    body = rows_body(rows)
    assert outcome(READER.read_json, body) == outcome(RECORDS.read_many, body)


@exhaustively
@given(rows | mostly_good)
def test_columns_have_the_values_and_refusals_of_their_rows(rows: list[dict[str, Any]]) -> None:
    rows = [{name: row.get(name) for name in rows[0]} for row in rows]
    body = json.dumps({"columns": columns_of(rows)}).encode()
    assert outcome(READER.read_json, body) == outcome(RECORDS.read_many, rows_body(rows))


def is_one_type(rows: list[dict[str, Any]]) -> bool:
    """Whether Arrow has a type for each column of rows, without a change of a value."""
    for values in columns_of(rows).values():
        try:
            if pa.array(values).to_pylist() != values or any(isinstance(value, list) for value in values):
                return False
        except (pa.ArrowException, OverflowError):
            return False
        if len({type(value) for value in values} - {type(None)}) > 1:
            return False
    return True


@exhaustively
@given((rows | mostly_good).map(lambda rows: [{n: row.get(n) for n in rows[0]} for row in rows]).filter(is_one_type))
def test_arrow_has_the_values_and_refusals_of_its_rows(rows: list[dict[str, Any]]) -> None:
    expected = outcome(RECORDS.read_many, rows_body(rows))
    reader = BatchReader(RECORDS, 10**6)
    assert outcome(reader.read_arrow, stream(pa.Table.from_pylist(rows))) == expected
    for kind in ARROW_TYPES:
        table = pa.table(
            {
                name: array.cast(kind) if pa.types.is_string((array := pa.array(values)).type) else array
                for name, values in columns_of(rows).items()
            }
        )
        assert outcome(reader.read_arrow, stream(table, "zstd", batch_rows=2)) == expected


@pytest.mark.parametrize("text", ["x" * 20_000, "x" * 20_001, "é" * 20_000])
def test_texts_have_one_limit(text: str) -> None:
    rows, reader = [{**GOOD, "note": text}], BatchReader(RECORDS, 10**6)
    expected = outcome(RECORDS.read_many, rows_body(rows))
    assert outcome(READER.read_json, json.dumps({"columns": columns_of(rows)}).encode()) == expected
    assert outcome(reader.read_arrow, stream(pa.Table.from_pylist(rows))) == expected


def table_of(**columns: Any) -> pa.Table:
    n_rows = len(next(iter(columns.values())))
    return pa.table({name: columns.get(name, pa.array([GOOD[name]] * n_rows)) for name in NAMES})


@pytest.mark.parametrize(
    ("name", "values", "read"),
    [
        ("age", pa.array([30, 31], pa.int8()), [30.0, 31.0]),
        ("age", pa.array([30, 31], pa.uint64()), [30.0, 31.0]),
        ("age", pa.array(np.array([30.5, 31], dtype=np.float16)), [30.5, 31.0]),
        ("age", pa.array([30.5, 31], pa.float32()), [30.5, 31.0]),
        ("age", pa.array([Decimal("30.5"), Decimal(31)]), [30.5, 31.0]),
        ("age", pa.array([30, 31]).dictionary_encode(), [30.0, 31.0]),
        ("income", pa.array([1.0, float("nan")]), [1.0, None]),
        ("income", pa.array([-999, 5]), [None, 5.0]),
        ("income", pa.nulls(2), [None, None]),
        ("member", pa.array([True, None]), [1.0, None]),
        ("plan", pa.array([2, 1]), ["02", "1"]),
        ("plan", pa.array([2.0, None]), ["02", None]),
        ("plan", pa.array(pd.Categorical(["pro", None], categories=["never", "pro"])), ["pro", None]),
        ("day", pa.array([datetime(2026, 1, 31, 18), None]), ["2026-01-31T18:00:00", None]),
        ("day", pa.array([datetime(2026, 1, 31, 18, tzinfo=UTC)] * 2, pa.timestamp("ns", "Asia/Tokyo")), None),
        ("day", pa.array([datetime(2026, 1, 31)] * 2).cast(pa.date32()), ["2026-01-31T00:00:00"] * 2),
    ],
)
def test_types_of_arrow_are_read_as_their_values(name: str, values: pa.Array, read: list[Any] | None) -> None:
    found = READER.read_arrow(stream(table_of(**{name: values})))
    assert found.column(name).to_pylist() == (read or [GOOD[name]] * 2)


def test_what_pandas_writes_is_read_after_rows_were_selected() -> None:
    frame = pd.DataFrame([GOOD] * 5).astype({"plan": "category"})
    frame["day"] = pd.to_datetime(frame["day"])
    frame.loc[2, "income"] = np.nan
    table = pa.Table.from_pandas(frame[[True, False, True, True, False]])
    assert "__index_level_0__" in table.column_names
    assert READER.read_arrow(stream(table)).to_pylist() == [GOOD, {**GOOD, "income": None}, GOOD]


def problems(body: bytes, reader: BatchReader = READER) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        (reader.read_json if body.startswith(b"{") else reader.read_arrow)(body)
    return {problem.field: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ([], "columns"),
        (None, "columns"),
        ({}, "rows"),
        ({"age": []}, "rows"),
        ({"age": 3}, "columns.age"),
        ({"age": [1, 2], "income": [1]}, "columns.income"),
        ({"age": [1] * (MOST_ROWS + 1)}, "rows"),
        ({"age": [30]}, "rows[0].kind"),
        (columns_of([GOOD]) | {"colour": ["red"]}, "rows[0].colour"),
    ],
)
def test_columns_of_another_form_are_refused(columns: Any, field: str) -> None:
    assert field in problems(json.dumps({"columns": columns}).encode())


@pytest.mark.parametrize("more", ['"rows": []', '"other": 1', '"columns": {}'])
def test_a_body_with_a_second_key_is_refused(more: str) -> None:
    assert problems(f'{{"columns": {json.dumps(columns_of([GOOD]))}, {more}}}'.encode())


def test_equal_keys_of_columns_are_refused() -> None:
    text = json.dumps({"columns": columns_of([GOOD])})
    assert problems(text.replace('"age": [30.5]', '"age": [30.5], "age": [31]').encode()) == {
        "age": "is given more than once"
    }


@pytest.mark.parametrize("cut", [0, 1, 7, 100, 500, -9])
def test_a_damaged_stream_is_refused(cut: int) -> None:
    assert problems(stream(table_of(age=pa.array([1.0])))[:cut]).keys() <= {"body", "rows"}


@settings(max_examples=300)
@given(st.data())
def test_a_stream_with_changed_bytes_is_read_or_refused(data: st.DataObject) -> None:
    compression = data.draw(st.sampled_from([None, "zstd", "lz4"]))
    plan = pa.array(["pro", "1", None, "pro"]).cast(data.draw(st.sampled_from(ARROW_TYPES)))
    content = bytearray(stream(table_of(plan=plan), compression))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    outcome(READER.read_arrow, bytes(content))


def test_the_rows_of_a_stream_are_limited_over_all_its_batches() -> None:
    assert problems(stream(table_of(age=pa.array([30.0] * (MOST_ROWS + 1))), batch_rows=10)) == {
        "rows": f"List should have at most {MOST_ROWS} items after validation, not {MOST_ROWS + 1}"
    }
    assert "rows" in problems(stream(pa.table({"age": pa.nulls(10**6)})))
    assert "rows" in problems(stream(table_of(age=pa.array([], pa.float64()))))


def large(text: str, kind: pa.DataType) -> pa.Table:
    return table_of(note=pa.array([text] * MOST_ROWS).cast(kind))


@pytest.mark.parametrize("kind", ARROW_TYPES)
def test_a_stream_that_is_large_when_it_is_decoded_is_refused(kind: pa.DataType) -> None:
    body = stream(large("x" * 1000, kind), "zstd")
    assert len(body) < MOST_BYTES
    assert set(problems(body)) == {"body"}


def test_a_declared_size_is_refused_before_memory_is_allocated() -> None:
    body = stream(table_of(age=pa.array([30.0] * MOST_ROWS)), "zstd")
    before = pa.total_allocated_bytes()
    declared = struct.pack("<q", 8 * MOST_ROWS)
    assert declared in body
    for size in (2**40, 2**62, -2):
        assert set(problems(body.replace(declared, struct.pack("<q", size)))) == {"body"}
    assert pa.total_allocated_bytes() == before


def test_many_unknown_columns_are_named_in_part() -> None:
    table = table_of(age=pa.array([30.0]))
    for number in range(1000):
        table = table.append_column(f"x{number}", pa.array([[1]]))
    found = problems(stream(table), BatchReader(RECORDS, 10**6))
    assert set(found) == {f"rows[0].x{number}" for number in range(20)}


@pytest.mark.parametrize("kind", [pa.list_(pa.int8()), pa.binary(), pa.struct([("a", pa.int8())]), pa.duration("s")])
def test_a_feature_of_another_type_is_refused(kind: pa.DataType) -> None:
    assert set(problems(stream(table_of(age=pa.nulls(2, kind))))) == {"rows[0].age"}


def test_two_columns_of_one_name_are_refused() -> None:
    table = table_of(age=pa.array([30.0]))
    assert problems(stream(table.append_column("age", table.column("age")))) == {"age": "is given more than once"}
