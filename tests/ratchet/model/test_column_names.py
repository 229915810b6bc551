"""Columns of any name can be trained on, exported to ONNX, served and explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from ratchet.config import Embed, TrainingConfig
from ratchet.data.schema import Field, Schema
from ratchet.inference.engines import OnnxEngine
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.inference.shapley import explain
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.package.golden_predictions import record_golden
from ratchet.model.package.onnx import export_onnx, input_columns, open_session
from ratchet.model.package.sealed_package import load_package, verify_package, write_package
from ratchet.model.record_schema import RecordReader
from ratchet.monitoring.drift.report import compare_window
from tests.conftest import ROOT
from tests.fitted import Trained, fit

CASES = ROOT / "tests" / "cases"
# Words that some part on the way to a prediction has a meaning for: ONNX, scikit-learn, Pydantic, JSON, HTML, paths.
HOSTILE = (
    *("age (years)", "a b", "a_b", "a-b", "a.b", "a/b", "a\\b", "1st", "7", "x.y", "région", "it's", 'so "called"'),
    *("label", "probabilities", "output_label", "features", "variable", "merged_columns", "f0", "f1", "f2"),
    *("number", "category", "encode", "a__b", "remainder", "text", "_private", "__pydantic_config__", "model_config"),
    *("class", "None", "self", "rows", "prediction", "target", "columns", "type", "{x}", "%s", "<b>", "🙂", "$ref"),
    *(" begins", "ends ", "tab\tin", "line\nbreak", "x" * 500),
)


def table(names: tuple[str, ...], *, categories: bool = True, rows: int = 60) -> pd.DataFrame:
    """Columns with these names, every third a category, and a target that depends on the first three."""
    generator = np.random.default_rng(0)
    columns: dict[str, Any] = {}
    for position, name in enumerate(names):
        numbers = generator.normal(position, 1 + position, rows).round(2)
        columns[name] = np.where(numbers > position, "à l'est", "nord") if categories and position % 3 == 2 else numbers
    score = columns[names[0]] + (columns[names[2]] == "nord" if categories else columns[names[2]])
    return pd.DataFrame(columns).assign(**{"the answer?": np.where(score > np.median(score), "yes", "no")})


def trained_on(rows: pd.DataFrame, folder: Path, **config: Any) -> Trained:
    rows.to_csv(folder / "rows.csv", index=False)
    dataset = {"source": "csv", "path": str(folder / "rows.csv"), "target": rows.columns[-1]}
    train = {"estimator": "sklearn.linear_model.LogisticRegression"}
    sections = {"model": "names", "dataset": dataset, "train": train, "evaluate": {"primary_metric": "accuracy"}}
    return fit(TrainingConfig.model_validate(sections | config))


def served(trained: Trained, folder: Path) -> Runtime:
    """The runtime of a packaged model, whose export agrees with scikit-learn and has the names of the columns."""
    digest, manifest = write_package(folder / "package", trained.model, trained.train, trained.schema)
    assert manifest.onnx.exported, manifest.onnx.reason
    package = load_package(folder / "package", digest)
    verify_package(package)
    rows = trained.holdout[trained.schema.feature_names]
    assert {column.name for column in package.profile.features} == set(trained.schema.feature_names)
    assert len(compare_window(rows, None, package, trained.config.drift, "1").figures) == rows.shape[1]
    return load_runtime(folder / "package", digest, model="names", version="1")


def assert_answers_as_scikit_learn(trained: Trained, runtime: Runtime) -> None:
    rows = trained.holdout[trained.schema.feature_names].head(12)
    body = json.dumps({"rows": rows.to_dict("records")}).encode()
    records = runtime.reader.read_many(body)
    assert runtime.reader.read(json.dumps(rows.iloc[0].to_dict(), ensure_ascii=False).encode()) == records[0]
    answers = runtime.predict(records)
    features = trained.schema.select(rows)
    assert [answer.prediction for answer in answers] == trained.model.predict(features).tolist()
    expected = trained.model.predict_proba(features)
    np.testing.assert_allclose([[*(answer.probabilities or {}).values()] for answer in answers], expected, atol=1e-4)
    assert set(runtime.reader.json_schema()["properties"]) == set(trained.schema.feature_names)


def assert_explained(trained: Trained, runtime: Runtime) -> None:
    record = runtime.reader.read(json.dumps(trained.holdout[trained.schema.feature_names].iloc[0].to_dict()).encode())
    explained = explain(runtime, record)
    assert list(explained.contributions) == trained.schema.feature_names
    assert explained.base + sum(explained.contributions.values()) == pytest.approx(explained.output, abs=1e-5)


@pytest.mark.parametrize("name", ["names", "names_reserved", "names_twins"])
def test_the_files_of_users_are_exported_served_and_explained(name: str, tmp_path: Path) -> None:
    trained = trained_on(pd.read_csv(CASES / f"{name}.csv"), tmp_path)
    runtime = served(trained, tmp_path)
    assert runtime.engine_name == "onnx"
    assert_answers_as_scikit_learn(trained, runtime)
    assert_explained(trained, runtime)


@pytest.mark.parametrize("categories", [True, False])
def test_no_name_of_a_column_has_a_meaning_for_a_model(tmp_path: Path, *, categories: bool) -> None:
    trained = trained_on(table(HOSTILE, categories=categories, rows=300), tmp_path)
    runtime = served(trained, tmp_path)
    assert runtime.engine_name == "onnx"
    assert_answers_as_scikit_learn(trained, runtime)
    assert_explained(trained, runtime)


def test_texts_in_columns_of_any_name_are_embedded(tmp_path: Path) -> None:
    rows = table(("n", "a__b", "say (it)"), rows=80)
    rows["a__b"] = np.where(rows["n"] > 0, "good and warm", "bad and cold")
    texts = {"a__b": {"type": "text"}}
    dataset = {"source": "csv", "path": str(tmp_path / "rows.csv"), "target": "the answer?", "columns": texts}
    trained = trained_on(rows, tmp_path, dataset=dataset, embed={"kind": "text", "n_components": 2})
    digest, manifest = write_package(tmp_path / "package", trained.model, trained.train, trained.schema)
    assert not manifest.onnx.exported
    assert_answers_as_scikit_learn(trained, load_runtime(tmp_path / "package", digest, model="names", version="1"))


NAME = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=12)


@settings(max_examples=15)
@given(st.lists(NAME, min_size=3, max_size=4, unique=True))
def test_an_export_takes_records_by_any_names(names: list[str]) -> None:
    rows = table(tuple(names)).rename(columns={"the answer?": "target of the model"})
    fields = tuple(
        Field(name=name, type="category", nullable=False, categories=("nord", "à l'est"))
        if position % 3 == 2
        else Field(name=name, type="number", nullable=False)
        for position, name in enumerate(names)
    )
    schema = Schema(features=fields, target="target of the model", labels=("no", "yes"))
    embedder = fit_embedder(Embed(reducer="none"), schema, rows, 0)
    estimator = LogisticRegression().fit(embed(embedder, rows, schema).to_numpy(), rows[schema.target])
    model = Pipeline([("embed", embedder), ("model", estimator)])
    content, report = export_onnx(model, rows, schema)
    assert content is not None, report.reason
    engine = OnnxEngine(content, schema, record_golden(model, rows, schema))
    records = RecordReader(schema).read_many(json.dumps({"rows": rows[names].to_dict("records")}).encode())
    assert list(engine(records)[0]) == model.predict(schema.select(rows)).tolist()


def test_the_inputs_of_a_graph_have_neutral_names_and_the_graph_has_their_columns(mixed: Trained) -> None:
    content, _ = export_onnx(mixed.model, mixed.train, mixed.schema)
    assert content is not None
    assert input_columns(open_session(content)) == {"f0": "age", "f1": "plan"}


def test_a_graph_of_an_earlier_release_takes_its_columns_by_name(mixed: Trained) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    inputs = [("age", FloatTensorType([None, 1])), ("plan", StringTensorType([None, 1]))]
    graph = to_onnx(mixed.model, initial_types=inputs, options={"zipmap": False})
    assert input_columns(open_session(graph.SerializeToString())) == {"age": "age", "plan": "plan"}
    engine = OnnxEngine(graph.SerializeToString(), mixed.schema, record_golden(mixed.model, mixed.train, mixed.schema))
    records = [{"age": 30.0, "plan": "pro"}, {"age": None, "plan": None}]
    rows = mixed.schema.select(pd.DataFrame(records))
    assert list(engine(records)[0]) == mixed.model.predict(rows).tolist()


@pytest.mark.parametrize("part", ["_convert", "open_session", "onnx_inputs"])
def test_any_error_of_an_export_means_not_exported(
    iris: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("no such node")

    monkeypatch.setattr(f"ratchet.model.package.onnx.{part}", broken)
    with caplog.at_level("INFO"):
        digest, manifest = write_package(tmp_path / "package", iris.model, iris.train, iris.schema)
    assert not manifest.onnx.exported
    assert "no such node" in manifest.onnx.reason
    assert "no such node" in caplog.text
    assert load_runtime(tmp_path / "package", digest, model="m", version="1").engine_name == "scikit-learn"
