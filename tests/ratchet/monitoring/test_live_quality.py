"""Live quality: measured with labels, estimated without."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as sklearn_metrics

from ratchet.config import CLASSIFICATION_METRICS, REGRESSION_METRICS, TaskName
from ratchet.config.continuous import QualityDrop
from ratchet.config.tasks import POSITIVE_METRICS
from ratchet.model.metrics import ClassificationScores, point
from ratchet.monitoring.live_quality import ESTIMABLE, ExpectedScores, Quality, estimated, measure, scores_of, truth_of
from ratchet.monitoring.production_rows import Label, LabelledRow, PredictedRow

NAMES = ["setosa", "versicolor", "virginica"]
Shares = dict[str, float]


def row(prediction: Label, target: Label | None, shares: Shares | None = None, correct: bool | None = None) -> Any:
    return LabelledRow("id", "1", {}, prediction, shares, target, correct, 1, 0.0)


def unlabelled(prediction: Label, shares: Shares | None) -> PredictedRow:
    return PredictedRow("id", "1", {}, prediction, shares)


def simulated(seed: int, n_rows: int, sharpness: float = 1.0) -> npt.NDArray[np.float64]:
    """Return probabilities of three classes, shape (rows, 3)."""
    logits = np.random.default_rng(seed).normal(size=(n_rows, len(NAMES)), scale=2.0 * sharpness)
    shares = np.exp(logits)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def drawn(seed: int, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return targets drawn from the probabilities, which are then calibrated."""
    chance = np.random.default_rng(seed).random((len(shares), 1))
    return np.asarray((chance > shares.cumsum(axis=1)).sum(axis=1).clip(0, len(NAMES) - 1))


def answered(shares: npt.NDArray[np.float64], truth: Sequence[int]) -> list[LabelledRow]:
    return [
        row(NAMES[int(some.argmax())], NAMES[right], dict(zip(NAMES, some.tolist(), strict=True)))
        for some, right in zip(shares, truth, strict=True)
    ]


def without_labels(rows: Sequence[LabelledRow]) -> list[PredictedRow]:
    return [unlabelled(one.prediction, one.probabilities) for one in rows]


def measured(
    rows: Sequence[LabelledRow],
    metric: str = "accuracy",
    baseline: float | None = 0.9,
    task: TaskName = "classification",
    **asked: Any,
) -> Quality:
    return measure(rows, without_labels(rows), "1", metric, QualityDrop(**asked), baseline, 1, task)


def test_classification_metrics_equal_those_of_scikit_learn() -> None:
    shares = simulated(0, 200)
    truth = drawn(1, shares)
    found = measured(answered(shares, truth.tolist())).metrics
    predicted = shares.argmax(axis=1)
    average: dict[str, Any] = {"average": "macro", "zero_division": 0}
    assert found == pytest.approx(
        {
            "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
            "f1_macro": sklearn_metrics.f1_score(truth, predicted, **average),
            "precision_macro": sklearn_metrics.precision_score(truth, predicted, **average),
            "recall_macro": sklearn_metrics.recall_score(truth, predicted, **average),
            "log_loss": sklearn_metrics.log_loss(truth, shares),
            "roc_auc": sklearn_metrics.roc_auc_score(truth, shares, multi_class="ovr"),
        }
    )
    assert set(found) == set(CLASSIFICATION_METRICS) - set(POSITIVE_METRICS)


def test_metrics_of_two_numeric_classes_equal_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(2)
    second = generator.random(120)
    truth = (generator.random(120) < second).astype(int)
    # As text, 10 sorts before 2.
    rows = [
        row(10 if p > 0.5 else 2, (2, 10)[t], {"2": 1 - p, "10": p})
        for p, t in zip(second.tolist(), truth, strict=True)
    ]
    found = measured(rows).metrics
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, second > 0.5))
    assert found["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, second))
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(truth, second))


def test_regression_metrics_equal_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    truth = generator.normal(150, 40, 60)
    predicted = truth + generator.normal(0, 10, 60)
    rows = [row(p, t) for p, t in zip(predicted.tolist(), truth.tolist(), strict=True)]
    found = measured([*rows, row(1.0, None)], "rmse", baseline=10.0, task="regression")
    assert found.n_rows == 60, "a row without a target cannot be scored"
    assert found.estimate is None
    assert found.metrics == pytest.approx(
        {
            "rmse": sklearn_metrics.root_mean_squared_error(truth, predicted),
            "mae": sklearn_metrics.mean_absolute_error(truth, predicted),
            "r2": sklearn_metrics.r2_score(truth, predicted),
            "mape": sklearn_metrics.mean_absolute_percentage_error(truth, predicted),
        }
    )
    assert set(found.metrics) == set(REGRESSION_METRICS)


