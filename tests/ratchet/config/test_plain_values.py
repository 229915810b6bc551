from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import BaseModel, ValidationError

from ratchet.config import Section, Train
from ratchet.config.files import PIPELINES, load_config, parse_config
from ratchet.config.plain_values import from_json, to_json
from ratchet.config.plain_yaml import read_yaml, write_yaml
from ratchet.errors import ConfigError
from ratchet.experiments.tuning.samplers import to_optuna
from tests.conftest import ROOT
from tests.ratchet.config.test_plain_yaml import same, values

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
WEIGHTS = {0: 1, 1.5: 2, "x": 3, None: 4, "nested": [{2: math.inf}]}


def sections() -> Iterator[type[BaseModel]]:
    """Every part of every kind of config."""
    todo, seen = list[Any](PIPELINES.values()), set[type]()
    while todo:
        part = todo.pop()
        todo.extend(typing.get_args(part))
        if isinstance(part, type) and issubclass(part, BaseModel) and part not in seen:
            seen.add(part)
            todo.extend(field.annotation for field in part.model_fields.values())
    return iter(sorted(seen, key=lambda one: one.__name__))


def takes_numbers(annotation: Any) -> bool:
    """Whether a field is a number, and no text or boolean."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        parts = set(typing.get_args(annotation)) - {type(None)}
        return bool(parts) and all(takes_numbers(part) for part in parts)
    return annotation in (int, float)


NUMBERS = [
    pytest.param(part, name, id=f"{part.__name__}.{name}")
    for part in sections()
    for name, field in part.model_fields.items()
    if takes_numbers(field.annotation)
]


def test_the_numbers_of_all_configs_are_found() -> None:
    assert len(NUMBERS) > 60
    assert all(issubclass(part, Section) for part in sections())


@pytest.mark.parametrize(("part", "name"), NUMBERS)
def test_no_boolean_and_no_infinite_value_is_a_number(part: type[BaseModel], name: str) -> None:
    for wrong in (True, False, math.nan, math.inf, -math.inf):
        with pytest.raises(ValidationError) as caught:
            part.model_validate({name: wrong})
        assert (name,) in {error["loc"] for error in caught.value.errors()}, wrong


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=true", "seed: got True: input should be a number, not true or false"),
        ("evaluate.minimum=.nan", "evaluate.minimum: got nan: input should be a finite number"),
        ("evaluate.minimum=1e999", "evaluate.minimum: got inf: input should be a finite number"),
        ("dataset.columns={sepal_width: {minimum: true}}", "dataset.columns.sepal_width.minimum: got True"),
        ("embed.n_components=false", "embed.n_components: got False"),
    ],
)
def test_an_override_with_a_value_that_is_no_number_is_refused_with_its_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(ROOT / "configs" / "baseline.yaml", [override])
    assert message in str(caught.value)


def test_numbers_in_lists_and_mappings_are_checked_too() -> None:
    drift = "drift=[{kind: mean_shift, at: 3, columns: {x: true}}]"
    with pytest.raises(ConfigError, match=r"drift\.0\.columns\.x: got True"):
        load_config(ROOT / "configs" / "simulate.yaml", [drift])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_the_same_after_json_and_after_yaml(path: Path) -> None:
    config = load_config(path)
    assert type(config).model_validate_json(config.model_dump_json()) == config
    assert type(config).model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert parse_config(read_yaml(write_yaml(config.to_plain()), "here")) == config


def test_keys_keep_their_types_through_json_and_yaml() -> None:
    section = Train(estimator="a.b", params={"class_weight": WEIGHTS})
    again = Train.model_validate_json(section.model_dump_json())
    assert same(again.params["class_weight"], WEIGHTS)
    assert same(read_yaml(write_yaml(section.to_plain()), "here")["params"]["class_weight"], WEIGHTS)
    dumped = json.loads(json.dumps(section.model_dump()))
    assert same(Train.model_validate(dumped).params["class_weight"], WEIGHTS), "as ZenML stores a parameter"


def test_a_config_of_an_earlier_release_reads_as_it_was() -> None:
    record = {"estimator": "a.b", "params": {"class_weight": {"0": 1, "1": 5}, "since": "2026-01-31"}}
    assert Train.model_validate(record).params == record["params"]


@settings(max_examples=300)
@given(values())
def test_any_plain_value_is_the_same_after_json(value: Any) -> None:
    assert same(from_json(json.loads(json.dumps(to_json(value)))), value)
    section = Train(estimator="a.b", params={"x": value})
    assert same(Train.model_validate_json(section.model_dump_json()).params["x"], value)


@pytest.mark.parametrize("mark", ["__mapping__", "__float__"])
def test_a_mapping_that_looks_like_a_mark_is_the_same_after_json(mark: str) -> None:
    for value in ({mark: [["a", 1]]}, {mark: "nan"}, {mark: {mark: []}}):
        assert same(from_json(json.loads(json.dumps(to_json(value)))), value)


def test_choices_that_differ_in_the_type_of_a_key_stay_apart_in_a_study() -> None:
    assert to_optuna({0: 1}) != to_optuna({"0": 1})
    assert to_optuna({"a": [1]}) == '{"a": [1]}', "as in studies of earlier releases"
