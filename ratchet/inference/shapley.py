"""Why a prediction came out as it did: Shapley values of its features.

A feature's contribution is what it adds to the output on average over all orders in which the features could have
been told, beside background rows (interventional Shapley values: S. Lundberg and S.-I. Lee, "A unified approach to
interpreting model predictions", 2017). The contributions and the base value add up to the output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ratchet.inference.runtime import Answer, Runtime
from ratchet.model.record_schema import Record

# With so many features, all coalitions are tried; with more, orders are sampled (E. Strumbelj and I. Kononenko,
# "Explaining prediction models and individual predictions with feature contributions", 2014).
MOST_EXACT = 10
_ORDERS = 32
_SEED = 0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """A prediction and what each feature contributed to it.

    Attributes
    ----------
    answer: the prediction.
    output: what is explained: the predicted class's probability, or a regression's number.
    base: the mean output over the background rows.
    contributions: by feature; with ``base`` they add up to ``output``.
    method: ``exact``, or ``sampled`` where there are too many features. Where features act independently of each
        other, as in a linear regression, sampling is exact too.
    """

    answer: Answer
    output: float
    base: float
    contributions: dict[str, float]
    method: str


def explain(runtime: Runtime, record: Record) -> Explanation:
    """Explain one prediction beside the package's golden rows, which are spread over the targets.

    Parameters
    ----------
    runtime: the model.
    record: one that its reader has read.

    Raises
    ------
    InputError: the model computes no finite number for the record.
    """
    answer = runtime.predict([record])[0]
    background: Sequence[Record] = runtime.golden.rows if runtime.golden else [runtime.reader.example()]
    names = runtime.schema.feature_names
    game = _Game(runtime, answer, record, background)
    exact = len(names) <= MOST_EXACT
    base, values = _by_coalitions(game, len(names)) if exact else _by_orders(game, len(names))
    if not np.isfinite(values).all():
        runtime.refuse([record], 0)
    output = float(game([tuple(range(len(names)))])[0])
    contributions = dict(zip(names, values.tolist(), strict=True))
    return Explanation(answer, output, base, contributions, "exact" if exact else "sampled")


class _Game:
    """The mean output over the background when some features are the record's and the others the background's."""

    def __init__(self, runtime: Runtime, answer: Answer, record: Record, background: Sequence[Record]) -> None:
        self._runtime = runtime
        self._answer = answer
        self._names = runtime.schema.feature_names
        self._record = record
        self._background = background

    def __call__(self, coalitions: Sequence[Sequence[int]]) -> Floats:
        rows: list[Record] = []
        for coalition in coalitions:
            told = {self._names[index]: self._record.get(self._names[index]) for index in coalition}
            rows += [{**row, **told} for row in self._background]
        outputs = self._outputs(rows).reshape(len(coalitions), len(self._background))
        return np.asarray(outputs.mean(axis=1), dtype=np.float64)

    def _outputs(self, rows: list[Record]) -> Floats:
        predictions, probabilities = self._runtime.engine(rows)
        if probabilities is not None:
            place = (self._runtime.schema.labels or ()).index(self._answer.prediction)
            return np.asarray(probabilities[:, place], dtype=np.float64)
        if self._runtime.schema.labels is None:
            return np.asarray(predictions, dtype=np.float64)
        # A classifier without probabilities: whether the same class comes out.
        return np.array([prediction == self._answer.prediction for prediction in predictions], dtype=np.float64)


def _by_coalitions(game: _Game, features: int) -> tuple[float, Floats]:
    coalitions = [c for size in range(features + 1) for c in itertools.combinations(range(features), size)]
    worth = dict(zip(coalitions, game(coalitions).tolist(), strict=True))
    values = np.zeros(features)
    for coalition, value in worth.items():
        # The weight of a coalition of this size among all orders.
        for feature in coalition:
            without = tuple(other for other in coalition if other != feature)
            size = len(without)
            weight = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
            values[feature] += weight * (value - worth[without])
    return worth[()], values


def _by_orders(game: _Game, features: int) -> tuple[float, Floats]:
    generator = np.random.default_rng(_SEED)
    orders: list[Any] = []
    for _ in range(_ORDERS // 2):
        order = generator.permutation(features).tolist()
        orders += [order, order[::-1]]  # the reverse cancels much of an order's error
    values = np.zeros(features)
    base = 0.0
    for order in orders:
        worth = game([order[:told] for told in range(features + 1)])
        values[order] += np.diff(worth)
        base = float(worth[0])
    return base, values / len(orders)