def test_a_regression_is_measured_if_the_store_returns_integers() -> None:
    found = measured([row(150, 152), row(160, 157)] * 20, "mae", baseline=1.0, task="regression")
    assert (found.value, found.n_rows, found.dropped) == (2.5, 40, True)
    assert found.metrics.keys() == set(REGRESSION_METRICS)


def test_classes_that_are_numbers_are_scored_as_classes() -> None:
    rows = [row(1.0, 1.0)] * 30 + [row(0.0, 1.0)] * 10
    assert measured(rows).value == 0.75


def test_regression_rows_without_a_target_are_not_scored() -> None:
    rows = [row(150, None), row(151.5, None, correct=False)]
    assert scores_of(rows, "regression") is None
    assert measured(rows, "rmse", task="regression").n_rows == 0


MOSTLY_SETOSA = {"setosa": 0.98, "versicolor": 0.02}
ONE_CLASS = [row("setosa", "setosa", MOSTLY_SETOSA)] * 196 + [
    row("versicolor", "setosa", {"setosa": 0.4, "versicolor": 0.6})
] * 4


@pytest.mark.parametrize(
    ("metric", "value"), [("f1_macro", 392 / 396), ("precision_macro", 1.0), ("recall_macro", 0.98)]
)
def test_a_predicted_class_that_never_occurs_is_no_drop(metric: str, value: float) -> None:
    found = measured(ONE_CLASS, metric, baseline=0.933)
    assert found.value == pytest.approx(value)
    assert found.low > 0.95, "in no resample either"
    assert not found.dropped


def test_a_class_that_occurs_and_is_never_predicted_is_a_drop() -> None:
    rows = [row("setosa", "setosa")] * 180 + [row("setosa", "virginica")] * 20
    found = measured(rows, "f1_macro", baseline=0.933)
    assert found.value == pytest.approx(0.5 * 360 / 380)
    assert found.dropped


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1_macro", "precision_macro", "recall_macro"])
def test_a_class_with_an_expected_count_below_half_a_row_is_not_in_the_estimate(metric: str) -> None:
    sure = [unlabelled("setosa", {"setosa": 0.998, "versicolor": 0.002})] * 199
    found = estimated([*sure, unlabelled("versicolor", {"setosa": 0.95, "versicolor": 0.05})], metric)
    assert found > 0.99


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1_macro", "precision_macro", "recall_macro"])
def test_a_class_with_an_expected_count_of_one_row_is_in_the_estimate(metric: str) -> None:
    found = estimated([unlabelled("setosa", {"setosa": 0.99, "versicolor": 0.01})] * 100, metric)
    assert found == pytest.approx(0.5, abs=0.01)


def test_without_a_class_with_an_expected_count_of_half_a_row_there_is_no_macro_estimate() -> None:
    rows = [unlabelled("setosa", {"setosa": 0.4, "versicolor": 0.3, "virginica": 0.3})]
    assert estimated(rows, "f1_macro") is None
    assert estimated(rows, "accuracy") == pytest.approx(0.4)


