from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.config import Column
from ratchet.data.schema import Field, Schema
from ratchet.errors import InputError
from ratchet.model.record_schema import LARGEST, RecordReader
from tests.fitted import Trained

GOOD = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
PLAIN = json.dumps(GOOD).encode()


def number(name: str, *, nullable: bool = False, **rule: Any) -> Field:
    return Field(name=name, type="number", nullable=nullable, minimum=0.0, maximum=1.0, rule=Column(**rule))


def category(name: str, *, nullable: bool = False, **rule: Any) -> Field:
    return Field(name=name, type="category", nullable=nullable, categories=("basic", "pro"), rule=Column(**rule))


def schema_of(*features: Field) -> Schema:
    return Schema(features=features, target="left", labels=("no", "yes"))


# Both kinds of column, with gaps and without.
VARIED = schema_of(
    number("age"), number("income", nullable=True), category("plan"), category('odd "näme"\\', nullable=True)
)

# Reading makes no difference between records, so that one reader serves all examples.
READER = RecordReader(VARIED)
exhaustively = settings(max_examples=150)

numbers = st.floats(-LARGEST, LARGEST) | st.integers(-(2**53), 2**53)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
valid = st.fixed_dictionaries(
    {"age": numbers, "plan": texts},
    optional={"income": st.none() | numbers, 'odd "näme"\\': st.none() | texts},
)


@pytest.fixture(scope="module")
def reader(iris: Trained) -> RecordReader:
    return RecordReader(iris.schema, most_rows=3)


def refused(reader: RecordReader, body: bytes | str, *, many: bool = False) -> dict[str, str]:
    """What is wrong with a body, by field."""
    content = body if isinstance(body, bytes) else body.encode()
    with pytest.raises(InputError) as caught:
        (reader.read_many if many else reader.read)(content)
    assert all(problem.field and problem.message for problem in caught.value.problems)
    return {problem.field: problem.message for problem in caught.value.problems}


def with_value(text: str, name: str = "petal_length") -> str:
    """The good record with one value written as this text."""
    return json.dumps(GOOD).replace(f'"{name}": {GOOD[name]}', f'"{name}": {text}')


def test_a_record_is_read(reader: RecordReader) -> None:
    assert reader.read(json.dumps(GOOD).encode()) == GOOD


def test_the_order_of_the_fields_makes_no_difference(reader: RecordReader) -> None:
    assert reader.read(json.dumps(dict(reversed(GOOD.items()))).encode()) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400, "1e39", "-1e39", "3.41e38"),
        *("true", "false", '"1,4"', '"NaN"', '"inf"', '"1_0"', '"one"', '""', "null"),
        *("[1.4]", "{}", '{"value": 1.4}', "[" * 150 + "]" * 150),
    ],
    ids=lambda text: text[:20],
)
def test_a_value_that_is_no_finite_number_is_refused_by_the_fields_name(reader: RecordReader, text: str) -> None:
    assert list(refused(reader, with_value(text))) == ["petal_length"]
    rows = f'{{"rows": [{json.dumps(GOOD)}, {json.dumps(GOOD)}, {with_value(text)}]}}'
    assert list(refused(reader, rows, many=True)) == ["rows[2].petal_length"]


@pytest.mark.parametrize("text", ["1", "-0", "1E2", "3.4028234e38", "-3.4028234e38", "1e-400", "0.1e-5"])
def test_a_number_may_be_written_in_any_way_that_json_has(reader: RecordReader, text: str) -> None:
    assert reader.read(with_value(text).encode())["petal_length"] == float(text)


def test_every_field_that_is_missing_or_wrong_is_named(reader: RecordReader) -> None:
    found = refused(reader, '{"sepal_length": "long", "sepal_width": 1, "petal_width": null, "colour": "blue"}')
    assert set(found) == {"sepal_length", "petal_length", "petal_width", "colour"}
    assert "required" in found["petal_length"]
    assert "not permitted" in found["colour"]


