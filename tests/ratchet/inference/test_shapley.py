from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ratchet.data.schema import Field, Schema
from ratchet.errors import InputError
from ratchet.inference.engines import Outputs
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.inference.shapley import MOST_EXACT, explain
from ratchet.model.package.golden_predictions import Golden
from ratchet.model.record_schema import Record
from tests.fitted import Trained

Floats = npt.NDArray[np.float64]
Formula = Callable[[Floats], Floats]
MANY = MOST_EXACT + 3


def names(count: int) -> list[str]:
    return [f"x{number}" for number in range(count)]


def regression(formula: Formula, background: Floats) -> Runtime:
    """A model that is a formula of a matrix, with these golden rows."""
    columns = names(background.shape[1])

    def engine(records: Sequence[Record]) -> Outputs:
        rows = np.array([[record[name] for name in columns] for record in records], dtype=float)
        return formula(rows).tolist(), None

    features = tuple(Field(name=name, type="number", nullable=False) for name in columns)
    rows = tuple(dict(zip(columns, row, strict=True)) for row in background.tolist())
    golden = Golden(rows=rows, predictions=tuple(formula(background).tolist()))
    return Runtime("m", "1", "d", Schema(features=features, target="y"), engine, "formula", golden)


def random_rows(features: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(8, features))


def contributions(runtime: Runtime, record: Floats) -> Floats:
    explanation = explain(runtime, dict(zip(names(len(record)), record.tolist(), strict=True)))
    return np.array([explanation.contributions[name] for name in names(len(record))])


def record_of(trained: Trained, row: int) -> Record:
    values = trained.holdout[trained.schema.feature_names].astype(object).iloc[row].to_dict()
    return {str(name): None if pd.isna(value) else value for name, value in values.items()}


def load(package: tuple[Path, str]) -> Runtime:
    return load_runtime(*package, model="m", version="1")


