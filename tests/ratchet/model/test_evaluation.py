from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Evaluate
from ratchet.data import Schema
from ratchet.errors import ConfigError, DataError
from ratchet.model import evaluation
from ratchet.model.evaluation import evaluate_model, score_rows
from ratchet.model.metrics import ClassificationScores
from tests.fitted import Trained, baseline

F1 = Evaluate(primary_metric="f1_macro")


def test_a_classifier_gets_every_metric_and_its_confusion(iris: Trained) -> None:
    result = evaluate_model(iris.model, iris.holdout, iris.schema, F1, seed=1)
    assert set(result.metrics) == set(evaluation.metrics.CLASSIFICATION) - evaluation.metrics.NEEDS_POSITIVE
    assert result.low <= result.primary <= result.high
    assert np.array(result.confusion).sum() == len(iris.holdout) == result.n_rows
    assert result.labels == ("setosa", "versicolor", "virginica")


def test_a_regressor_gets_errors_and_no_confusion(diabetes: Trained) -> None:
    result = evaluate_model(diabetes.model, diabetes.holdout, diabetes.schema, diabetes.config.evaluate, seed=1)
    assert set(result.metrics) == {"rmse", "mae", "r2", "mape"}
    assert result.low < result.primary < result.high
    assert result.confusion is None


def test_the_seed_fixes_the_interval(iris: Trained) -> None:
    one, same, other = (evaluate_model(iris.model, iris.holdout, iris.schema, F1, seed) for seed in (1, 1, 2))
    assert (one.low, one.high) == (same.low, same.high)
    assert one.metrics == other.metrics


def test_a_metric_of_probabilities_needs_an_estimator_that_gives_them() -> None:
    trained = baseline("train={estimator: sklearn.svm.LinearSVC}")
    config = Evaluate(primary_metric="roc_auc")
    with pytest.raises(ConfigError, match="roc_auc needs predict_proba"):
        evaluate_model(trained.model, trained.holdout, trained.schema, config, seed=1)
    assert "log_loss" not in evaluate_model(trained.model, trained.holdout, trained.schema, F1, seed=1).metrics


def test_a_metric_of_the_positive_class_needs_two_classes(iris: Trained) -> None:
    with pytest.raises(ConfigError, match="f1 needs two classes, and there are 3"):
        evaluate_model(iris.model, iris.holdout, iris.schema, Evaluate(primary_metric="f1"), seed=1)


def test_a_metric_that_is_not_defined_on_the_holdout_is_refused(iris: Trained) -> None:
    one_class = iris.holdout[iris.holdout["species"] == "setosa"]
    with pytest.raises(DataError, match="roc_auc is not defined on this holdout of 10 rows"):
        evaluate_model(iris.model, one_class, iris.schema, Evaluate(primary_metric="roc_auc"), seed=1)


def test_a_label_that_the_schema_lacks_is_refused(iris: Trained) -> None:
    rows = iris.holdout.assign(species="tulip")
    with pytest.raises(DataError, match="the label 'tulip' is none of the model's classes"):
        score_rows(iris.model, rows, iris.schema)


def test_a_model_that_never_saw_a_class_can_be_scored_on_it(iris: Trained) -> None:
    labels = ("never", *(iris.schema.labels or ()))
    schema = Schema(features=iris.schema.features, target=iris.schema.target, labels=labels)
    scores = score_rows(iris.model, iris.holdout, schema)
    assert isinstance(scores, ClassificationScores)
    assert scores.probabilities is not None
    assert not scores.probabilities[:, 0].any()


def test_missing_values_and_categories_are_scored(mixed: Trained) -> None:
    rows = pd.concat([mixed.holdout, mixed.train])
    assert rows["plan"].isna().any()
    assert evaluate_model(mixed.model, rows, mixed.schema, F1, seed=1).n_rows == 200