def test_a_body_full_of_faults_is_answered_with_a_few_of_them(reader: RecordReader) -> None:
    assert len(refused(reader, json.dumps({f"x{number}": 1 for number in range(5000)}))) == 20


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"   ", b"null", b"[]", b"3", b'"text"', b"true", b"NaN"),
        *(b"{", b'{"sepal_length": 5.1', b"{'sepal_length': 5.1}", b"\x00"),
        *(b"[%b]" % PLAIN, PLAIN + b" more", PLAIN + b"{}"),
        *(b"\xef\xbb\xbf" + PLAIN, json.dumps(GOOD).encode("utf-16")),
        *(b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b'{"a": "\\ud800"}', b'{"\xff": 1}'),
        *(b"[" * 100_000, b'{"sepal_length": ' * 100_000, b'{"sepal_length": 1' + b"0" * 100_000 + b"}"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_object_is_refused_as_a_whole(reader: RecordReader, body: bytes) -> None:
    assert list(refused(reader, body)) == ["body"]
    assert list(refused(reader, body, many=True)) == ["body"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{}", "rows"),
        ('{"rows": []}', "rows"),
        ('{"rows": null}', "rows"),
        (f'{{"rows": {json.dumps(GOOD)}}}', "rows"),
        (f'{{"rows": [{", ".join([json.dumps(GOOD)] * 4)}]}}', "rows"),
        (f'{{"rows": [{json.dumps(GOOD)}], "more": 1}}', "more"),
        (f'{{"rows": [{json.dumps(GOOD)}, null]}}', "rows[1]"),
        (f'{{"rows": [{json.dumps(GOOD)}, [5.1, 3.5, 1.4, 0.2]]}}', "rows[1]"),
        (f'{{"rows": [{json.dumps(GOOD | {"colour": 1})}]}}', "rows[0].colour"),
    ],
)
def test_a_batch_that_is_none_is_refused_by_the_place(reader: RecordReader, body: str, field: str) -> None:
    assert list(refused(reader, body, many=True)) == [field]


def test_a_batch_of_as_many_rows_as_are_allowed_is_read(reader: RecordReader) -> None:
    assert reader.read_many(json.dumps({"rows": [GOOD] * 3}).encode()) == [GOOD] * 3


REPEATED = [
    '{"petal_width": 0.3, ' + json.dumps(GOOD)[1:],
    json.dumps(GOOD)[:-1] + ', "petal_width": 0.2}',
    json.dumps(GOOD)[:-1] + ', "petal_widt\\u0068": 0.3}',
    json.dumps(GOOD)[:-1] + ', "\\u0070etal_width": 0.2, "petal_width": 0.1}',
    '{"petal_width": {"deep": ["\\""]}, ' + json.dumps(GOOD)[1:],
]


@pytest.mark.parametrize("body", REPEATED)
def test_a_field_that_is_given_twice_is_refused_by_its_name(reader: RecordReader, body: str) -> None:
    assert refused(reader, body) == {"petal_width": "is given more than once"}


@pytest.mark.parametrize("body", REPEATED)
def test_a_field_that_is_given_twice_in_a_batch_is_refused_by_its_row(reader: RecordReader, body: str) -> None:
    rows = f'{{"rows": [{json.dumps(GOOD)}, {body}]}}'
    assert list(refused(reader, rows, many=True)) == ["rows[1].petal_width"]


def test_rows_that_are_given_twice_are_refused(reader: RecordReader) -> None:
    for key in ("rows", "ro\\u0077s"):
        body = f'{{"rows": [{json.dumps(GOOD)}], "{key}": [{json.dumps(GOOD)}]}}'
        assert list(refused(reader, body, many=True)) == ["rows"]


def test_missing_values_are_accepted_in_columns_where_training_had_them(mixed: Trained) -> None:
    reader = RecordReader(mixed.schema)
    for record in ({"age": None, "plan": None}, {"age": 30.0, "plan": None}, {"age": None, "plan": "pro"}):
        assert reader.read(json.dumps(record).encode()) == record
        given = {name: value for name, value in record.items() if value is not None}
        assert reader.read(json.dumps(given).encode()) == given
    assert reader.read_many(b'{"rows": [{}, {"plan": "pro"}]}') == [{}, {"plan": "pro"}]


@pytest.mark.parametrize("text", ["1", "true", '["pro"]', '{"is": "pro"}', "NaN"])
def test_a_category_is_text(mixed: Trained, text: str) -> None:
    assert list(refused(RecordReader(mixed.schema), f'{{"age": 30, "plan": {text}}}')) == ["plan"]


def test_a_number_with_gaps_is_still_a_number(mixed: Trained) -> None:
    reader = RecordReader(mixed.schema)
    for text in ("NaN", "1e39", "true", '"1e39"', '"thirty"', "[]"):
        assert list(refused(reader, f'{{"age": {text}, "plan": "pro"}}')) == ["age"]


def test_values_not_seen_in_training_are_accepted(iris: Trained, mixed: Trained) -> None:
    far = dict.fromkeys(GOOD, -1e6)
    assert RecordReader(iris.schema).read(json.dumps(far).encode()) == far
    strange = {"age": 1e9, "plan": "a plan that nobody had"}
    assert RecordReader(mixed.schema).read(json.dumps(strange).encode()) == strange


