"""Ratchet's estimators: outlier detectors as classifiers, thresholds by cost, and matrix factorisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from ratchet.config import Costs, TaskName, Train
from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError
from ratchet.model.estimators import CostThresholdSearch, MatrixFactorization, OutlierClassifier
from ratchet.model.training import build_estimator
from ratchet.registry.warm_start import require_can_continue

Data = tuple[npt.NDArray[np.float64], npt.NDArray[Any]]

DETECTORS = {
    "forest": IsolationForest(n_estimators=50, contamination=0.05, random_state=0),
    "lof": LocalOutlierFactor(novelty=True, contamination=0.05),
    "svm": OneClassSVM(nu=0.05),
    "envelope": EllipticEnvelope(contamination=0.05, random_state=0),
}
SCHEMA = Schema(
    features=(Field(name="a", type="number", nullable=False), Field(name="b", type="number", nullable=False)),
    target="y",
    labels=("anomaly", "normal"),
    task="anomaly_detection",
    positive="anomaly",
    costs=Costs(false_negative=20, false_positive=1),
)


def machine(rows: int = 600, seed: int = 0) -> Data:
    """Two figures of a machine; one row in twenty is far out, on any side."""
    generator = np.random.default_rng(seed)
    strange = generator.random(rows) < 0.05
    angle, radius = generator.uniform(0, 2 * np.pi, rows), generator.uniform(6, 20, rows)
    around = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None]
    x = np.where(strange[:, None], around, generator.normal(size=(rows, 2)))
    return x, np.where(strange, "anomaly", "normal").astype(object)


def cards(rows: int = 2000, seed: int = 0) -> Data:
    """One row in fifty is of the positive class, and overlaps with the others."""
    generator = np.random.default_rng(seed)
    positive = generator.random(rows) < 0.02
    return generator.normal(size=(rows, 2)) + np.where(positive, 1.5, 0.0)[:, None], positive.astype(np.int64)


def cost_of(predicted: Any, truth: Any, missed: float = 20.0, alarm: float = 1.0) -> float:
    return float(np.mean(np.where(truth == 1, (predicted != 1) * missed, (predicted == 1) * alarm)))


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_of_scikit_learn_finds_anomalies_as_a_classifier(name: str) -> None:
    x, y = machine()
    model = OutlierClassifier(DETECTORS[name], positive="anomaly").fit(x, y)
    new, truth = machine(seed=1)
    assert model.classes_.tolist() == ["anomaly", "normal"]
    assert (model.predict(new) == truth).mean() > 0.95
    found = model.predict_proba(new)
    assert average_precision_score(truth == "anomaly", found[:, 0]) > 0.9
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found.min() >= 0
    assert (model.predict(new) == np.where(found[:, 0] > 0.5, "anomaly", "normal")).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_own_verdict_is_the_threshold(name: str) -> None:
    x, y = machine()
    model = OutlierClassifier(DETECTORS[name], positive="anomaly").fit(x, y)
    np.testing.assert_array_equal(model.predict(x) == "anomaly", clone(DETECTORS[name]).fit(x).predict(x) == -1)


def test_a_probability_rises_with_the_strangeness_of_a_row_however_far_out() -> None:
    x, y = machine()
    model = OutlierClassifier(OneClassSVM(nu=0.05, kernel="linear"), positive="anomaly").fit(x, y)
    scores = model.decision_function(x)
    order = np.argsort(scores)
    chances = model.predict_proba(x)[order, 0]
    assert (np.diff(chances) >= 0).all()
    far = OutlierClassifier(EllipticEnvelope(random_state=0), positive="anomaly").fit(x, y)
    away = far.predict_proba(np.outer([5.0, 50.0, 5e3, 5e5], [1.0, 1.0]))[:, 0]
    assert (np.diff(away) > 0).all(), "no tie among anomalies"
    assert away[-1] < 1


def test_labels_take_no_part_in_a_fit_on_all_rows() -> None:
    x, y = machine()
    one = OutlierClassifier(IsolationForest(random_state=0), positive="anomaly").fit(x, y)
    other = OutlierClassifier(IsolationForest(random_state=0), positive="anomaly").fit(x, y[::-1])
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))


def test_a_fit_on_the_normal_rows_leaves_the_anomalies_out() -> None:
    x, y = machine()
    model = OutlierClassifier(LocalOutlierFactor(novelty=True), positive="anomaly", fit_on="normal").fit(x, y)
    alone = LocalOutlierFactor(novelty=True).fit(x[y == "normal"])
    np.testing.assert_array_equal(model.predict(x) == "anomaly", alone.predict(x) == -1)


def test_a_share_sets_the_threshold() -> None:
    x, y = machine()
    model = OutlierClassifier(OneClassSVM(), positive="anomaly", share=0.1).fit(x, y)
    assert (model.predict(x) == "anomaly").mean() == pytest.approx(0.1, abs=0.005)


def test_rows_of_one_class_are_enough_if_the_labels_are_given() -> None:
    x, y = machine()
    calm = y == "normal"
    model = OutlierClassifier(positive="anomaly", labels=("anomaly", "normal"), random_state=0).fit(x[calm], y[calm])
    assert model.predict(np.array([[9.0, 9.0]])).tolist() == ["anomaly"]
    with pytest.raises(ValueError, match=r"one of two classes, and there are \['normal'\]"):
        OutlierClassifier(positive="anomaly").fit(x[calm], y[calm])
    with pytest.raises(ValueError, match="positive: 'odd' is none of"):
        OutlierClassifier(positive="odd").fit(x, y)


def build(path: str, task: TaskName = "anomaly_detection", threshold: Any = "default", **params: Any) -> Any:
    return build_estimator(Train(estimator=path, params=params, threshold=threshold), task, 7, SCHEMA)


def test_a_detector_in_a_config_becomes_a_classifier_with_the_positive_class() -> None:
    model = build("sklearn.ensemble.IsolationForest", contamination=0.02)
    assert isinstance(model, OutlierClassifier)
    assert (model.positive, model.labels) == ("anomaly", ("anomaly", "normal"))
    assert (model.detector.contamination, model.detector.random_state) == (0.02, 7)


def test_a_config_can_name_the_wrapper_for_its_own_parameters() -> None:
    detector = {"estimator": "sklearn.neighbors.LocalOutlierFactor", "params": {"novelty": True}}
    model = build("ratchet.estimators.OutlierClassifier", detector=detector, fit_on="normal", share=0.02)
    assert (model.fit_on, model.share, model.positive) == ("normal", 0.02, "anomaly")


@pytest.mark.parametrize(
    ("path", "task", "message"),
    [
        ("sklearn.neighbors.LocalOutlierFactor", "anomaly_detection", "scores no new rows: set train.params.novelty"),
        (
            "sklearn.linear_model.Ridge",
            "anomaly_detection",
            "expected an estimator for the task anomaly_detection, got",
        ),
        (
            "sklearn.ensemble.IsolationForest",
            "classification",
            "expected an estimator for the task classification, got",
        ),
        (
            "ratchet.estimators.MatrixFactorization",
            "classification",
            "expected an estimator for the task classification, got",
        ),
        ("ratchet.estimators.MatrixFactorisation", "recommendation", "did you mean 'MatrixFactorization'"),
        (
            "ratchet.model.training.Any",
            "recommendation",
            "not from an allowed package (sklearn, ratchet.estimators)",
        ),
        ("ratchet.estimatorsx.Any", "recommendation", "is not from an allowed package"),
    ],
)
def test_an_estimator_of_another_task_is_refused(path: str, task: TaskName, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(path, task)
    assert message in str(refused.value)


def test_a_plain_classifier_can_look_for_anomalies_too() -> None:
    assert isinstance(build("sklearn.linear_model.LogisticRegression"), LogisticRegression)


def with_threshold(
    estimator: Any, x: Any, y: Any, false_negative: float = 20.0, positive: Any = 1, **params: Any
) -> FixedThresholdClassifier:
    """The classifier that a search for the cheapest threshold leaves behind."""
    costs = Costs(false_negative=false_negative, false_positive=1)
    search = CostThresholdSearch(estimator, costs, positive, random_state=0, **params)
    return search.fit(x, y).best_estimator_


def test_a_threshold_by_cost_is_cheaper_than_the_usual_one_and_leaves_the_probabilities() -> None:
    x, y = cards()
    plain = LogisticRegression().fit(x, y)
    model = with_threshold(LogisticRegression(), x, y)
    new, truth = cards(seed=1, rows=4000)
    np.testing.assert_array_equal(model.predict_proba(new), plain.predict_proba(new))
    assert cost_of(model.predict(new), truth) < 0.7 * cost_of(plain.predict(new), truth)
    assert 0.01 < model.threshold < 0.15, "Elkan's is 1 / 21"


def test_a_threshold_by_cost_corrects_probabilities_that_are_wrong() -> None:
    x, y = cards()
    model = with_threshold(LogisticRegression(class_weight="balanced"), x, y)
    new, truth = cards(seed=1, rows=4000)
    by_elkan = np.where(model.predict_proba(new)[:, 1] >= 1 / 21, 1, 0)
    assert cost_of(model.predict(new), truth) < cost_of(by_elkan, truth) / 2


class GivenProbability(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose probability of class 1 is the feature itself."""

    def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        return np.column_stack([1 - X[:, 0], X[:, 0]])