@pytest.mark.parametrize("name", ["iris", "mixed", "diabetes"])
def test_the_contributions_and_the_base_add_up_to_the_output(name: str, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(name)
    runtime = load(request.getfixturevalue(f"{name}_package"))
    for row in range(5):
        record = record_of(trained, row)
        explanation = explain(runtime, record)
        assert list(explanation.contributions) == trained.schema.feature_names
        assert explanation.base + sum(explanation.contributions.values()) == pytest.approx(explanation.output, rel=1e-5)
        assert explanation.answer == runtime.predict([record])[0]
        expected = explanation.answer.prediction if trained.schema.labels is None else explanation.answer.score
        assert explanation.output == pytest.approx(expected, rel=1e-6)
        assert any(abs(value) > 1e-3 for value in explanation.contributions.values())


@pytest.mark.parametrize(("features", "method"), [(4, "exact"), (MOST_EXACT, "exact"), (MANY, "sampled")])
def test_a_linear_regression_is_its_coefficients_times_the_distance_from_the_mean(features: int, method: str) -> None:
    coefficients = np.random.default_rng(1).normal(size=features)
    background, record = random_rows(features), random_rows(features, seed=2)[0]
    runtime = regression(lambda rows: rows @ coefficients + 7, background)
    np.testing.assert_allclose(
        contributions(runtime, record), coefficients * (record - background.mean(axis=0)), atol=1e-12
    )
    explanation = explain(runtime, dict(zip(names(features), record.tolist(), strict=True)))
    assert explanation.method == method
    assert explanation.base == pytest.approx(float(background.mean(axis=0) @ coefficients + 7))


@pytest.mark.parametrize("features", [4, MANY])
def test_the_contributions_add_up_if_features_interact(features: int) -> None:
    background, record = random_rows(features), random_rows(features, seed=2)[0]
    runtime = regression(lambda rows: np.prod(rows, axis=1) + rows[:, 0] * np.sin(rows[:, 1]), background)
    explanation = explain(runtime, dict(zip(names(features), record.tolist(), strict=True)))
    assert explanation.base + sum(explanation.contributions.values()) == pytest.approx(explanation.output)
    assert explanation.output == pytest.approx(explanation.answer.prediction)


@pytest.mark.parametrize("features", [4, MANY])
def test_a_feature_that_the_model_ignores_contributes_nothing(features: int) -> None:
    background, record = random_rows(features), random_rows(features, seed=2)[0]
    found = contributions(regression(lambda rows: np.exp(rows[:, 0] * rows[:, 2]), background), record)
    assert found[1] == 0
    assert found[3] == 0
    assert abs(found[0]) > 1e-6


def test_features_with_the_same_effect_contribute_the_same() -> None:
    background = random_rows(4)
    background[:, 1] = background[:, 0]
    record = np.array([1.5, 1.5, -0.5, 2.0])
    found = contributions(
        regression(lambda rows: rows[:, 0] * rows[:, 1] * rows[:, 2] + rows[:, 3], background), record
    )
    assert found[0] == pytest.approx(found[1])
    assert found[0] != pytest.approx(found[2])


@pytest.mark.parametrize("features", [4, MANY])
def test_an_explanation_is_the_same_each_time(features: int) -> None:
    runtime = regression(lambda rows: np.prod(rows[:, :4], axis=1), random_rows(features))
    record = random_rows(features, seed=2)[0]
    np.testing.assert_array_equal(contributions(runtime, record), contributions(runtime, record))


def test_sampled_values_are_close_to_the_exact_ones() -> None:
    background, record = random_rows(MOST_EXACT), random_rows(MOST_EXACT, seed=2)[0]

    def formula(rows: Floats) -> Floats:
        return np.asarray(rows[:, 0] * rows[:, 1] + np.maximum(rows[:, 2], rows[:, 3]) + rows[:, 4])

    exact = contributions(regression(formula, background), record)
    wider = np.hstack([background, random_rows(2, seed=3)])
    sampled = contributions(regression(formula, wider), np.append(record, [1.0, 1.0]))
    np.testing.assert_allclose(sampled[:MOST_EXACT], exact, atol=0.1)
    assert abs(exact).max() > 0.5


def test_a_classifier_without_probabilities_is_explained_by_its_decision() -> None:
    schema = Schema(
        features=tuple(Field(name=name, type="number", nullable=False) for name in ("a", "b")),
        target="y",
        labels=("no", "yes"),
    )

    def engine(records: Sequence[Record]) -> Outputs:
        return ["yes" if float(record["a"] or 0) > 0 else "no" for record in records], None

    golden = Golden(rows=({"a": -1.0, "b": 0.0}, {"a": -2.0, "b": 1.0}), predictions=("no", "no"))
    explanation = explain(Runtime("m", "1", "d", schema, engine, "rule", golden), {"a": 1.0, "b": 1.0})
    assert (explanation.output, explanation.base, explanation.contributions) == (1.0, 0.0, {"a": 1.0, "b": 0.0})


def test_a_missing_value_is_explained_like_any_other_value(mixed_package: tuple[Path, str]) -> None:
    runtime = load(mixed_package)
    left_out, given = explain(runtime, {"age": 30.0}), explain(runtime, {"age": 30.0, "plan": None})
    assert left_out == given


def test_a_record_too_far_from_the_training_data_is_refused(iris_package: tuple[Path, str]) -> None:
    runtime = load(iris_package)
    with pytest.raises(InputError, match="petal_length: is too far"):
        explain(runtime, {**runtime.reader.example(), "petal_length": 3.4e38})


def shap_values(function: Callable[[Floats], Any], background: Floats, record: Floats) -> Floats:
    """The values of the library's exact explainer for one row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        masker = shap.maskers.Independent(background, max_samples=len(background))
        found = shap.explainers.Exact(function, masker)(record.reshape(1, -1), max_evals=2 ** (len(record) + 1))
    return np.asarray(found.values[0], dtype=float)


@pytest.mark.slow  # importing shap takes seconds
@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_the_values_equal_those_of_the_shap_library(name: str, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(name)
    runtime = load(request.getfixturevalue(f"{name}_package"))
    columns = trained.schema.feature_names
    assert runtime.golden
    background = np.array([[row[column] for column in columns] for row in runtime.golden.rows], dtype=float)

    for row in range(0, 30, 10):
        record = record_of(trained, row)
        explanation = explain(runtime, record)

        def output(rows: Floats, predicted: Any = explanation.answer.prediction) -> Any:
            frame = pd.DataFrame(rows, columns=columns)
            if trained.schema.labels is None:
                return trained.model.predict(frame)
            return trained.model.predict_proba(frame)[:, trained.schema.labels.index(predicted)]

        expected = shap_values(output, background, np.array([record[column] for column in columns], dtype=float))
        found = np.array([explanation.contributions[column] for column in columns])
        np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, abs(explanation.output)))
        assert abs(expected).max() > 0.01
