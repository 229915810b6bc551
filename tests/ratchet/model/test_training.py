from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ratchet.config import TaskName, Train
from ratchet.errors import ConfigError, TrainingError
from ratchet.model.training import build_estimator, fit_model

FOREST = "sklearn.ensemble.RandomForestClassifier"
LOGISTIC = "sklearn.linear_model.LogisticRegression"


def build(path: str, task: TaskName = "classification", **params: Any) -> Any:
    return build_estimator(Train(estimator=path, params=params), task, seed=7)


def test_params_and_seed_reach_the_estimator() -> None:
    forest = build(FOREST, n_estimators=3)
    assert (forest.n_estimators, forest.random_state) == (3, 7)


def test_a_seed_in_the_config_is_kept() -> None:
    assert build(FOREST, random_state=1).random_state == 1


def test_an_estimator_can_be_a_hyper_parameter() -> None:
    model = build(
        "sklearn.calibration.CalibratedClassifierCV",
        estimator={"estimator": "sklearn.svm.SVC", "params": {"C": 2.0}},
    )
    assert model.estimator.C == 2.0
    assert model.estimator.random_state == 7


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os.system", "os.system is not from an allowed package"),
        ("sklearnx.linear_model.Ridge", "not from an allowed package"),
        ("sklearn.nowhere.Ridge", "no module 'sklearn.nowhere'"),
        ("sklearn.linear_model.LogisticRegresion", "did you mean 'LogisticRegression'"),
        ("sklearn.linear_model.enet_path", "not an estimator"),
        ("sklearn.preprocessing.StandardScaler", "not an estimator with fit and predict"),
        ("sklearn.linear_model.Ridge", "expected an estimator for the task classification, got"),
    ],
)
def test_a_wrong_estimator_is_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(path)


def test_a_nested_estimator_is_checked_like_the_outer_one() -> None:
    with pytest.raises(ConfigError, match="train.params.estimator.estimator: os.system is not from an allowed"):
        build("sklearn.calibration.CalibratedClassifierCV", estimator={"estimator": "os.system"})


def test_an_unknown_hyper_parameter_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no hyper-parameter 'n_estimator'; did you mean 'n_estimators'"):
        build(FOREST, n_estimator=3)


def test_a_missing_hyper_parameter_is_refused() -> None:
    with pytest.raises(ConfigError, match="missing 1 required positional argument: 'estimators'"):
        build("sklearn.ensemble.VotingClassifier")


def test_a_classifier_is_no_regressor() -> None:
    with pytest.raises(ConfigError, match="for the task regression, got"):
        build(LOGISTIC, task="regression")


def data() -> tuple[Pipeline, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    return Pipeline([("scale", StandardScaler().fit(x))]), x, (x[:, 0] > 0).astype(int)


def test_the_model_is_embedder_and_estimator_in_one() -> None:
    embedder, x, y = data()
    model = fit_model(build(LOGISTIC), embedder, embedder.transform(x), y)
    assert list(model.named_steps) == ["embed", "model"]
    assert np.mean(model.predict(x) == y) > 0.9


def test_the_error_of_a_refused_value_has_one_line() -> None:
    embedder, x, y = data()
    with pytest.raises(TrainingError, match="LogisticRegression could not be fitted: The 'C' parameter") as caught:
        fit_model(build(LOGISTIC, C=-1), embedder, x, y)
    assert "\n" not in str(caught.value)


def test_a_fit_that_does_not_converge_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    embedder, x, y = data()
    with caplog.at_level(logging.WARNING, logger="ratchet"):
        fit_model(build(LOGISTIC, max_iter=1), embedder, x, y)
    assert "LogisticRegression: lbfgs failed to converge" in caplog.text
