"""A version of a model outside the service: the same package, the same reader and the same answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from ratchet.data.schema import Schema
from ratchet.errors import InputError, Problem
from ratchet.inference.frame_table import to_table
from ratchet.inference.package_cache import PackageCache
from ratchet.inference.runtime import ColumnAnswers, Runtime
from ratchet.inference.shapley import explain
from ratchet.model.record_schema import is_nullable
from ratchet.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

# Rows that are predicted at a time, whatever RATCHET_MAX_BATCH_ROWS allows a request.
BATCH_ROWS = 10_000
_ROW = re.compile(r"^rows\[(\d+)\]")


class Answers(NamedTuple):
    """The predictions for some rows, and the rows as the model takes them."""

    rows: pa.RecordBatch
    answers: ColumnAnswers


class ProductionModel:
    """One version of a model, which predicts and explains the rows of a frame as the service does.

    Parameters
    ----------
    runtime: the loaded version.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = replace(runtime, most_rows=BATCH_ROWS)

    def __repr__(self) -> str:
        """Return the model's name and version."""
        return f"<ratchet model {self.name!r}, version {self.version}>"

    @property
    def name(self) -> str:
        """The registered model's name."""
        return self.runtime.model

    @property
    def version(self) -> str:
        """The version's number."""
        return self.runtime.version

    @property
    def signature(self) -> Schema:
        """The features, in the order of the model's inputs, the target, and its labels."""
        return self.runtime.schema

    def predict(self, frame: pd.DataFrame) -> pd.Series[Any]:
        """Return the predictions: labels, or the numbers of a regression; name ``prediction``, the frame's index.

        The target may be among the columns, and is not read. A feature that may be missing may be left out.

        Raises
        ------
        InputError: the frame has no rows, lacks a feature, or has another column; or a value does not fit its feature,
            such as ``rows[3].age``.
        """
        parts = [answered.answers.prediction.to_pandas() for answered in self._answer(frame)]
        predictions: pd.Series[Any] = pd.concat(parts, ignore_index=True)
        return predictions.set_axis(frame.index).rename("prediction")

    def predict_proba(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the probability of each class; the columns are the classes, in the order of ``signature.labels``.

        Raises
        ------
        InputError: the model has no probabilities, or as for ``predict``.
        """
        parts = []
        for answered in self._answer(frame):
            if answered.answers.probabilities is None:
                raise InputError([Problem(self.name, f"version {self.version} gives no probabilities: use predict")])
            parts.append(pd.DataFrame(answered.answers.probabilities, columns=list(self.signature.labels or ())))
        return pd.concat(parts, ignore_index=True).set_axis(frame.index)

    def explain(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the contribution of each feature to each prediction, as ``/explain`` does.

        Returns
        -------
        A row for each row of the frame, with the columns ``prediction``; ``output``, the predicted class's probability
        or a regression's number; ``base``, the mean output over the background rows; and a column for each feature,
        whose contributions add up to ``output`` minus ``base``. A column whose name a feature has gets a ``_`` at its
        end.

        Raises
        ------
        InputError: as for ``predict``.
        """
        features = self.signature.feature_names
        first = [free_name(name, features) for name in ("prediction", "output", "base")]
        found = []
        for answered in self._answer(frame):
            for record in answered.rows.to_pylist():
                one = explain(self.runtime, record)
                found.append([one.answer.prediction, one.output, one.base, *one.contributions.values()])
        return pd.DataFrame(found, columns=[*first, *features], index=frame.index)

    def answer(self, table: pa.Table, first_row: int = 0) -> Answers:
        """Predict the rows of a table of at most ``BATCH_ROWS`` rows, whose columns are features.

        Parameters
        ----------
        first_row: the number of the table's first row, which errors count from.

        Raises
        ------
        InputError: has each invalid value, such as ``rows[3].age``.
        """
        try:
            rows = self.runtime.batch_reader.read_table(table)
            return Answers(rows, self.runtime.predict_columns(rows))
        except InputError as error:
            raise _moved(error, first_row, table.num_rows) from None

    def check_columns(self, names: Sequence[str], others: Collection[str] = ()) -> None:
        """Check that columns are the features, perhaps without some that may be missing.

        Parameters
        ----------
        others: columns besides the target that need not be features.

        Raises
        ------
        InputError: a feature is missing, or a column is none; names the nearest.
        """
        known = self.signature.feature_names
        extra = [name for name in names if name not in {*known, *others, self.signature.target}]
        missing = [f.name for f in self.signature.features if not is_nullable(f) and f.name not in names]
        renamed = {name: found for name in missing for found in _most_similar(name, extra)}
        problems = [Problem(name, f"is missing{_is_it(renamed[name]) if name in renamed else ''}") for name in missing]
        problems += [
            Problem(name, f"is no feature of {self.name}{_is_it(*_most_similar(name, known))}")
            for name in extra
            if name not in renamed.values()
        ]
        if problems:
            raise InputError(problems)

    def _answer(self, frame: pd.DataFrame) -> Iterator[Answers]:
        if not isinstance(frame, pd.DataFrame):
            raise InputError([Problem("frame", f"expected a pandas.DataFrame, got {type(frame).__name__}")])
        self.check_columns([str(name) for name in frame.columns])
        table = to_table(frame, self._readers)
        if not table.num_rows:
            raise InputError([Problem("frame", "has no rows, or no column that is a feature")])
        for first_row in range(0, table.num_rows, BATCH_ROWS):
            yield self.answer(table.slice(first_row, BATCH_ROWS), first_row)

    @cached_property
    def _readers(self) -> dict[str, Any]:
        return {field.name: field.reader for field in self.signature.features}


def open_production(settings: Settings, model: str, version: str | None = None) -> ProductionModel:
    """Load the version of a model in Production, or another one; downloads its package if it is not cached.

    Raises
    ------
    RegistryError: nothing is in Production, there is no such version, or MLflow is unreachable.
    PackageError: the package is damaged or not trusted, or fails its golden predictions.
    StateError: the home cannot be written.
    """
    from ratchet.registry.production_pointer import ProductionPointer

    pointer = ProductionPointer(settings, model)
    return ProductionModel(PackageCache(settings).load(pointer.get(version) if version else pointer.require_current()))


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: the given one, with underscores at its end if needed."""
    while name in taken:
        name += "_"
    return name


def _most_similar(name: str, others: Collection[str]) -> list[str]:
    """Return the name that is most like another one, in upper or lower case; empty if none is."""
    by_folded = {other.casefold(): other for other in others}
    return [by_folded[found] for found in get_close_matches(name.casefold(), by_folded, n=1)]


def _is_it(*names: str) -> str:
    return f"; is it {names[0]!r}?" if names else ""


def _moved(error: InputError, first_row: int, n_rows: int) -> InputError:
    """Return an error whose rows are counted from another one; a batch of one row has no numbers."""

    def place(field: str) -> str:
        if n_rows == 1 and not _ROW.match(field):
            field = f"rows[0].{field}"
        return _ROW.sub(lambda found: f"rows[{int(found[1]) + first_row}]", field)

    return InputError([Problem(place(problem.field), problem.message) for problem in error.problems])
