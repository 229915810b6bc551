"""A stream of rows drawn from a data set, with noise, drift, and labels that are delayed and partly wrong.

Each row depends on the seed and its number only. So the same config gives the same stream, a shorter stream is the
beginning of a longer one, and an additional drift changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ratchet.config.simulation import SimulationConfig
from ratchet.data import LoadedDataset
from ratchet.model.record_schema import Record
from simulation import shifts
from simulation.row_pool import Floats, Label, RowPool

# The purposes of a row's random generators; each drift adds one.
_DRAW, _JITTER, _LABEL, _DRIFT = range(4)


@dataclass(frozen=True)
class Example:
    """A row of the stream.

    Attributes
    ----------
    index: its number, counted from 0.
    record: the row to send; a missing value is None.
    truth: the target of the data set's row that it was drawn from.
    label: the label to send; None for none.
    label_after: the row after whose answer the label is sent, ``index`` or a later one; None for none.
    """

    index: int
    record: Record
    truth: Label
    label: Label | None
    label_after: int | None


class Stream:
    """The stream of a config.

    Parameters
    ----------
    config: of the simulation.
    data: the data set that the config names.

    Raises
    ------
    ConfigError: a class, column or category does not exist, or a new category exists.
    """

    def __init__(self, config: SimulationConfig, data: LoadedDataset) -> None:
        self._config = config
        self._pool = RowPool(data)
        self._check_classes()
        self._changes = [shifts.row_change(drift, data.schema, f"drift.{at}") for at, drift in enumerate(config.drift)]

    def __len__(self) -> int:
        return self._config.stream.rows

    @property
    def feature_names(self) -> list[str]:
        """The fields of a record, in order."""
        return self._pool.schema.feature_names

    def __iter__(self) -> Iterator[Example]:
        return map(self.example, range(len(self)))

    def example(self, index: int) -> Example:
        """Return one row of the stream."""
        row = self._pool.draw(self._priors(index), self._generator(index, _DRAW))
        truth = self._pool.targets[row]
        return Example(index, self._record(index, row), truth, *self._label(index, truth))

    def _priors(self, index: int) -> Floats:
        priors = self._pool.priors
        for drift in self._config.drift:
            priors = shifts.reweigh(priors, drift, shifts.weight(drift, index), self._pool.classes)
        return priors

    def _record(self, index: int, row: int) -> Record:
        draft, spread = self._pool.draft(row), self._pool.spread
        noise = self._generator(index, _JITTER).standard_normal(len(spread))
        draft.numbers += self._config.stream.jitter * noise * (spread > 0)  # a constant column stays constant
        for place, (drift, change) in enumerate(zip(self._config.drift, self._changes, strict=True)):
            if share := shifts.weight(drift, index):
                change(draft, share, self._generator(index, _DRIFT + place))
        return self._pool.record(draft)

    def _label(self, index: int, truth: Label) -> tuple[Label | None, int | None]:
        """Return a row's label, and the row after whose answer it is sent."""
        config, generator = self._config.labels, self._generator(index, _LABEL)
        labelled, noisy, other = generator.random(3)
        if labelled >= config.share:
            return None, None
        label = self._other(truth, other) if noisy < config.noise else self._flipped(truth)
        return label, index + int(generator.poisson(config.delay))

    def _other(self, truth: Label, draw: float) -> Label:
        """Return a random other class; for a regression, the target of a random row."""
        others = [label for label in self._pool.labels if label != truth] or self._pool.targets
        return others[int(draw * len(others))]

    def _flipped(self, truth: Label) -> Label:
        name = self._config.labels.flip.get(str(truth))
        return truth if name is None else self._pool.labels[self._pool.classes.index(name)]

    def _generator(self, index: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self._config.seed, index, purpose))

    def _check_classes(self) -> None:
        flip = self._config.labels.flip
        shifts.require_classes([*flip, *flip.values()], self._pool.classes, "labels.flip")
        for place, drift in enumerate(self._config.drift):
            if drift.kind == "class_prior":
                shifts.require_classes(drift.priors, self._pool.classes, f"drift.{place}.priors")