def test_memory_grows_with_rows_times_classes() -> None:
    names = [f"class {number}" for number in range(1000)]
    shares = np.random.default_rng(10).dirichlet(np.full(1000, 0.01), 200)
    rows = [
        row(names[int(some.argmax())], names[int(some.argmax())], dict(zip(names, some.tolist(), strict=True)))
        for some in shares
    ]
    tracemalloc.start()
    found = measured(rows, "f1_macro", baseline=0.9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.value == 1.0
    assert found.estimate is not None
    assert peak < 100 * 2**20, "rows times classes squared would be 1.5 GiB"


def test_without_probabilities_the_metrics_that_need_them_are_left_out() -> None:
    found = measured([row("setosa", "setosa")] * 20 + [row("setosa", "virginica")] * 20)
    assert found.value == 0.5
    assert {"log_loss", "roc_auc"}.isdisjoint(found.metrics)
    assert found.estimate is None


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_an_undefined_metric_gives_no_verdict(metric: str) -> None:
    found = measured([row("setosa", "setosa")] * 40, metric)
    assert (found.value, found.low, found.dropped) == (None, None, False)
    assert found.reason == f"{metric} is not defined on this window of 40 rows"
    assert found.metrics["accuracy"] == 1.0


def test_a_window_of_one_class_has_all_metrics_but_the_area_under_the_curve() -> None:
    shares = {"setosa": 0.9, "versicolor": 0.06, "virginica": 0.04}
    found = measured([row("setosa", "setosa", shares)] * 40)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert set(found.metrics) == set(CLASSIFICATION_METRICS) - {"roc_auc", *POSITIVE_METRICS}
    assert found.metrics["f1_macro"] == 1.0


@pytest.mark.parametrize("n_rows", [0, 1, 29])
def test_too_few_rows_give_no_verdict_and_the_reason(n_rows: int) -> None:
    found = measured([row("setosa", "virginica", {"setosa": 0.6, "virginica": 0.4})] * n_rows, minimum_rows=30)
    assert (found.value, found.dropped, found.n_rows, found.metrics) == (None, False, n_rows, {})
    assert found.reason == f"too few rows to tell: {n_rows} labelled, 30 are needed"
    assert found.estimate == (pytest.approx(0.6) if n_rows else None)


def test_rows_marked_as_wrong_count_as_wrong() -> None:
    shares = {"setosa": 0.5, "versicolor": 0.2, "virginica": 0.3}
    rows = [row("setosa", "setosa", shares)] * 30 + [row("setosa", None, shares, correct=False)] * 10
    scores = scores_of(rows, "classification")
    assert isinstance(scores, ClassificationScores)
    assert point("accuracy", scores) == 0.75
    assert {one.target for one in truth_of(rows, "classification")[30:]} == {"virginica"}, "the likeliest of the others"


def test_rows_marked_as_wrong_count_as_wrong_without_probabilities() -> None:
    known = [row("setosa", "setosa")] * 20 + [row("virginica", "virginica")] * 7 + [row("versicolor", "versicolor")] * 3
    scores = scores_of([*known, *[row("setosa", None, correct=False)] * 10], "classification")
    assert isinstance(scores, ClassificationScores)
    assert point("accuracy", scores) == 0.75
    assert {NAMES[truth] for truth in scores.truth[30:]} == {"virginica"}, "the most frequent of the others"


def test_rows_without_feedback_are_left_out() -> None:
    rows = [row("setosa", None), row("setosa", None, {"setosa": 1.0}, correct=False), row("setosa", "setosa")]
    scores = scores_of(rows, "classification")
    assert len(scores) == 1, "there is no other class that the second row could have been"
    assert scores_of(rows[:2], "classification") is None
    assert scores_of([], "classification") is None


def test_the_expected_accuracy_is_the_mean_of_the_highest_probabilities() -> None:
    shares = simulated(4, 500)
    rows = without_labels(answered(shares, [0] * 500))
    assert estimated(rows, "accuracy") == pytest.approx(shares.max(axis=1).mean())


@pytest.mark.parametrize("metric", ESTIMABLE)
@pytest.mark.parametrize("sharpness", [0.3, 1.0])
def test_the_estimate_is_close_to_the_metric_for_calibrated_probabilities(metric: str, sharpness: float) -> None:
    shares = simulated(5, 4000, sharpness)
    rows = answered(shares, drawn(6, shares).tolist())
    found = measured(rows, metric, window=4000)
    # The standard error of a share of 4000 rows is at most 0.008.
    assert found.estimate == pytest.approx(found.value, abs=0.03)


def test_the_estimate_follows_a_drop_that_the_probabilities_show() -> None:
    sure, unsure = (without_labels(answered(simulated(7, 500, s), [0] * 500)) for s in (2.0, 0.2))
    before, after = estimated(sure, "f1_macro"), estimated(unsure, "f1_macro")
    assert before > after + 0.2


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        ([], "accuracy"),
        ([unlabelled("setosa", None)], "accuracy"),
        ([unlabelled("setosa", {"setosa": 1.0}), unlabelled("setosa", None)], "accuracy"),
        ([unlabelled("setosa", {"setosa": 1.0})], "log_loss"),
        ([unlabelled("setosa", {"setosa": 1.0})], "roc_auc"),
        ([unlabelled(151.0, None)], "rmse"),
    ],
)
def test_an_estimate_that_cannot_be_computed_is_none(rows: list[PredictedRow], metric: str) -> None:
    assert estimated(rows, metric) is None


