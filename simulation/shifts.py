"""The kinds of drift: changes of a row, or of the shares of the classes that rows are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from ratchet.config.simulation import ClassPrior, DriftKind, MeanShift, NewCategory, Rotation
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError
from ratchet.nearest_names import nearest
from simulation.row_pool import Draft, Floats, numeric_names

# Changes a draft in place; the weight in [0, 1] is the drift's progress.
RowChange = Callable[[Draft, float, np.random.Generator], None]


def weight(drift: DriftKind, index: int) -> float:
    """Return a drift's progress at a row, counted from 0: from 0 (not begun) to 1 (complete)."""
    if index < drift.at:
        return 0.0
    return min(1.0, (index - drift.at + 1) / drift.ramp) if drift.ramp else 1.0


def row_change(drift: DriftKind, schema: Schema, where: str) -> RowChange:
    """Return the function that applies a drift to a row.

    Raises
    ------
    ConfigError: a column does not exist or has another type, or a category is not new.
    """
    if isinstance(drift, MeanShift):
        return _mean_shift(_positions(schema, drift.columns, where), np.array(list(drift.columns.values())))
    if isinstance(drift, Rotation):
        names = numeric_names(schema) if drift.columns is None else drift.columns
        return _rotation(list(_pairs(_positions(schema, names, where), where)), np.radians(drift.angle))
    if isinstance(drift, NewCategory):
        _require_new(drift, schema, where)
        return _new_category(drift)
    return lambda _draft, _weight, _generator: None


def reweigh(priors: Floats, drift: DriftKind, share: float, classes: Sequence[str]) -> Floats:
    """Return the classes' shares after a drift; only ``class_prior`` changes them.

    Parameters
    ----------
    priors: the shares before, shape (classes,), in the order of ``classes``.
    share: the drift's progress, in [0, 1].
    """
    if not isinstance(drift, ClassPrior):
        return priors
    target = np.array([drift.priors.get(name, 0.0) for name in classes])
    mixed: Floats = (1 - share) * priors + share * target / target.sum()
    return mixed


def require_classes(names: Iterable[str], classes: Sequence[str], where: str) -> None:
    """Check that the data set has these classes.

    Raises
    ------
    ConfigError: a class does not exist; names the most similar one.
    """
    for name in names:
        if name not in classes:
            raise ConfigError(f"{where}: the data set has no class {name!r}{nearest(name, classes)}")


def _mean_shift(positions: list[int], sizes: Floats) -> RowChange:
    def move(draft: Draft, weight: float, _: np.random.Generator) -> None:
        draft.numbers[positions] += weight * sizes

    return move


def _rotation(pairs: list[tuple[int, int]], angle: float) -> RowChange:
    def move(draft: Draft, weight: float, _: np.random.Generator) -> None:
        cos, sin = np.cos(weight * angle), np.sin(weight * angle)
        for one, other in pairs:
            x, y = draft.numbers[one], draft.numbers[other]
            if not np.isnan(x + y):
                draft.numbers[one], draft.numbers[other] = cos * x - sin * y, sin * x + cos * y

    return move


def _new_category(drift: NewCategory) -> RowChange:
    def move(draft: Draft, weight: float, generator: np.random.Generator) -> None:
        if generator.random() < weight * drift.share:
            draft.categories[drift.column] = drift.category

    return move


def _positions(schema: Schema, names: Mapping[str, float] | Sequence[str], where: str) -> list[int]:
    """Return the positions of columns among the numeric ones."""
    known = numeric_names(schema)
    for name in names:
        _require_column(schema, name, where)
        if name not in known:
            field = next(field for field in schema.features if field.name == name)
            holds = {"category": "categories", "text": "texts", "time": "times"}[field.type]
            raise ConfigError(f"{where}.columns: {name!r} holds {holds}, and only numbers can move")
    return [known.index(name) for name in names]


def _pairs(positions: list[int], where: str) -> Iterator[tuple[int, int]]:
    if len(positions) < 2:
        raise ConfigError(f"{where}: a rotation needs two numeric columns, the data set has {len(positions)}")
    return zip(positions[::2], positions[1::2], strict=False)


def _require_new(drift: NewCategory, schema: Schema, where: str) -> None:
    _require_column(schema, drift.column, where)
    field = next(field for field in schema.features if field.name == drift.column)
    if field.type in ("number", "time"):
        raise ConfigError(f"{where}.column: {drift.column!r} holds {field.type}s, which have no categories")
    if drift.category in (field.categories or ()):
        raise ConfigError(f"{where}.category: {drift.category!r} is not new: the data set has it in {drift.column!r}")


def _require_column(schema: Schema, name: str, where: str) -> None:
    if name not in schema.feature_names:
        raise ConfigError(f"{where}: the data set has no feature {name!r}{nearest(name, schema.feature_names)}")