@pytest.mark.parametrize("seed", range(10))
def test_no_other_threshold_is_cheaper_on_the_folds_of_the_training_rows(seed: int) -> None:
    generator = np.random.default_rng(seed)
    chances, positive = generator.integers(0, 8, 200) / 7, (generator.random(200) < 0.3).astype(int)
    found = with_threshold(GivenProbability(), chances[:, None], positive, false_negative=5).threshold
    costs = {t: cost_of(chances >= t, positive, 5, 1) for t in np.append(np.linspace(0, 1.1, 60), found)}
    assert costs[found] == pytest.approx(min(costs.values()))


@pytest.mark.parametrize("labels", [(0, 1), ("fine", "fraud"), ("fraud", "legal")])
def test_among_equally_cheap_thresholds_the_nearest_to_elkans_is_taken(labels: tuple[Any, Any]) -> None:
    chances, positive = np.repeat([0.001, 0.9], 50), np.repeat([False, True], 50)
    place = labels.index("fraud") if "fraud" in labels else 1
    y = np.where(positive, labels[place], labels[1 - place]).astype(object if "fraud" in labels else int)
    x = (chances if place else 1 - chances)[:, None]
    model = with_threshold(GivenProbability(), x, y, positive=labels[place])
    assert model.threshold == pytest.approx(1 / 21)
    assert (model.predict(x) == y).all()