def test_expected_counts_equal_the_expected_confusion_matrix() -> None:
    shares = simulated(8, 50)
    predicted = shares.argmax(axis=1)
    matrix = np.stack([shares[predicted == one].sum(axis=0) for one in range(3)], axis=1)
    margins = ExpectedScores(predicted, predicted, shares, 3).margins(np.ones((1, 50)))
    assert margins.hits[0] == pytest.approx(np.diagonal(matrix))
    assert margins.support[0] == pytest.approx(matrix.sum(axis=1))
    assert margins.predicted[0] == pytest.approx(matrix.sum(axis=0))


def right(share: float, n_rows: int) -> list[LabelledRow]:
    """Return rows with a share of right predictions, half of them of each class."""
    hits = round(share * n_rows)
    return [
        row(NAMES[at % 2], NAMES[at % 2 if at < hits else 1 - at % 2], {NAMES[0]: 0.5, NAMES[1]: 0.5})
        for at in range(n_rows)
    ]


@pytest.mark.parametrize(
    ("share", "n_rows", "drop", "dropped", "why"),
    [
        (0.80, 400, 0.05, True, "far below, and the interval too"),
        (0.80, 400, 0.15, False, "below, but by less than was asked for"),
        (0.80, 30, 0.05, False, "the interval of so few rows reaches the baseline"),
        (0.90, 400, 0.05, False, "as good as ever"),
        (1.00, 400, 0.05, False, "better"),
    ],
)
def test_a_drop_has_to_reach_the_limit_and_be_significant(
    share: float, n_rows: int, drop: float, dropped: bool, why: str
) -> None:
    found = measured(right(share, n_rows), baseline=0.9, drop=drop)
    assert found.dropped == dropped, why
    assert found.value == share
    assert found.low <= share <= found.high
    assert (found.baseline, found.version, found.n_rows) == (0.9, "1", n_rows)


def test_a_reason_has_the_value_its_interval_and_the_baseline() -> None:
    found = measured(right(0.8, 400), baseline=0.9)
    assert found.reason == (
        f"accuracy 0.800 (95 % interval {found.low:.3f} to {found.high:.3f}, 400 rows), 0.900 on the holdout"
    )


@pytest.mark.parametrize(("error", "dropped"), [(8.0, False), (10.0, False), (10.5, False), (15.0, True)])
def test_a_loss_drops_by_rising(error: float, dropped: bool) -> None:
    generator = np.random.default_rng(9)
    truth = generator.normal(150, 40, 300)
    wrong = generator.normal(0, 1, 300)
    wrong *= error / np.sqrt((wrong**2).mean())
    rows = [row(t + w, t) for t, w in zip(truth.tolist(), wrong.tolist(), strict=True)]
    found = measured(rows, "rmse", baseline=10.0, task="regression", drop=1.0)
    assert found.value == pytest.approx(error)
    assert found.dropped == dropped


def test_without_a_baseline_there_is_no_drop() -> None:
    found = measured(right(0.1, 100), baseline=None)
    assert not found.dropped
    assert found.reason.endswith("its value on the holdout is unknown")


def test_rows_ordered_by_time_with_clustered_errors_have_a_wider_interval() -> None:
    rows = [
        row(NAMES[0], NAMES[at // 20 % 2 and at // 100 % 2])._replace(features={"at": f"{at:03}"})
        for at in range(400)  # runs of twenty mistakes
    ]
    shuffled = [rows[at] for at in np.random.default_rng(2).permutation(len(rows))]
    alone, together = (
        measure(shuffled, [], "1", "accuracy", QualityDrop(), 0.9, 1, "classification", time=time)
        for time in (None, "at")
    )
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    stores = [each for each in rows for _ in range(5)]
    one, many = (
        measure(each, [], "1", "accuracy", QualityDrop(), 0.9, 1, "classification", time="at", grouped=True)
        for each in (rows, stores)
    )
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.2), "equal series add nothing"


def test_the_seed_fixes_the_interval() -> None:
    rows = right(0.8, 100)
    one, same, *others = (
        measure(rows, [], "1", "accuracy", QualityDrop(), 0.9, seed, "classification") for seed in (1, 1, *range(2, 9))
    )
    assert one == same
    assert any(one != other for other in others), "an accuracy of 100 rows has few values"
