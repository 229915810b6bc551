"""The level over a whole history of challengers on one holdout, and the interval at very small levels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from ratchet.model.metrics import ClassificationScores, RegressionScores
from ratchet.registry.gates.alpha_spending import level_of
from ratchet.registry.gates.paired_interval import paired_interval

TOTAL = 0.025
Pair = tuple[ClassificationScores, ClassificationScores]


def test_the_levels_of_any_number_of_challengers_add_up_to_at_most_the_total() -> None:
    levels = [level_of(number, TOTAL) for number in range(1, 100_001)]
    assert levels == sorted(levels, reverse=True)
    assert 0.9999 * TOTAL < sum(levels) < TOTAL


def history(seed: int, n_challengers: int, gain: float = 0.0, n_rows: int = 300) -> list[Pair]:
    """Challengers and one champion of 83 % accuracy, with errors in common; the last challenger is better."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, n_rows)
    hard = generator.random(n_rows) < 0.1

    def model(gain: float = 0.0) -> ClassificationScores:
        wrong = (hard ^ (generator.random(n_rows) < 0.08)) & (generator.random(n_rows) >= gain)
        return ClassificationScores(truth, truth ^ wrong, None, 2)

    champion = model()
    return [(model(gain if at == n_challengers - 1 else 0.0), champion) for at in range(n_challengers)]


def passes(pair: Pair, level: float, seed: int) -> bool:
    return paired_interval("accuracy", *pair, level, 300, seed)[0] > 0


def test_twenty_equal_challengers_on_one_holdout_pass_in_no_more_histories_than_the_level() -> None:
    n_histories = 80
    spent = same = 0
    for seed in range(n_histories):
        pairs = history(seed, 20)
        spent += any(passes(pair, level_of(at, TOTAL), seed) for at, pair in enumerate(pairs, start=1))
        same += any(passes(pair, TOTAL, seed) for pair in pairs[:20:2])
    assert spent <= binom.ppf(0.99, n_histories, TOTAL)
    assert same > binom.ppf(0.99, n_histories, TOTAL), "ten at the full level are too many already"


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [60, 300, 2000])
def test_the_level_over_the_history_holds_on_few_and_on_many_rows(n_rows: int) -> None:
    n_histories = 600
    spent = sum(
        any(passes(pair, level_of(at, TOTAL), seed) for at, pair in enumerate(history(seed, 20, 0.0, n_rows), start=1))
        for seed in range(n_histories)
    )
    assert spent <= binom.ppf(0.99, n_histories, TOTAL)


@pytest.mark.parametrize("number", [1, 20])
def test_a_better_challenger_is_promoted_also_after_others(number: int) -> None:
    promoted = sum(passes(history(seed, 1, 0.4, 2000)[0], level_of(number, TOTAL), seed) for seed in range(40))
    assert promoted >= 38


@pytest.mark.parametrize("level", [0.025, level_of(1, TOTAL), level_of(5, TOTAL), level_of(20, TOTAL)])
@pytest.mark.parametrize("losses", [0, 1, 2, 5, 10, 30])
def test_the_interval_agrees_with_the_sign_test_at_every_level(level: float, losses: int) -> None:
    """The exact test of two classifiers by the rows on which one of them is right."""

    def pair(wins: int) -> Pair:
        truth, mine, theirs = np.zeros((3, 200), dtype=np.int64)
        theirs[:wins] = mine[wins : wins + losses] = 1
        return ClassificationScores(truth, mine, None, 2), ClassificationScores(truth, theirs, None, 2)

    def fewest(level: float) -> int:
        """The wins from which the sign test is significant."""
        sizes = range(losses + 1, 150)
        return next(wins for wins in sizes if binomtest(wins, wins + losses, alternative="greater").pvalue <= level)

    assert paired_interval("accuracy", *pair(fewest(1.25 * level) - 1), level, 2000, 1)[0] <= 0
    assert paired_interval("accuracy", *pair(fewest(level / 8) + 4), level, 2000, 1)[0] > 0


def test_the_interval_widens_as_the_level_falls_beyond_what_the_resamples_resolve() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=400)
    mine, theirs = (RegressionScores(truth, truth + generator.standard_t(3, 400)) for _ in range(2))
    lows = [paired_interval("rmse", mine, theirs, level, 500, 0)[0] for level in (0.025, 1e-2, 1e-3, 1e-4, 1e-5)]
    assert lows == sorted(lows, reverse=True)
    assert len(set(lows)) == 5
