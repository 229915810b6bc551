"""The runtime of one model version: its package, loaded and verified, as an immutable object.

ONNX Runtime computes the predictions if the package has a verified export, scikit-learn otherwise. A new version is a
new runtime, and the service replaces one reference.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError, InputError, PackageError, Problem, one_line
from ratchet.inference.batch_reader import BatchReader
from ratchet.inference.engines import ColumnEngine, ColumnOutputs, Engine, Label, OnnxEngine, SklearnEngine
from ratchet.model.package import agreement
from ratchet.model.package.golden_predictions import TOLERANCE, Golden
from ratchet.model.package.model_files import load_joblib
from ratchet.model.package.onnx import PARITY
from ratchet.model.package.seal import verify_files
from ratchet.model.package.sealed_package import load_pipeline
from ratchet.model.record_schema import Record, RecordReader
from ratchet.store.prediction_batches import to_array

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

# Distance from the training data, in ranges of the column, beyond which a number is refused as an error.
_FAR = 1e6


class Answer(NamedTuple):
    """The prediction for one record.

    Attributes
    ----------
    prediction: a label, or a regression's number.
    score: the predicted label's probability; None without probabilities.
    probabilities: by class name, in the order of the classes; None for a model without probabilities.
    """

    prediction: Label
    score: float | None = None
    probabilities: dict[str, float] | None = None


@dataclass(frozen=True)
class ColumnAnswers:
    """The predictions for the columns of a batch.

    Attributes
    ----------
    prediction: labels, or a regression's numbers.
    codes: the positions of the labels among the classes; None for a regression.
    score: the predicted labels' probabilities; None without probabilities.
    probabilities: shape (rows, classes); None for a model without probabilities.
    """

    prediction: pa.Array
    codes: npt.NDArray[np.intp] | None = None
    score: npt.NDArray[np.floating[Any]] | None = None
    probabilities: npt.NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class Runtime:
    """One version of a model, ready to predict.

    Attributes
    ----------
    model, version, digest: the version.
    schema: the features and the target.
    engine: computes the predictions.
    engine_name: ``onnx`` or ``scikit-learn``.
    golden: the rows with known predictions that it was verified with.
    details: lineage ids and metrics, for ``/model``.
    most_rows: largest number of records in a batch.
    most_bytes: largest size of a batch that is sent compressed.
    """

    model: str
    version: str
    digest: str
    schema: Schema
    engine: Engine
    engine_name: str
    golden: Golden | None = None
    details: dict[str, Any] = field(default_factory=dict)
    most_rows: int = 10_000
    most_bytes: int = 2**22

    @cached_property
    def reader(self) -> RecordReader:
        """Parses request bodies into records of this version's schema."""
        return RecordReader(self.schema, self.most_rows)

    @cached_property
    def batch_reader(self) -> BatchReader:
        """Parses request bodies into columns of this version's schema."""
        return BatchReader(self.reader, self.most_bytes)

    @cached_property
    def classes(self) -> tuple[str, ...] | None:
        """The class names in JSON; None for a regression."""
        return None if self.schema.labels is None else tuple(map(str, self.schema.labels))

    @cached_property
    def _columns(self) -> dict[Label, int]:
        """The column of each label among the probabilities."""
        return {label: column for column, label in enumerate(self.schema.labels or ())}

    def predict(self, records: Sequence[Record]) -> list[Answer]:
        """Return the answers to records from the reader.

        Raises
        ------
        InputError: the model computes no finite number for a record; names the record and its most extreme field.
        """
        try:
            predictions, probabilities = self.engine(records)
        except ValueError:
            self._refuse_far(records)
            raise
        if probabilities is None or self.classes is None:
            self._require_finite(records, predictions)
            return [Answer(prediction) for prediction in predictions]
        names, columns = self.classes, self._columns
        answers: list[Answer] = []
        for prediction, row in zip(predictions, probabilities.tolist(), strict=True):
            score = row[columns[prediction]]
            if not math.isfinite(score):
                self.refuse(records, len(answers))
            answers.append(Answer(prediction, score, dict(zip(names, row, strict=True))))
        return answers

    def predict_columns(self, batch: pa.RecordBatch) -> ColumnAnswers:
        """Return the answers to columns from the reader of batches.

        Raises
        ------
        InputError: the model computes no finite number for a record; names the record and its most extreme field.
        """
        try:
            predictions, probabilities = self._outputs(batch)
        except ValueError:
            self._refuse_far(batch.to_pylist())
            raise
        if self.schema.labels is None:
            self._require_finite_columns(batch, predictions)
            return ColumnAnswers(_as_doubles(predictions))
        codes = np.fromiter(map(self._columns.__getitem__, predictions.tolist()), np.intp, len(predictions))
        prediction = to_array(self.schema.labels).take(codes)
        if probabilities is None:
            return ColumnAnswers(prediction, codes)
        score = probabilities[np.arange(len(codes)), codes]
        self._require_finite_columns(batch, score)
        return ColumnAnswers(prediction, codes, score, probabilities)

    def _outputs(self, batch: pa.RecordBatch) -> ColumnOutputs:
        if isinstance(self.engine, ColumnEngine):
            return self.engine.columns(batch)
        predictions, probabilities = self.engine(batch.to_pylist())
        return np.asarray(predictions), probabilities

    def _require_finite_columns(self, batch: pa.RecordBatch, values: npt.NDArray[Any]) -> None:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            self.refuse(batch.to_pylist(), int(np.flatnonzero(~np.isfinite(values))[0]))

    def _require_finite(self, records: Sequence[Record], values: Sequence[Any]) -> None:
        for index, value in enumerate(values):
            if isinstance(value, float) and not math.isfinite(value):
                self.refuse(records, index)

    def _refuse_far(self, records: Sequence[Record]) -> None:
        """Refuse a record that makes an engine fail, if there is one."""
        for index, record in enumerate(records):
            if _distance(record, self.schema)[0] > _FAR:
                self.refuse(records, index)

    def refuse(self, records: Sequence[Record], index: int) -> NoReturn:
        """Refuse a record that the model computes no finite number for.

        Raises
        ------
        InputError: always; names the field that is farthest from the training data.
        """
        place = f"rows[{index}]." if len(records) > 1 else ""
        name = _distance(records[index], self.schema)[1]
        raise InputError([Problem(f"{place}{name}", "is too far outside the range of the training data")])