def test_where_one_class_for_all_rows_is_cheapest_the_threshold_is_beyond_the_probabilities() -> None:
    x, y = np.repeat([0.9, 0.1], 50)[:, None], np.repeat([0, 1], [90, 10])
    assert (with_threshold(GivenProbability(), x, y, false_negative=1).predict(x) == 0).all()
    assert (with_threshold(GivenProbability(), x, y, false_negative=1000).predict(x) == 1).all()


def test_rows_in_order_are_validated_on_newer_ones() -> None:
    x, y = cards(400)
    seen: list[float] = []

    class Watching(LogisticRegression):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
            seen.append(float(X[-1, 2]))
            return super().fit(X[:, :2], y)

        def predict_proba(self, X: Any) -> Any:  # noqa: N803
            assert X[0, 2] > seen[-1], "older than what it was fitted on"
            return super().predict_proba(X[:, :2])

    numbered = np.column_stack([x, np.arange(400.0)])
    with_threshold(Watching(), numbered, y, in_order=True)
    assert len(seen) == 6


@pytest.mark.parametrize("rare", [1, 3])
def test_without_enough_rows_of_a_class_the_threshold_is_elkans_or_of_fewer_folds(rare: int) -> None:
    x, y = np.arange(20.0)[:, None], np.array([0] * (20 - rare) + [1] * rare)
    found = with_threshold(LogisticRegression(), x, y, false_negative=3).threshold
    assert found == pytest.approx(0.25) if rare == 1 else 0 < found < 1


