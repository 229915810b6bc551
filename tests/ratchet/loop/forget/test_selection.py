"""The rows that ``--where`` selects: values typed by the schemas of the versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import ConfigError, RegistryError
from ratchet.loop.forget.selection import Selection, selected_by_values
from ratchet.registry.model_version import Version
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import DIGEST_TAG, connect
from tests.fitted import Trained, packaged

Select = Callable[..., Selection]


def registered(settings: Settings, model: str, package: tuple[Path, str]) -> Version:
    """A version whose source is a folder of the machine."""
    client = connect(settings)
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    made = client.create_model_version(model, package[0].as_uri(), tags={DIGEST_TAG: package[1]})
    return ProductionPointer(settings, model).get(made.version)


@pytest.fixture
def select(mlflow_settings: Settings, model_name: str, mixed_package: tuple[Path, str]) -> Select:
    """Select rows of a model with the number age and the category plan."""
    version = registered(mlflow_settings, model_name, mixed_package)
    return lambda *words: selected_by_values(mlflow_settings, [version], words)


def has(selection: Selection, version: str | None = "1", **features: Any) -> bool:
    return selection.has("id", version, features)


@pytest.mark.parametrize("text", ["36.5", "36.50", "3.65e1"])
def test_a_number_is_compared_as_one(select: Select, text: str) -> None:
    selection = select(f"age={text}")
    assert has(selection, age=36.5)
    assert not has(selection, age=36.4)
    assert not has(selection, age=None)
    assert not has(selection, age="36.5")
    assert not has(selection)


def test_a_category_is_compared_as_text_with_everything_after_the_first_sign(select: Select) -> None:
    assert has(select("plan=a=b"), plan="a=b")
    assert has(select("plan=02116"), plan="02116")
    assert not has(select("plan=02116"), plan="2116")
    assert not has(select("plan=pro"), plan="Pro")


def test_a_row_has_to_have_all_values(select: Select) -> None:
    selection = select("plan=pro", "age=36.5")
    assert has(selection, plan="pro", age=36.5)
    assert not has(selection, plan="pro", age=36.4)
    assert not has(selection, plan="plus", age=36.5)


def test_rows_of_deleted_versions_and_of_snapshots_are_compared_by_the_newest_schema(select: Select) -> None:
    assert has(select("age=36.5"), version="99", age=36.5)
    assert has(select("age=36.5"), version=None, age=36.5)


def test_a_row_without_features_does_not_match(select: Select) -> None:
    assert not select("age=36.5").has("id", "1", None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Age=1"], "there is no column 'Age'; did you mean 'age'?"),
        (["zip=1"], "there is no column 'zip'; known are: age, plan"),
        (["age"], "got 'age', expected column=value with both"),
        (["age="], "got 'age=', expected column=value with both"),
        (["=1"], "got '=1', expected column=value with both"),
        (["age=1", "age=2"], "the column 'age' is given twice"),
        (["age=old"], "age: expected a number, got 'old'"),
        (["age=1", "left=yes"], "there is no column 'left'"),
    ],
)
def test_a_condition_that_can_select_nothing_is_refused(select: Select, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        select(*words)
    assert message in str(refusal.value)


def test_every_version_types_the_values_of_its_rows(
    mlflow_settings: Settings, model_name: str, mixed: Trained, mixed_package: tuple[Path, str], iris: Trained,
    tmp_path: Path,
) -> None:  # fmt: skip
    versions = [
        registered(mlflow_settings, model_name, mixed_package),
        registered(mlflow_settings, model_name, packaged(iris, tmp_path / "iris")),
    ]
    selection = selected_by_values(mlflow_settings, versions, ["age=36.5"])
    assert has(selection, version="1", age=36.5)
    assert not has(selection, version="2", age=36.5), "this version has no such column"
    with pytest.raises(ConfigError, match=r"no version has all of the columns age, sepal_width"):
        selected_by_values(mlflow_settings, versions, ["age=36.5", "sepal_width=3"])


def test_a_version_whose_package_is_gone_does_not_hide_the_others(
    mlflow_settings: Settings, model_name: str, mixed_package: tuple[Path, str], tmp_path: Path
) -> None:
    kept = registered(mlflow_settings, model_name, mixed_package)
    gone = registered(mlflow_settings, model_name, (tmp_path / "gone", "d"))
    selection = selected_by_values(mlflow_settings, [kept, gone], ["plan=pro"])
    assert has(selection, version=gone.version, plan="pro")
    with pytest.raises(RegistryError, match="no package of this model can be read"):
        selected_by_values(mlflow_settings, [gone], ["plan=pro"])
