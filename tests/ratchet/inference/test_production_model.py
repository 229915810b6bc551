"""A version outside the service: frames of any dtype get the answers that the service gives for the same rows."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

import ratchet
from ratchet.config import Column
from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError, InputError, RegistryError
from ratchet.inference import production_model
from ratchet.inference.production_model import ProductionModel, free_name, open_production
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.inference.shapley import explain
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.fitted import Trained, registered

KINDS = ["iris", "mixed", "diabetes"]


def opened(request: pytest.FixtureRequest, name: str) -> tuple[ProductionModel, Trained]:
    folder, digest = request.getfixturevalue(f"{name}_package")
    runtime = load_runtime(folder, digest, model=name, version="3")
    return ProductionModel(runtime), request.getfixturevalue(name)


def from_service(runtime: Runtime, rows: pd.DataFrame) -> Any:
    """The answers to the same rows, sent as JSON columns."""
    columns = {name: [None if pd.isna(v) else v for v in rows[name]] for name in runtime.schema.feature_names}
    batch, _ = runtime.batch_reader.read_json(orjson.dumps({"columns": columns}))
    return runtime.predict_columns(batch)


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_gets_the_answers_of_the_service(name: str, request: pytest.FixtureRequest) -> None:
    model, trained = opened(request, name)
    frame = trained.holdout.set_axis([f"row {n}" for n in range(len(trained.holdout))])
    expected = from_service(model.runtime, frame)
    predictions = model.predict(frame)
    assert predictions.tolist() == expected.prediction.to_pylist()
    assert predictions.name == "prediction"
    assert predictions.index.equals(frame.index)
    if trained.schema.labels is None:
        with pytest.raises(InputError, match="gives no probabilities: use predict"):
            model.predict_proba(frame)
        return
    probabilities = model.predict_proba(frame)
    assert list(probabilities.columns) == list(trained.schema.labels)
    assert probabilities.index.equals(frame.index)
    np.testing.assert_array_equal(probabilities.to_numpy(), expected.probabilities)


@pytest.mark.parametrize("name", KINDS)
def test_batches_of_any_size_give_the_same_predictions(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, trained = opened(request, name)
    whole = model.predict(trained.holdout)
    monkeypatch.setattr(production_model, "BATCH_ROWS", 7)
    parts = model.predict(trained.holdout)
    assert parts.dtype == whole.dtype
    assert parts.tolist() == (whole.tolist() if trained.schema.labels else pytest.approx(whole.tolist(), rel=1e-6))


@pytest.mark.parametrize("name", KINDS)
def test_contributions_are_those_of_the_service_and_add_up(name: str, request: pytest.FixtureRequest) -> None:
    model, trained = opened(request, name)
    rows = trained.holdout.head(3)
    found = model.explain(rows)
    assert list(found.columns) == ["prediction", "output", "base", *trained.schema.feature_names]
    assert found.index.equals(rows.index)
    predictions = model.predict(rows).tolist()
    assert found["prediction"].tolist() == (predictions if trained.schema.labels else pytest.approx(predictions))
    sums = found["base"] + found[trained.schema.feature_names].sum(axis=1)
    assert sums.tolist() == pytest.approx(found["output"].tolist(), abs=1e-4)
    record = {n: None if pd.isna(v) else v for n, v in rows.iloc[0][trained.schema.feature_names].items()}
    assert found.iloc[0][trained.schema.feature_names].to_dict() == explain(model.runtime, record).contributions


def field(name: str, kind: Any, **values: Any) -> Field:
    return Field(name=name, type=kind, nullable=True, **values)


class Echo:
    """An engine that answers with the rows it was given."""

    seen: list[dict[str, Any]]

    def __call__(self, records: Any) -> Any:
        self.seen = [dict(record) for record in records]
        return [0.0] * len(records), None


@pytest.fixture
def echo() -> tuple[ProductionModel, Echo]:
    """A model that takes every type of column, and its engine."""
    schema = Schema(
        features=(
            field("age", "number", minimum=0.0, maximum=100.0, rule=Column(missing=("-999",))),
            field("member", "number", boolean=True),
            field("zip", "category", categories=("02116", "7", "pro")),
            field("note", "text", rule=Column(missing=())),
            field("day", "time"),
        ),
        target="spent",
    )
    engine = Echo()
    return ProductionModel(Runtime("m", "1", "", schema, engine, "echo")), engine


WHOLE = {"age": 30.0, "member": 1.0, "zip": "7", "note": "näh", "day": "2026-01-31T18:00:00"}


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("age", np.array([30, 31]), [30.0, 31.0]),
        ("age", pd.array([30, None], dtype="Int64"), [30.0, None]),
        ("age", np.array([30.5, -999]), [30.5, None]),
        ("age", ["30.5", ""], [30.5, None]),
        ("age", [Decimal("30.5"), None], [30.5, None]),
        ("age", [30, "31.5"], [30.0, 31.5]),
        ("age", [np.int64(30), "-999"], [30.0, None]),
        ("member", [True, False], [1.0, 0.0]),
        ("member", pd.array([True, None], dtype="boolean"), [1.0, None]),
        ("member", ["True", "false"], [1.0, 0.0]),
        ("zip", ["02116", None], ["02116", None]),
        ("zip", np.array([2116, 7]), ["02116", "7"]),
        ("zip", [2116.0, np.nan], ["02116", None]),
        ("zip", pd.Categorical(["pro", "unseen"]), ["pro", "unseen"]),
        ("zip", [7, "pro"], ["7", "pro"]),
        ("note", pd.array(["a", None], dtype="string"), ["a", None]),
        ("day", pd.to_datetime(["2026-01-31", None]), ["2026-01-31T00:00:00", None]),
        ("day", pd.to_datetime(["2026-01-31T19:00:00+01:00"] * 2), ["2026-01-31T18:00:00"] * 2),
        ("day", ["2026-01-31", "2026-01-31 18:00"], ["2026-01-31T00:00:00", "2026-01-31T18:00:00"]),
        ("day", [pd.Timestamp("2026-01-31"), "2026-02-01"], ["2026-01-31T00:00:00", "2026-02-01T00:00:00"]),
    ],
)
def test_columns_of_every_dtype_are_read_by_the_rules_of_a_request(
    echo: tuple[ProductionModel, Echo], column: str, values: Any, expected: list[Any]
) -> None:
    model, engine = echo
    frame = pd.DataFrame({name: [value] * 2 for name, value in WHOLE.items()})
    frame[column] = values if isinstance(values, np.ndarray) else pd.Series(values)
    model.predict(frame)
    assert [row[column] for row in engine.seen] == expected
    assert [row | {column: None} for row in engine.seen] == [WHOLE | {column: None}] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": [30.0, "old"]}, r"rows\[1\].age: 'old' is no number, and the column has values of several types"),
        ({"age": ["30", "old"]}, r"rows\[1\].age: Input should be a valid number"),
        ({"zip": [7, 99]}, r"rows\[1\].zip: .*no known category has this value"),
        ({"day": ["2026-01-31", "31.1."]}, r"rows\[1\].day: Input should be a time in ISO 8601"),
        ({"age": pd.to_timedelta([1, 2], "h")}, r"age: .*the column has type duration"),
        ({"zips": [1, 2]}, r"zips: is no feature of m; is it 'zip'\?"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_row_and_column(
    echo: tuple[ProductionModel, Echo], change: dict[str, Any], message: str
) -> None:
    frame = pd.DataFrame({name: pd.Series([value] * 2) for name, value in WHOLE.items()}).assign(**change)
    with pytest.raises(InputError, match=message):
        echo[0].predict(frame)


def test_rows_of_a_later_batch_are_counted_from_the_first_row(
    echo: tuple[ProductionModel, Echo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(production_model, "BATCH_ROWS", 2)
    frame = pd.DataFrame({name: [value] * 5 for name, value in WHOLE.items()})
    for row in (3, 4):  # the last batch has one row
        wrong = frame.astype({"age": object})
        wrong.loc[row, "age"] = "old"
        with pytest.raises(InputError, match=rf"^rows\[{row}\].age: "):
            echo[0].predict(wrong.astype({"age": str}))


def test_the_columns_are_the_features_besides_the_target(echo: tuple[ProductionModel, Echo], iris: Trained) -> None:
    model, engine = echo
    model.predict(pd.DataFrame({"note": ["a"], "age": [3], "spent": [None]}))
    assert engine.seen == [dict.fromkeys(WHOLE) | {"note": "a", "age": 3.0}]
    for frame, message in [
        (pd.DataFrame(columns=list(WHOLE)), "has no rows"),
        (pd.DataFrame({"spent": [1]}), "no column that is a feature"),
        (pd.DataFrame([[1, 2]], columns=["age", "age"]), "age: is given more than once"),
        (pd.Series([1]), "expected a pandas.DataFrame, got Series"),
    ]:
        with pytest.raises(InputError, match=message):
            model.predict(frame)


def test_a_missing_and_a_renamed_column_are_named(request: pytest.FixtureRequest) -> None:
    model, trained = opened(request, "iris")
    first = trained.schema.feature_names[0]
    with pytest.raises(InputError, match=f"^{first}: is missing$"):
        model.predict(trained.holdout.drop(columns=first))
    with pytest.raises(InputError, match=f"^{first}: is missing; is it '{first}s'\\?$"):
        model.predict(trained.holdout.rename(columns={first: f"{first}s"}))
    with pytest.raises(InputError, match=f"^{first}: is missing; is it '{first.upper()}'\\?$"):
        model.predict(trained.holdout.rename(columns={first: first.upper()}))


def test_a_name_that_a_feature_has_gets_an_underscore() -> None:
    assert free_name("base", ["age"]) == "base"
    assert free_name("base", ["base", "base_"]) == "base__"


def test_a_model_shows_its_name_version_and_signature(request: pytest.FixtureRequest) -> None:
    model, trained = opened(request, "mixed")
    assert (model.name, model.version, model.signature) == ("mixed", "3", trained.schema)
    assert repr(model) == "<ratchet model 'mixed', version 3>"


@pytest.fixture(scope="module")
def two_versions(mlflow_settings: Settings, iris: Trained) -> str:
    """A model whose second version is in Production."""
    registered(mlflow_settings, "m_two_versions", iris)
    registered(mlflow_settings, "m_two_versions", iris)
    return "m_two_versions"


@pytest.fixture
def notebook(mlflow_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The home as a notebook's environment names it."""
    monkeypatch.setenv("RATCHET_HOME", str(mlflow_settings.home))
    if mlflow_settings.mlflow_uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_settings.mlflow_uri)
    return mlflow_settings