def load_runtime(
    folder: Path,
    digest: str,
    *,
    model: str,
    version: str,
    most_rows: int = 10_000,
    most_bytes: int = 2**22,
    details: dict[str, Any] | None = None,
) -> Runtime:
    """Load a package, check its registered digest, and verify that it reproduces its golden predictions.

    Raises
    ------
    PackageError: the package is damaged or not trusted, or its predictions differ from the golden ones.
    """
    manifest = verify_files(folder, digest)
    schema = Schema.model_validate_json((folder / "schema.json").read_text())
    golden = Golden.model_validate_json((folder / "golden.json").read_text())
    engine: Engine
    if manifest.onnx.exported:
        engine, name = OnnxEngine((folder / "model.onnx").read_bytes(), schema, golden), "onnx"
    else:
        engine, name = SklearnEngine(load_pipeline(folder), schema), "scikit-learn"
    runtime = Runtime(model, version, digest, schema, engine, name, golden, details or {}, most_rows, most_bytes)
    _verify_golden(runtime, golden)
    return runtime


def load_file(path: Path, *, most_rows: int = 10_000, most_bytes: int = 2**22) -> Runtime:
    """Load ``model.joblib``, a file that the operator trusts: loading it can run any code in it.

    Training writes ``schema.json`` next to it. Without that file, all features that the pipeline was fitted on are
    assumed to be numbers.

    Raises
    ------
    ConfigError: there is no such file.
    PackageError: the file cannot be loaded, or has no feature names.
    """
    if not path.is_file():
        raise ConfigError(f"MODEL_PATH: there is no file {path}; training writes models/<model>/model.joblib")
    logger.warning("serving %s, a local file whose origin is not verified", path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        pipeline = load_joblib(path)
        schema = _schema_of_file(path, pipeline)
        engine = SklearnEngine(pipeline, schema)
        model, details = path.resolve().parent.name, _details_of_file(path)
        limits = most_rows, most_bytes
        runtime = Runtime(model, digest[:12], digest, schema, engine, "scikit-learn", None, details, *limits)
        runtime.predict([runtime.reader.example()])
    except Exception as error:  # unpickling can raise any error
        raise PackageError(f"{path}: cannot be loaded: {one_line(error)}") from None
    return runtime


def _verify_golden(runtime: Runtime, golden: Golden) -> None:
    """Compare predictions with the golden ones: scikit-learn's to the last bits, ONNX's within the parity limit."""
    limit = PARITY if runtime.engine_name == "onnx" else TOLERANCE
    found = agreement.difference(agreement.Outputs(*runtime.engine(golden.rows)), golden.outputs)
    if not found.within(limit):
        raise PackageError(
            f"{runtime.model} version {runtime.version}: golden rows: {found.reason} from those at training,"
            f" allowed is {limit:g}"
        )


def _as_doubles(numbers: npt.NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array(numbers.astype(np.float64) if numbers.dtype.kind == "f" else numbers)


def _distance(record: Record, schema: Schema) -> tuple[float, str]:
    """Return the largest distance of a number from the training data, in ranges of its column, and its name."""

    def distance(column: Field) -> float:
        value = record.get(column.name)
        if not isinstance(value, int | float):
            return -1.0
        low, high = column.minimum or 0.0, column.maximum or 0.0
        return abs(value - (low + high) / 2) / ((high - low) or 1.0)

    return max((distance(column), column.name) for column in schema.features)


def _schema_of_file(path: Path, pipeline: Any) -> Schema:
    described = path.with_name("schema.json")
    if described.is_file():
        return Schema.model_validate_json(described.read_text())
    names = getattr(pipeline, "feature_names_in_", None)
    if names is None:
        raise ValueError("the model has no feature names, and there is no schema.json next to it")
    features = tuple(Field(name=str(name), type="number", nullable=False) for name in names)
    classes = getattr(pipeline, "classes_", None)
    return Schema(features=features, target="target", labels=None if classes is None else tuple(classes.tolist()))


def _details_of_file(path: Path) -> dict[str, Any]:
    found = path.with_name("metrics.json")
    try:
        return {"metrics": json.loads(found.read_text())["metrics"]}
    except (OSError, ValueError, KeyError):
        return {}