def test_the_rules_of_the_config_are_enforced_and_nothing_beyond_them() -> None:
    reader = RecordReader(schema_of(number("age", minimum=0, maximum=120), category("plan", categories=("basic", "x"))))
    for age in (0, 0.5, 120):
        assert reader.read(json.dumps({"age": age, "plan": "x"}).encode()) == {"age": age, "plan": "x"}
    assert "greater than or equal to 0" in refused(reader, '{"age": -0.001, "plan": "x"}')["age"]
    assert "less than or equal to 120" in refused(reader, '{"age": 120.001, "plan": "x"}')["age"]
    assert "'basic' or 'x'" in refused(reader, '{"age": 1, "plan": "pro"}')["plan"]
    assert list(refused(reader, '{"age": NaN, "plan": "x"}')) == ["age"]


def test_a_rule_on_one_side_leaves_the_other_open_up_to_the_largest_number() -> None:
    reader = RecordReader(schema_of(number("age", minimum=0)))
    assert reader.read(b'{"age": 3e38}') == {"age": 3e38}
    assert list(refused(reader, '{"age": 3.5e38}')) == ["age"]


def test_a_column_that_may_not_be_empty_is_required_whatever_the_data_had() -> None:
    assert RecordReader(schema_of(Field(name="age", type="number", nullable=True))).read(b"{}") == {}
    strict = RecordReader(schema_of(Field(name="age", type="number", nullable=True, rule=Column(nullable=False))))
    assert list(refused(strict, "{}")) == ["age"]
    assert list(refused(strict, '{"age": null}')) == ["age"]


def coded(*categories: str, **keys: Any) -> RecordReader:
    """The reader of one category with these values, and of a number."""
    rule = Column(missing=keys.pop("missing", ()))
    code = Field(name="code", type="category", categories=categories, rule=rule, **{"nullable": False, **keys})
    return RecordReader(schema_of(code, Field(name="size", type="number", nullable=False, rule=rule)))


@pytest.mark.parametrize(
    ("categories", "sent", "read"),
    [
        (("10001", "94110"), "10001", "10001"),
        (("02116", "10001"), "2116", "02116"),
        (("1", "2"), "1.0", "1"),
        (("1.1", "1.10"), "1.10", "1.10"),
        (("1.5", "2.5"), "1.5", "1.5"),
        (("1582218195625938945", "1582218195625938946"), "1582218195625938946", "1582218195625938946"),
        (("False", "True"), "true", "True"),
        (("false", "true", "unknown"), "false", "false"),
    ],
)
def test_a_json_number_or_truth_is_the_only_category_with_its_value(
    categories: tuple[str, ...], sent: str, read: str
) -> None:
    reader = coded(*categories)
    assert reader.read(f'{{"code": {sent}, "size": 1}}'.encode()) == {"code": read, "size": 1.0}
    assert reader.read_many(f'{{"rows": [{{"code": {sent}, "size": "1"}}]}}'.encode()) == [{"code": read, "size": 1.0}]


@pytest.mark.parametrize(
    ("categories", "sent", "hint"),
    [
        (("1.1", "1.10"), "1.1", "it may be '1.1' or '1.10': send the text in quotation marks"),
        (("1", "01"), "1", "it may be '1' or '01'"),
        (("02116", "10001"), "2117", 'has this value: send its text in quotation marks, such as "02116"'),
        (("basic", "pro"), "1", "no known category has this value"),
        (("basic", "pro"), "true", "no known category has this value"),
        (("True", "true"), "true", "it may be 'True' or 'true'"),
        (("basic", "pro"), "null", "declare it as nullable: true under dataset.columns, and train again"),
        (("basic", "pro"), '""', "declare it as nullable: true"),
    ],
)  # fmt: skip
def test_a_value_that_names_no_category_is_refused_with_a_hint(
    categories: tuple[str, ...], sent: str, hint: str
) -> None:
    assert hint in refused(coded(*categories), f'{{"code": {sent}, "size": 1}}')["code"]


def test_words_for_a_missing_value_are_missing_in_a_request_too() -> None:
    reader = coded("a", "b", nullable=True, missing=("NA", "-999"))
    for sent in ('"NA"', '"-999"', '""', "null"):
        assert reader.read(f'{{"code": {sent}, "size": 1}}'.encode())["code"] is None
    for sent in ("-999", '"-999"', '"NA"', '""', "-999.0"):
        assert "nullable: true" in refused(reader, f'{{"code": "a", "size": {sent}}}')["size"]
    assert coded("a", "b").read(b'{"code": "NA", "size": -999}') == {"code": "NA", "size": -999.0}


