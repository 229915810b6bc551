from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference

from ratchet.config import CLASSIFICATION_METRICS, REGRESSION_METRICS
from ratchet.config.tasks import POSITIVE_METRICS
from ratchet.model import metrics
from ratchet.model.metrics import ClassificationScores, RegressionScores

COSTS = (5.0, 2.0)
OF_ALL_CLASSES = [name for name in CLASSIFICATION_METRICS if name not in POSITIVE_METRICS]


def classification(classes: int, rows: int = 200, seed: int = 0) -> ClassificationScores:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    probabilities = generator.dirichlet(np.ones(classes), rows)
    probabilities[np.arange(rows), truth] += 0.3
    # Two decimals make ties, which an area under a curve has to count by half.
    probabilities = np.round(probabilities / probabilities.sum(axis=1, keepdims=True), 2)
    probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
    positive, costs = (1, COSTS) if classes == 2 else (None, None)
    predicted = probabilities.argmax(axis=1)
    return ClassificationScores(truth, predicted, probabilities, classes, positive=positive, costs=costs)


def expected(name: str, scores: ClassificationScores) -> float:
    truth, predicted, probabilities = scores.truth, scores.predicted, scores.probabilities
    assert probabilities is not None
    binary = scores.n_classes == 2
    return float(
        {
            "accuracy": lambda: reference.accuracy_score(truth, predicted),
            "balanced_accuracy": lambda: reference.balanced_accuracy_score(truth, predicted),
            "f1_macro": lambda: reference.f1_score(truth, predicted, average="macro"),
            "precision_macro": lambda: reference.precision_score(truth, predicted, average="macro", zero_division=0),
            "recall_macro": lambda: reference.recall_score(truth, predicted, average="macro"),
            "roc_auc": lambda: reference.roc_auc_score(
                truth, probabilities[:, 1] if binary else probabilities, multi_class="ovr"
            ),
            "f1": lambda: reference.f1_score(truth, predicted),
            "f2": lambda: reference.fbeta_score(truth, predicted, beta=2),
            "precision": lambda: reference.precision_score(truth, predicted),
            "recall": lambda: reference.recall_score(truth, predicted),
            "average_precision": lambda: reference.average_precision_score(truth, probabilities[:, 1]),
            "cost": lambda: reference.confusion_matrix(truth, predicted, normalize="all").ravel() @ [0, 2.0, 5.0, 0],
        }[name]()
    )


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        *((name, classes) for name in OF_ALL_CLASSES if name != "log_loss" for classes in (2, 3, 5)),
        *((name, 2) for name in POSITIVE_METRICS),
    ],
)
def test_every_metric_equals_scikit_learns(name: str, classes: int) -> None:
    scores = classification(classes)
    assert metrics.point(name, scores) == pytest.approx(expected(name, scores), abs=1e-12)


def test_the_scores_decide_which_class_is_positive() -> None:
    one, probabilities = classification(2), classification(2).probabilities
    assert probabilities is not None
    turned = ClassificationScores(1 - one.truth, 1 - one.predicted, probabilities[:, ::-1], 2, positive=0, costs=COSTS)
    for name in POSITIVE_METRICS:
        assert metrics.point(name, turned) == pytest.approx(metrics.point(name, one), abs=1e-12)


def test_with_more_than_two_classes_metrics_of_the_positive_class_are_not_available() -> None:
    assert metrics.available(classification(3)) == OF_ALL_CLASSES
    with pytest.raises(ValueError, match="two classes"):
        metrics.point("recall", classification(3))


def test_the_metric_cost_needs_costs() -> None:
    scores = ClassificationScores(np.array([0, 1]), np.array([0, 1]), None, 2, positive=1)
    of_labels = set(OF_ALL_CLASSES) - {"log_loss", "roc_auc"}
    assert set(metrics.available(scores)) == {*of_labels, "f1", "f2", "precision", "recall"}
    with pytest.raises(ValueError, match=r"dataset\.costs"):
        metrics.point("cost", scores)