def test_the_version_in_production_is_opened_or_the_named_one(two_versions: str, notebook: Settings) -> None:
    assert open_production(notebook, two_versions).version == "2"
    assert ratchet.production(two_versions).version == "2"
    assert ratchet.production(two_versions, version=1).version == "1"
    with pytest.raises(RegistryError, match="has no version '9'; known are: 1, 2"):
        ratchet.production(two_versions, version=9)
    with pytest.raises(ConfigError, match="there is no model 'm_two_version'"):
        ratchet.production("m_two_version")


def test_a_model_without_a_version_in_production_says_what_to_do(notebook: Settings, model_name: str) -> None:
    from ratchet.tracking import connect

    connect(notebook).create_registered_model(model_name)
    with pytest.raises(RegistryError, match="nothing is in Production yet: train it, or promote a version"):
        ratchet.production(model_name)


def test_the_history_has_a_row_for_each_entry_newest_first(iris: Trained, notebook: Settings, model_name: str) -> None:
    for _ in range(2):
        registered(notebook, model_name, iris)
    ProductionPointer(notebook, model_name).rollback("a fault", "ada")
    found = ratchet.history(model_name)
    assert found["kind"].tolist() == ["rollback", "promote", "promote"]
    assert found["to_version"].tolist() == ["1", "2", "1"]
    assert found.iloc[0]["reason"] == "a fault"
    assert str(found["when"].dtype).endswith("UTC]")
    assert found["when"].is_monotonic_decreasing
    assert len(ratchet.history(model_name, limit=1)) == 1


def test_the_import_of_the_package_stays_cheap() -> None:
    heavy = "assert not {'pandas', 'numpy', 'mlflow', 'pydantic'} & set(sys.modules)"
    code = f"import sys, ratchet; {heavy}; assert {{'production', 'history'}} <= set(dir(ratchet))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(ratchet.__file__).parents[1])
    with pytest.raises(AttributeError, match="no attribute 'prodction'"):
        ratchet.prodction  # type: ignore[attr-defined]  # noqa: B018
