"""Predict the rows of a file with one version of a model, and write a file with the same rows and the predictions."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.data.atomic_write import write_whole
from ratchet.errors import DataError, InputError, Problem, RegistryError
from ratchet.inference.file_prediction.input_file import InputFile, check_input, open_input
from ratchet.inference.file_prediction.output_file import check_output, writing
from ratchet.inference.production_model import BATCH_ROWS, ProductionModel, free_name, open_production

if TYPE_CHECKING:
    import pyarrow as pa

    from ratchet.settings import Settings

_PLACE = re.compile(r"^rows\[(\d+)\]\.(.+)$", re.DOTALL)
_LONGEST_VALUE = 40
_MOST_COLUMNS = 5


@dataclass
class FilePrediction:
    """A file whose rows are being predicted.

    Attributes
    ----------
    rows: number of rows that were predicted.
    labels: number of rows by predicted label; empty for a regression.
    left_out: features that the file lacks, which are missing values.
    """

    model: ProductionModel
    source: InputFile
    target: Path
    left_out: list[str]
    rows: int = 0
    labels: Counter[Any] = field(default_factory=Counter)

    def run(self, on_progress: Callable[[float, int], None]) -> None:
        """Write the output, which appears when it is complete.

        Parameters
        ----------
        on_progress: is called with the share of the input that was read, and the number of rows.

        Raises
        ------
        DataError: a row does not fit the features, or a file cannot be read or written; the target is unchanged.
        """

        def write(partial: Path) -> None:
            with writing(partial, self.target.suffix.lower(), self.source.separator) as output:
                for part in self.source.parts(BATCH_ROWS):
                    output(self._predicted(part))
                    on_progress(self.source.done, self.rows)

        try:
            write_whole(self.target.resolve(), write)
        except OSError as error:
            raise DataError(f"{self.target}: cannot be written: {error.strerror}") from None

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return what was predicted as plain values."""
        return {
            "model": self.model.name,
            "version": self.model.version,
            "file": str(self.target),
            "rows": self.rows,
            "labels": {str(label): count for label, count in self.labels.most_common()},
            "left_out": self.left_out,
            "seconds": round(seconds, 3),
        }

    def _predicted(self, part: pa.Table) -> pa.Table:
        """Return rows with the predictions as further columns."""
        import pyarrow as pa

        features = [name for name in self.source.names if name in self.model.signature.feature_names]
        try:
            rows, answers = self.model.answer(part.select(features), self.rows)
        except InputError as error:
            raise self._refusal(error, part) from None
        self.rows += part.num_rows
        columns = {name: part.column(name) for name in part.column_names}
        if self.source.is_text and self.target.suffix.lower() == ".parquet":
            columns |= {name: rows.column(name) for name in features}
        columns[free_name("prediction", columns)] = answers.prediction
        if self.model.signature.labels is not None:
            self.labels.update(answers.prediction.to_pylist())
        if answers.probabilities is not None:
            for label, values in zip(self.model.signature.labels or (), answers.probabilities.T, strict=True):
                columns[free_name(f"probability_{label}", columns)] = pa.array(values.astype("float64"))
        return pa.table(columns, metadata=part.schema.metadata)

    def _refusal(self, error: InputError, part: pa.Table) -> DataError:
        """Return the error of a part in one line: the first row and column, the value, and the number of others."""
        first = error.problems[0]
        more = f" ({len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        place = _PLACE.match(first.field)
        if place is None:
            return DataError(f"{self.source.path}: {first.field}: {first.message}{more}")
        row, name = int(place[1]), place[2]
        value = part.column(name)[row - self.rows].as_py() if name in part.column_names else None
        shown = repr(value) if len(repr(value)) <= _LONGEST_VALUE else f"{repr(value)[:_LONGEST_VALUE]}…"
        got = "a missing value" if value is None else shown
        return DataError(f"{self.source.path}, row {row + 1}, column {name!r}: got {got}: {first.message}{more}")


def open_prediction(
    settings: Settings, name: str, version: str | None, source: Path, target: Path, keep: Sequence[str] = ()
) -> FilePrediction:
    """Load a version, and check both files and the columns before the first row is read.

    Parameters
    ----------
    name, version: of the registered model; without a version the one in Production.
    keep: as for ``prediction_of``.

    Raises
    ------
    DataError: as for ``prediction_of``.
    RegistryError, PackageError, StateError: as for ``open_production``.
    """
    check_input(source)
    check_output(target)
    model = open_production(settings, name, version)
    return prediction_of(model, _dataset(settings, model), source, target, keep)


def prediction_of(
    model: ProductionModel, trained: Mapping[str, Any], source: Path, target: Path, keep: Sequence[str] = ()
) -> FilePrediction:
    """Check the columns of a file.

    Parameters
    ----------
    trained: the section ``dataset`` of the config that the model was trained with.
    keep: columns that are no features and are copied to the output, as the target and those that training dropped are.

    Raises
    ------
    DataError: the file cannot be read, it lacks a feature, or it has another column; or it is the target.
    """
    if target.resolve() == source.resolve():
        raise DataError(f"{target}: is the input: choose another name for the output")
    features = model.signature.feature_names
    opened = open_input(source, features, trained)
    unknown = [name for name in keep if name not in opened.names]
    if unknown:
        raise DataError(f"--keep {unknown[0]}: {source} has no such column")
    others = {*keep, *opened.index, *trained.get("drop", ())}
    try:
        model.check_columns(opened.names, others)
    except InputError as error:
        raise DataError(f"{source}: {_columns(error.problems, opened.names)}") from None
    return FilePrediction(model, opened, target, [name for name in features if name not in opened.names])


def _columns(problems: Sequence[Problem], names: Collection[str]) -> str:
    """Return what is wrong with the columns in one line."""
    by_message: dict[str, list[str]] = {}
    for problem in problems:
        by_message.setdefault(problem.message, []).append(problem.field)
    found = [_of_columns(fields, message) for message, fields in by_message.items()]
    extra = [problem.field for problem in problems if problem.field in names][:_MOST_COLUMNS]
    options = shlex.join(word for name in extra for word in ("--keep", name))
    return "; ".join(found) + (f": correct the name, or copy the column to the output with {options}" if extra else "")


def _of_columns(names: Sequence[str], message: str) -> str:
    if len(names) == 1:
        return f"column {names[0]!r} {message}"
    more = f" and {len(names) - _MOST_COLUMNS} more" if len(names) > _MOST_COLUMNS else ""
    return f"columns {', '.join(map(repr, names[:_MOST_COLUMNS]))}{more} {message.replace('is ', 'are ', 1)}"


def _dataset(settings: Settings, model: ProductionModel) -> Mapping[str, Any]:
    """Return the section ``dataset`` of the config that a version was trained with; empty if it cannot be read."""
    from ratchet.tracking import run_record

    try:
        config = run_record(settings, str(model.runtime.details.get("mlflow_run_id", ""))).config or {}
    except RegistryError:
        return {}
    found = config.get("dataset")
    return found if isinstance(found, dict) else {}
