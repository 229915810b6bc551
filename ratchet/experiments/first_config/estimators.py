"""The estimators of a first config: a simple baseline, and two variations that change the estimator alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ratchet.config import LABELLED, TaskName

# Above this number of rows, gradient boosting works on histograms and a forest has fewer trees.
_MANY_ROWS = 20_000
_MOST_CLASSES = 5
_BALANCED = {"class_weight": "balanced"}


@dataclass(frozen=True)
class Recipe:
    """An estimator with the embedding it needs.

    Attributes
    ----------
    stem: of the config's file.
    title: for the comment of the config.
    scaler: of ``embed``, where it has one.
    """

    stem: str
    title: str
    estimator: str
    params: Mapping[str, Any] = field(default_factory=dict)
    scaler: str = "standard"

    @property
    def train(self) -> dict[str, Any]:
        """The section ``train``."""
        return {"estimator": self.estimator, **({"params": dict(self.params)} if self.params else {})}


def recipes(task: TaskName, n_rows: int, n_classes: int, *, uneven: bool, text: bool, batches: bool) -> list[Recipe]:
    """Return the baseline and two variations.

    Parameters
    ----------
    n_classes: 0 for numbers to predict.
    uneven: whether a class is rare.
    text: whether a column has sentences.
    batches: whether the file is read in batches.
    """
    labelled = task in LABELLED
    if task == "recommendation":
        return _RECOMMENDATION
    if task == "anomaly_detection":
        return _ANOMALIES
    if batches:
        return _in_batches(labelled=labelled)
    if not labelled:
        return [
            Recipe("baseline", "A ridge regression", "sklearn.linear_model.Ridge", {"alpha": 1.0}),
            _forest("Regressor", {}, n_rows),
            _boosting("Regressor", n_rows, 0),
        ]
    weights = _BALANCED if uneven else {}
    last = _svm(weights) if text else _boosting("Classifier", n_rows, n_classes)
    return [
        Recipe(
            "baseline",
            "A logistic regression",
            "sklearn.linear_model.LogisticRegression",
            {"C": 1.0, "max_iter": 1000, **weights},
        ),
        _forest("Classifier", weights, n_rows),
        last,
    ]


def _forest(kind: str, weights: Mapping[str, Any], n_rows: int) -> Recipe:
    trees = 100 if n_rows > _MANY_ROWS else 200
    return Recipe(
        "variation_random_forest",
        "A random forest",
        f"sklearn.ensemble.RandomForest{kind}",
        {"n_estimators": trees, "min_samples_leaf": 3, **weights},
        "none",
    )


def _boosting(kind: str, n_rows: int, n_classes: int) -> Recipe:
    if n_rows > _MANY_ROWS or n_classes > _MOST_CLASSES:
        estimator, params = f"HistGradientBoosting{kind}", {"max_iter": 200, "learning_rate": 0.1}
    else:
        estimator = f"GradientBoosting{kind}"
        params = {"n_estimators": 150, "max_depth": 3, "learning_rate": 0.05, "subsample": 0.8}
    return Recipe("variation_gradient_boosting", "Gradient boosting", f"sklearn.ensemble.{estimator}", params, "none")


def _svm(weights: Mapping[str, Any]) -> Recipe:
    inner = {"estimator": "sklearn.svm.LinearSVC", "params": {"C": 0.1, **weights}}
    return Recipe(
        "variation_svm",
        "A linear support vector machine; the calibration gives it probabilities",
        "sklearn.calibration.CalibratedClassifierCV",
        {"ensemble": False, "estimator": inner},
    )


def _in_batches(*, labelled: bool) -> list[Recipe]:
    kind, loss = ("Classifier", "log_loss") if labelled else ("Regressor", "squared_error")
    penalty = {"penalty": "elasticnet", "alpha": 0.0001}
    return [
        Recipe("baseline", "A linear model, batch by batch", f"sklearn.linear_model.SGD{kind}", {"loss": loss}),
        Recipe(
            "variation_elastic_net",
            "A linear model with few columns",
            f"sklearn.linear_model.SGD{kind}",
            {"loss": loss, **penalty},
        ),
        Recipe(
            "variation_neural_network",
            "A small neural network",
            f"sklearn.neural_network.MLP{kind}",
            {"hidden_layer_sizes": [32], "solver": "adam"},
        ),
    ]


_MATRIX = "ratchet.estimators.MatrixFactorization"
_RECOMMENDATION = [
    Recipe("baseline", "Ten factors of each user and item", _MATRIX, {"n_factors": 10}),
    Recipe("variation_biases", "No factors: the mean, and what user and item add", _MATRIX, {"n_factors": 0}),
    Recipe("variation_more_factors", "Thirty factors", _MATRIX, {"n_factors": 30, "regularization": 10.0}),
]
_FOREST = "sklearn.ensemble.IsolationForest"
_ANOMALIES = [
    Recipe("baseline", "An isolation forest, which sees no labels", _FOREST, {"n_estimators": 100}),
    Recipe("variation_more_trees", "More trees", _FOREST, {"n_estimators": 300}),
    Recipe("variation_one_class", "A one-class linear machine", "sklearn.linear_model.SGDOneClassSVM", {"nu": 0.1}),
]