def test_the_text_of_a_number_is_read_as_in_the_file() -> None:
    rule = Column(decimal=",", thousands=".", missing=())
    comma = Field(name="price", type="number", nullable=True, rule=rule)
    truth = Field(name="paid", type="number", nullable=False, boolean=True, rule=Column(missing=()))
    reader = RecordReader(schema_of(comma, truth))
    for sent, read in {'"1.023,5"': 1023.5, '" 7"': 7.0, "2.5": 2.5, '""': None}.items():
        assert reader.read(f'{{"price": {sent}, "paid": true}}'.encode()) == {"price": read, "paid": 1.0}
    for sent in ('"1.5"', '"1,5 EUR"', '"inf"', '"1e39"', "true"):
        assert list(refused(reader, f'{{"price": {sent}, "paid": 0}}')) == ["price"]
    for sent, paid in {'"True"': 1.0, '"false"': 0.0, "false": 0.0, "0": 0.0}.items():
        assert reader.read(f'{{"price": 1, "paid": {sent}}}'.encode())["paid"] == paid


@pytest.mark.parametrize("name", ["iris", "mixed", "diabetes"])
def test_the_example_works_when_it_is_pasted(name: str, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(name)
    reader = RecordReader(trained.schema)
    example = reader.json_schema()["example"]
    assert reader.read(json.dumps(example).encode()) == example
    assert list(example) == trained.schema.feature_names
    batch = reader.batch_schema()["example"]
    assert reader.read_many(json.dumps(batch).encode()) == [example]


def test_the_example_of_a_column_with_rules_keeps_them() -> None:
    reader = RecordReader(VARIED)
    assert reader.read(json.dumps(reader.example()).encode()) == reader.example()
    ruled = RecordReader(schema_of(category("plan", categories=("x", "y"))))
    assert ruled.read(json.dumps(ruled.example()).encode()) == {"plan": "x"}


def test_the_example_lies_within_what_was_seen(iris: Trained) -> None:
    example = RecordReader(iris.schema).example()
    for field in iris.schema.features:
        assert field.minimum is not None
        assert field.maximum is not None
        assert field.minimum <= float(example[field.name] or 0) <= field.maximum


def test_the_json_schema_has_required_fields_rules_and_the_range_seen_in_training(
    iris: Trained, mixed: Trained
) -> None:
    schema = RecordReader(iris.schema).json_schema()
    assert schema["required"] == list(GOOD)
    assert schema["additionalProperties"] is False
    assert "seen in training: 4.3 to 7.9" in schema["properties"]["sepal_length"]["description"]
    assert "required" not in RecordReader(mixed.schema).json_schema()
    ruled = RecordReader(schema_of(number("age", minimum=0, maximum=120), category("plan", categories=("x", "y"))))
    properties = ruled.json_schema()["properties"]
    assert (properties["age"]["minimum"], properties["age"]["maximum"]) == (0, 120)
    assert properties["plan"]["enum"] == ["x", "y"]
    assert ruled.batch_schema()["properties"]["rows"]["items"]["properties"] == properties


@given(record=valid, escaped=st.booleans())
@exhaustively
def test_every_valid_record_is_read_as_it_was_written(record: dict[str, Any], escaped: bool) -> None:
    assert READER.read(json.dumps(record, ensure_ascii=escaped).encode()) == record
    body = json.dumps({"rows": [record, record]}, ensure_ascii=escaped).encode()
    assert READER.read_many(body) == [record, record]


@given(record=valid, data=st.data())
@exhaustively
def test_a_repeated_field_is_refused_wherever_and_however_it_is_written(record: dict[str, Any], data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(record)))
    pairs = list(record.items())
    pairs.insert(data.draw(st.integers(0, len(pairs))), (name, data.draw(st.just(record[name]) | st.none() | texts)))
    keys = [data.draw(st.sampled_from([json.dumps(key), escaped(key)])) for key, _ in pairs]
    body = f"{{{', '.join(f'{key}: {json.dumps(value)}' for key, (_, value) in zip(keys, pairs, strict=True))}}}"
    assert list(refused(READER, body)) == [name]
    assert len(refused(READER, f'{{"rows": [{json.dumps(record)}, {body}]}}', many=True)) == 1


@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@exhaustively
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (READER.read, READER.read_many):
        with pytest.raises(InputError):
            read(body)


def escaped(text: str) -> str:
    """A JSON string in which every character is an escape."""
    units = text.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + '"'


@pytest.mark.parametrize("nullable", [True, False])
def test_the_empty_text_is_documented_where_it_is_a_missing_value(nullable: bool) -> None:
    plan = Field(name="plan", type="category", nullable=nullable, categories=("a", "b"), rule=Column(missing=()))
    reader = RecordReader(Schema(features=(plan,), target="y", labels=("no", "yes")))
    documented = json.dumps(reader.json_schema())
    assert ("minLength" in documented) is not nullable
    if nullable:
        assert reader.read(b'{"plan": ""}') == {"plan": None}
    else:
        with pytest.raises(InputError):
            reader.read(b'{"plan": ""}')
