"""The rows of a data set to draw from, standardized so that noise and drift can be added."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ratchet.data import LoadedDataset, Schema
from ratchet.model.record_schema import Record

Label = str | int | float
Floats = npt.NDArray[np.float64]

# Numbers are rounded to this share of their column's standard deviation, or up to ten times finer.
_PRECISION = 1e-4


@dataclass
class Draft:
    """A row that noise and drift are added to.

    Attributes
    ----------
    numbers: values of the numeric columns in standard deviations from their means, shape (numbers,); NaN is missing.
    categories: values of the other columns, by name; None is missing.
    """

    numbers: Floats
    categories: dict[str, str | None]


class RowPool:
    """The rows of a data set.

    Parameters
    ----------
    data: the checked data set.

    Attributes
    ----------
    schema: its features and target.
    labels: its classes; none for a regression.
    targets: the target of each row.
    priors: the classes' shares, shape (classes,); one share of 1 for a regression.
    spread: standard deviations of the numeric columns, shape (numbers,).
    """

    def __init__(self, data: LoadedDataset) -> None:
        self.schema, target = data.schema, data.frame[data.schema.target]
        self.labels = data.schema.labels or ()
        self.targets: list[Label] = target.tolist()
        groups = [np.flatnonzero(target == label) for label in self.labels]
        self._groups = groups or [np.arange(len(target))]
        self.priors = np.array([len(group) for group in self._groups]) / len(target)
        self._read_features(data)

    @property
    def classes(self) -> list[str]:
        """The classes' names as in a config."""
        return [str(label) for label in self.labels]

    def draw(self, priors: Floats, generator: np.random.Generator) -> int:
        """Return the position of a random row: its class drawn by these shares, then a row of the class."""
        group = self._groups[generator.choice(len(priors), p=priors)]
        return int(group[generator.integers(len(group))])

    def draft(self, row: int) -> Draft:
        """Return a row in standardized units."""
        return Draft((self._numbers[row] - self._means) / self._scale, dict(self._categories[row]))

    def record(self, draft: Draft) -> Record:
        """Return a draft as a client sends it: in the data's units, with None for a missing value.

        Numbers have as many decimals as their column in the data. With more, a domain classifier would detect the
        digits and not the drift.
        """
        numbers = self._means + draft.numbers * self._scale
        values: Record = dict(draft.categories)
        for name, number, places in zip(numeric_names(self.schema), numbers, self._places, strict=True):
            values[name] = None if np.isnan(number) else round(float(number), places)
        return {name: values[name] for name in self.schema.feature_names}

    def _read_features(self, data: LoadedDataset) -> None:
        numeric = numeric_names(data.schema)
        texts = data.frame[[name for name in data.schema.feature_names if name not in numeric]].astype(object)
        columns = {name: texts[name].where(texts[name].notna(), None).tolist() for name in texts.columns}
        self._categories = [{name: values[row] for name, values in columns.items()} for row in range(len(texts))]
        self._numbers = data.frame[numeric].to_numpy(dtype=np.float64)
        self._means, self.spread = np.nanmean(self._numbers, axis=0), np.nanstd(self._numbers, axis=0)
        self._scale = np.where(self.spread > 0, self.spread, 1.0)
        self._places = [_decimals(column, scale) for column, scale in zip(self._numbers.T, self._scale, strict=True)]


def numeric_names(schema: Schema) -> list[str]:
    """Return the numeric features, in the order of the schema."""
    return [field.name for field in schema.features if field.type == "number"]


def _decimals(values: Floats, scale: float) -> int:
    """Return the number of decimals that represent a column's values exactly, or precisely enough."""
    finest = -math.floor(math.log10(_PRECISION * scale))
    present = values[~np.isnan(values)]
    return next((places for places in range(finest) if np.array_equal(np.round(present, places), present)), finest)