def test_a_config_asks_for_the_threshold_and_the_schema_has_the_costs() -> None:
    model = build("sklearn.linear_model.LogisticRegression", "classification", "cost")
    assert isinstance(model, CostThresholdSearch)
    assert (model.costs, model.positive, model.in_order) == (SCHEMA.costs, "anomaly", False)
    assert (model.random_state, model.estimator.random_state) == (7, 7)
    wrapped = build("sklearn.ensemble.IsolationForest", threshold="cost")
    assert isinstance(wrapped.estimator, OutlierClassifier)
    with pytest.raises(ConfigError, match="train.threshold: cost needs predict_proba, which sklearn.svm.LinearSVC"):
        build("sklearn.svm.LinearSVC", "classification", "cost")
    with pytest.raises(ConfigError, match="fitted once for each fold, from scratch; set train.mode: scratch"):
        require_can_continue(model, "x")


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        (OutlierClassifier(fit_on="some"), "fit_on: got 'some', expected all or normal"),  # type: ignore[arg-type]
        (OutlierClassifier(share=0.7), "share: got 0.7, expected a share from 0 to 0.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_parameters_of_the_wrappers_are_checked(wrapper: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrapper.fit(np.arange(20.0)[:, None], np.array([0, 1] * 10))


def films(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings with two tastes behind them; a fifth is held out."""
    generator = np.random.default_rng(seed)
    users, items = generator.normal(size=(120, 2)), generator.normal(size=(80, 2))
    rows = pd.DataFrame({"user": generator.integers(0, 120, 5000), "item": generator.integers(0, 80, 5000)})
    rows = rows.drop_duplicates(ignore_index=True)
    taste = (users[rows["user"]] * items[rows["item"]]).sum(axis=1)
    bias = generator.normal(scale=0.4, size=80)[rows["item"]]
    rows["rating"] = np.clip(3 + bias + taste + generator.normal(scale=0.3, size=len(rows)), 1, 5)
    held = generator.random(len(rows)) < 0.2
    return rows[~held], rows[held]


def rmse(predicted: Any, truth: Any) -> float:
    return float(np.sqrt(np.mean((np.asarray(predicted) - np.asarray(truth)) ** 2)))


def test_a_factorisation_beats_the_means_of_items_where_tastes_differ() -> None:
    train, holdout = films()
    means = holdout["item"].map(train.groupby("item")["rating"].mean()).fillna(train["rating"].mean())
    model = MatrixFactorization(4, regularization=1.0, random_state=0).fit(train[["user", "item"]], train["rating"])
    assert rmse(model.predict(holdout[["user", "item"]]), holdout["rating"]) < 0.5 * rmse(means, holdout["rating"])


def test_without_factors_it_is_the_biases_alone_and_equals_a_ridge_regression_of_them() -> None:
    train, _ = films()
    codes, rating = train[["user", "item"]].to_numpy(), train["rating"].to_numpy()
    model = MatrixFactorization(0, regularization=2.0, n_iterations=200).fit(codes, rating)
    dummies = np.zeros((len(codes), 200))
    dummies[np.arange(len(codes)), codes[:, 0]] = dummies[np.arange(len(codes)), 120 + codes[:, 1]] = 1
    expected = np.linalg.solve(dummies.T @ dummies + 2 * np.eye(200), dummies.T @ (rating - rating.mean()))
    np.testing.assert_allclose(np.r_[model.user_biases_, model.item_biases_], expected, atol=1e-6)


def test_an_unknown_user_or_item_gets_the_mean_and_the_bias_of_the_other() -> None:
    train, _ = films()
    model = MatrixFactorization(random_state=0).fit(train[["user", "item"]], train["rating"])
    unknown, new, far = model.predict([[-1, -1], [-1, 3], [10_000, 3]])
    assert unknown == pytest.approx(train["rating"].mean())
    assert new == far == pytest.approx(model.mean_ + model.item_biases_[3])
    predicted = model.predict(train[["user", "item"]])
    assert train["rating"].min() <= predicted.min() <= predicted.max() <= train["rating"].max()


def test_the_same_seed_gives_the_same_factors_and_a_copy_the_same_parameters() -> None:
    train, _ = films()
    one, other = (
        MatrixFactorization(3, random_state=5).fit(train[["user", "item"]], train["rating"]) for _ in range(2)
    )
    np.testing.assert_array_equal(one.item_factors_, other.item_factors_)
    assert clone(one).get_params() == one.get_params()


@pytest.mark.parametrize(
    ("params", "codes", "message"),
    [
        ({"n_factors": -1}, [[0, 0]], "n_factors: got -1, expected 0 at least"),
        ({"regularization": 0}, [[0, 0]], "regularization: got 0, expected a number above 0"),
        ({"n_iterations": 0}, [[0, 0]], "n_iterations: got 0"),
        ({}, [[0, 0, 0]], "two columns, the codes of user and item: set embed.kind: ratings"),
        ({}, [[-1, 0]], "no rating has a known user and a known item"),
    ],
)
def test_wrong_parameters_and_codes_are_refused(params: dict[str, Any], codes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatrixFactorization(**params).fit(codes, [3.0])
