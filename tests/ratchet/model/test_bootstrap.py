"""Bootstrap replicates: blocks, coverage, and draws over the combinations of classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ratchet.model import bootstrap, metrics
from ratchet.model.bootstrap import interval, replicates, resamples
from ratchet.model.metrics import ClassificationScores, RegressionScores, Scores

N_ROWS = 400


def two_models(n_classes: int = 2, **known: object) -> list[Scores]:
    """Scores of two classifiers of the same rows, with errors in common, rare last class."""
    generator = np.random.default_rng(3)
    truth = generator.choice(n_classes, N_ROWS, p=np.r_[np.full(n_classes - 1, 0.9 / (n_classes - 1)), 0.1])
    hard, models = generator.random(N_ROWS) < 0.2, []
    for _ in range(2):
        wrong = hard & (generator.random(N_ROWS) < 0.7)
        predicted = np.where(wrong, (truth + generator.integers(1, n_classes, N_ROWS)) % n_classes, truth)
        models.append(ClassificationScores(truth, predicted, None, n_classes, **known))  # type: ignore[arg-type]
    return list(models)


def by_rows(name: str, models: list[Scores], n_resamples: int, seed: int) -> np.ndarray:
    """The replicates of drawn rows."""
    drawn = list(resamples(N_ROWS, n_resamples, seed))
    return np.concatenate([[metrics.score(name, scores, w) for scores in models] for w in drawn], axis=1)


@pytest.mark.parametrize(
    ("metric", "models"),
    [
        *((name, two_models(positive=1, costs=(5.0, 1.0))) for name in sorted(metrics.OF_COUNTS)),
        ("f1_macro", two_models(4)),
        ("balanced_accuracy", two_models(4, least_support=30.0)),
    ],
)
def test_draws_over_combinations_of_classes_have_the_distribution_of_drawn_rows(
    metric: str, models: list[Scores]
) -> None:
    cells, rows = replicates(metric, models, 4000, seed=1), by_rows(metric, models, 4000, seed=2)
    for at in (cells[0], cells[1]), (rows[0], rows[1]):
        assert len(np.unique(at[0] - at[1])) > 10, "the models differ, and so do the draws"
    compared = [(cells[0], rows[0]), (cells[1], rows[1]), (cells[0] - cells[1], rows[0] - rows[1])]
    assert min(ks_2samp(one, other).pvalue for one, other in compared) > 0.001


def test_the_cost_of_a_metric_of_counts_does_not_depend_on_the_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    score = metrics.score

    def counting(name: str, scores: Scores, weights: np.ndarray) -> np.ndarray:
        drawn.append(weights.shape[1])
        return score(name, scores, weights)

    monkeypatch.setattr(metrics, "score", counting)
    truth = np.tile([0, 0, 1, 1], 50_000)
    models: list[Scores] = [ClassificationScores(truth, np.tile(p, 50_000), None, 2) for p in ([0, 1, 1, 1], [0] * 4)]
    values = replicates("accuracy", models, 500, seed=0)
    assert set(drawn) == {3}, "(0, 0, 0), (0, 1, 0) and (1, 1, 0)"
    np.testing.assert_allclose(values.mean(axis=1), [0.75, 0.5], atol=1e-3)


def test_metrics_of_probabilities_numbers_and_blocks_draw_rows() -> None:
    truth = np.random.default_rng(0).normal(size=60)
    model: Scores = RegressionScores(truth, np.zeros(60))
    weights = np.concatenate(list(resamples(60, 40, seed=4)))
    np.testing.assert_array_equal(replicates("mae", [model], 40, seed=4)[0], metrics.score("mae", model, weights))
    flags = two_models()[0]
    blocks = np.concatenate(list(resamples(N_ROWS, 40, seed=4, block=5)))
    expected = metrics.score("accuracy", flags, blocks)
    np.testing.assert_array_equal(replicates("accuracy", [flags], 40, seed=4, block=5)[0], expected)


def test_resamples_draw_as_many_rows_as_there_are() -> None:
    weights = np.concatenate(list(resamples(50, 30, seed=0)))
    assert weights.shape == (30, 50)
    assert (weights.sum(axis=1) == 50).all()


def test_blocks_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resamples(50, 30, seed=0)))
    monkeypatch.setattr(bootstrap, "_CELLS", 200)
    np.testing.assert_array_equal(np.concatenate(list(resamples(50, 30, seed=0))), whole)


def test_the_interval_covers_the_truth_about_as_often_as_its_confidence() -> None:
    # A mean absolute error of known expectation; 95 % of 200 intervals, less 4 standard deviations: 176.
    generator = np.random.default_rng(5)
    truth = np.sqrt(2 / np.pi)
    covered = 0
    for seed in range(200):
        scores = RegressionScores(generator.normal(size=80), np.zeros(80))
        low, high = interval("mae", scores, 0.95, 400, seed)
        covered += low <= truth <= high
    assert covered >= 176
