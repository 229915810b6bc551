"""A stream of rows like those of a data set: drawn, jittered, drifted, and labelled late and perhaps wrongly.

Each row is drawn from the seed and its own number alone, so that the same config gives the same stream to the last bit,
wherever it is cut short, and a drift that is added changes nothing but what it says.
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

# What of a row a generator is for; the drifts count on from the last.
_DRAW, _JITTER, _LABEL, _DRIFT = range(4)


@dataclass(frozen=True)
class Example:
    """A row of the stream.

    Attributes
    ----------
    index: its number, counted from 0.
    record: what is sent; a missing value is None.
    truth: the target of the row of the data set that it was made from.
    label: what comes back as the truth; None where nothing does.
    label_after: the row after whose answer the label comes, never before ``index``; None where none comes.
    """

    index: int
    record: Record
    truth: Label
    label: Label | None
    label_after: int | None


class Simulation:
    """The stream of a config.

    Parameters
    ----------
    config: what to draw.
    data: the data set that the config names.

    Raises
    ------
    ConfigError: a drift or a flip names a class, column or category that the data set does not have, or already has.
    """

    def __init__(self, config: SimulationConfig, data: LoadedDataset) -> None:
        self._config = config
        self._pool = RowPool(data)
        self._check_classes()
        self._movers = [shifts.mover(drift, data.schema, f"drift.{at}") for at, drift in enumerate(config.drift)]

    def __len__(self) -> int:
        return self._config.stream.rows

    @property
    def feature_names(self) -> list[str]:
        """The fields of a record, in their order."""
        return self._pool.schema.feature_names

    def __iter__(self) -> Iterator[Example]:
        return map(self.example, range(len(self)))

    def example(self, index: int) -> Example:
        """One row of the stream, which depends on no other."""
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
        draft.numbers += self._config.stream.jitter * noise * (spread > 0)  # a column that never changes goes on so
        for place, (drift, move) in enumerate(zip(self._config.drift, self._movers, strict=True)):
            if share := shifts.weight(drift, index):
                move(draft, share, self._generator(index, _DRIFT + place))
        return self._pool.record(draft)

    def _label(self, index: int, truth: Label) -> tuple[Label | None, int | None]:
        """What comes back, and after which row's answer."""
        config, generator = self._config.labels, self._generator(index, _LABEL)
        comes, noisy, other = generator.random(3)
        if comes >= config.share:
            return None, None
        label = self._other(truth, other) if noisy < config.noise else self._flipped(truth)
        return label, index + int(generator.poisson(config.delay))

    def _other(self, truth: Label, draw: float) -> Label:
        """A random other class; for a number, the target of a random row."""
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