def test_without_a_positive_row_average_precision_is_not_defined() -> None:
    scores = ClassificationScores(np.zeros(3, int), np.zeros(3, int), np.full((3, 2), 0.5), 2, positive=1)
    assert np.isnan(metrics.point("average_precision", scores))


def test_a_class_that_is_predicted_and_never_occurs_counts_as_0_unless_asked_otherwise() -> None:
    truth, predicted = np.zeros(200, dtype=np.int64), np.array([0] * 196 + [1] * 4)
    usual = ClassificationScores(truth, predicted, None, 2)
    assert metrics.point("f1_macro", usual) == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    occurring = ClassificationScores(truth, predicted, None, 2, least_support=1)
    assert metrics.point("f1_macro", occurring) == pytest.approx(392 / 396)
    assert metrics.point("balanced_accuracy", usual) == metrics.point("balanced_accuracy", occurring) == 0.98


def test_log_loss_equals_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 100)
    probabilities = generator.dirichlet(np.ones(3) * 5, 100)
    scores = ClassificationScores(truth, probabilities.argmax(axis=1), probabilities, 3)
    assert metrics.point("log_loss", scores) == pytest.approx(reference.log_loss(truth, probabilities), abs=1e-12)


@pytest.mark.parametrize("name", REGRESSION_METRICS)
def test_regression_metrics_equal_scikit_learns(name: str) -> None:
    generator = np.random.default_rng(2)
    truth, predicted = generator.normal(size=50), generator.normal(size=50)
    theirs = {
        "rmse": reference.root_mean_squared_error,
        "mae": reference.mean_absolute_error,
        "r2": reference.r2_score,
        "mape": reference.mean_absolute_percentage_error,
    }[name]
    assert metrics.point(name, RegressionScores(truth, predicted)) == pytest.approx(theirs(truth, predicted), abs=1e-12)


@pytest.mark.parametrize("name", [*CLASSIFICATION_METRICS, *REGRESSION_METRICS])
def test_a_row_of_weights_is_the_metric_of_that_resample(name: str) -> None:
    if name in REGRESSION_METRICS:
        generator = np.random.default_rng(3)
        truth, predicted = generator.normal(size=40), generator.normal(size=40)
        drawn = generator.integers(0, 40, (5, 40))
        whole: metrics.Scores = RegressionScores(truth, predicted)
        parts: list[metrics.Scores] = [RegressionScores(truth[d], predicted[d]) for d in drawn]
    else:
        classes = 2 if name in POSITIVE_METRICS else 3
        scores = classification(classes, rows=40)
        drawn = np.random.default_rng(3).integers(0, 40, (5, 40))
        assert scores.probabilities is not None
        whole = scores
        parts = [
            replace(scores, truth=scores.truth[d], predicted=scores.predicted[d], probabilities=scores.probabilities[d])
            for d in drawn
        ]
    weights = np.stack([np.bincount(d, minlength=40) for d in drawn]).astype(float)
    np.testing.assert_allclose(metrics.score(name, whole, weights), [metrics.point(name, p) for p in parts], atol=1e-12)


def test_a_class_that_neither_occurs_nor_is_predicted_is_ignored() -> None:
    truth = np.array([0, 0, 1, 1])
    scores = ClassificationScores(truth, truth, None, n_classes=3)
    for name in metrics.available(scores):
        assert metrics.point(name, scores) == 1.0


def test_an_area_without_both_sides_is_not_defined() -> None:
    scores = ClassificationScores(np.zeros(3, int), np.zeros(3, int), np.full((3, 2), 0.5), n_classes=2)
    assert np.isnan(metrics.point("roc_auc", scores))


def test_a_target_that_does_not_vary_has_no_r2() -> None:
    assert np.isnan(metrics.point("r2", RegressionScores(np.ones(3), np.ones(3))))


def test_metrics_of_probabilities_need_probabilities() -> None:
    scores = ClassificationScores(np.array([0, 1]), np.array([0, 1]), None, 2)
    assert not {"log_loss", "roc_auc"} & set(metrics.available(scores))
    with pytest.raises(ValueError, match="needs probabilities"):
        metrics.point("log_loss", scores)
