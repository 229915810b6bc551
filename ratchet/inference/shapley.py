"""Shapley values: the contribution of each feature to one prediction.

A feature's contribution is the change of the output when its value is set, on average over all orders in which the
features can be set, relative to background rows (interventional Shapley values: S. Lundberg and S.-I. Lee, "A unified
approach to interpreting model predictions", 2017). The base value and the contributions add up to the output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ratchet.inference.runtime import Answer, Runtime
from ratchet.model.record_schema import Record

# Up to this number of features, all coalitions are computed; beyond it, orders are sampled (E. Strumbelj and
# I. Kononenko, "Explaining prediction models and individual predictions with feature contributions", 2014).
MOST_EXACT = 10
_ORDERS = 32
_SEED = 0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """A prediction and the contribution of each feature to it.

    Attributes
    ----------
    answer: the prediction.
    output: the explained number: the predicted class's probability, or a regression's prediction.
    base: the mean output over the background rows.
    contributions: by feature; with ``base`` they add up to ``output``.
    method: ``exact``, or ``sampled`` for more than ``MOST_EXACT`` features. Sampling is exact too if the features do
        not interact, as in a linear regression.
    """

    answer: Answer
    output: float
    base: float
    contributions: dict[str, float]
    method: str


def explain(runtime: Runtime, record: Record) -> Explanation:
    """Explain one prediction; the background is the package's golden rows, which are spread over the targets.

    Raises
    ------
    InputError: the model computes no finite number for the record.
    """
    answer = runtime.predict([record])[0]
    names = runtime.schema.feature_names
    mean_output = _MeanOutput(runtime, answer, record)
    exact = len(names) <= MOST_EXACT
    base, values = (_exact_values if exact else _sampled_values)(mean_output, len(names))
    if not np.isfinite(values).all():
        runtime.refuse([record], 0)
    output = float(mean_output([tuple(range(len(names)))])[0])
    contributions = dict(zip(names, values.tolist(), strict=True))
    return Explanation(answer, output, base, contributions, "exact" if exact else "sampled")


class _MeanOutput:
    """The value of a coalition: the mean output over the background, with the coalition's features from the record."""

    def __init__(self, runtime: Runtime, answer: Answer, record: Record) -> None:
        self._runtime = runtime
        self._answer = answer
        self._names = runtime.schema.feature_names
        self._record = record
        self._background: Sequence[Record] = runtime.golden.rows if runtime.golden else [runtime.reader.example()]

    def __call__(self, coalitions: Sequence[Sequence[int]]) -> Floats:
        rows: list[Record] = []
        for coalition in coalitions:
            given = {self._names[index]: self._record.get(self._names[index]) for index in coalition}
            rows += [{**row, **given} for row in self._background]
        outputs = self._outputs(rows).reshape(len(coalitions), len(self._background))
        return np.asarray(outputs.mean(axis=1), dtype=np.float64)

    def _outputs(self, rows: list[Record]) -> Floats:
        predictions, probabilities = self._runtime.engine(rows)
        if probabilities is not None:
            column = (self._runtime.schema.labels or ()).index(self._answer.prediction)
            return np.asarray(probabilities[:, column], dtype=np.float64)
        if self._runtime.schema.labels is None:
            return np.asarray(predictions, dtype=np.float64)
        # A classifier without probabilities: 1 if it predicts the same class.
        return np.array([prediction == self._answer.prediction for prediction in predictions], dtype=np.float64)


def _exact_values(mean_output: _MeanOutput, features: int) -> tuple[float, Floats]:
    coalitions = [c for size in range(features + 1) for c in itertools.combinations(range(features), size)]
    outputs = dict(zip(coalitions, mean_output(coalitions).tolist(), strict=True))
    values = np.zeros(features)
    for coalition, output in outputs.items():
        for feature in coalition:
            without = tuple(other for other in coalition if other != feature)
            before, after = len(without), features - len(coalition)
            # The share of all orders in which exactly these features are set before this one.
            weight = math.factorial(before) * math.factorial(after) / math.factorial(features)
            values[feature] += weight * (output - outputs[without])
    return outputs[()], values


def _sampled_values(mean_output: _MeanOutput, features: int) -> tuple[float, Floats]:
    generator = np.random.default_rng(_SEED)
    orders: list[list[int]] = []
    for _ in range(_ORDERS // 2):
        order = generator.permutation(features).tolist()
        orders += [order, order[::-1]]  # the error of an order and of its reverse cancel in part
    values = np.zeros(features)
    base = 0.0
    for order in orders:
        outputs = mean_output([order[:given] for given in range(features + 1)])
        values[order] += np.diff(outputs)
        base = float(outputs[0])
    return base, values / len(orders)
