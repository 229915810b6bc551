"""A model that answers: one package, loaded and proved, behind one immutable object.

Predictions go through ONNX Runtime where the package has a verified export, and through scikit-learn elsewhere. A
runtime is never changed: a new version is a new runtime, and the service swaps one reference.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from ratchet.data.schema import MISSING, Field, Schema
from ratchet.errors import ConfigError, InputError, PackageError, Problem, one_line
from ratchet.model.package.golden_predictions import TOLERANCE, Golden
from ratchet.model.package.model_files import load_joblib
from ratchet.model.package.onnx import PREDICTION_TOLERANCE, PROBABILITY_TOLERANCE, open_session, taken_by
from ratchet.model.package.sealed_package import load_pipeline, verify_files
from ratchet.model.record_schema import Record, RecordReader

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

# So many ranges of its column away, a number is none that was meant.
_FAR = 1e6
Label = str | int | float
Outputs = tuple[Sequence[Label], npt.NDArray[np.floating[Any]] | None]
Engine = Callable[[Sequence[Record]], Outputs]


class Answer(NamedTuple):
    """What a model says of one record.

    Attributes
    ----------
    prediction: a label, or a regression's number.
    score: the predicted label's probability; None where the model gives none.
    probabilities: by class name, in the order of the classes; None where the model gives none.
    """

    prediction: Label
    score: float | None = None
    probabilities: dict[str, float] | None = None


@dataclass(frozen=True)
class Runtime:
    """One version of a model, ready to answer.

    Attributes
    ----------
    model, version, digest: which one.
    schema: what it takes.
    engine: records in, labels (or numbers) and probabilities of shape (records, classes) out.
    engine_name: ``onnx`` or ``scikit-learn``.
    golden: the rows it was proved with.
    details: what ``/model`` tells beside: lineage ids, metrics.
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

    @cached_property
    def reader(self) -> RecordReader:
        """Reads what clients send, as this version takes it."""
        return RecordReader(self.schema, self.most_rows)

    @cached_property
    def classes(self) -> tuple[str, ...] | None:
        """The classes' names in JSON; None for a regression."""
        return None if self.schema.labels is None else tuple(map(str, self.schema.labels))

    @cached_property
    def _place(self) -> dict[Label, int]:
        """Each label's place among the probabilities."""
        return {label: place for place, label in enumerate(self.schema.labels or ())}

    def predict(self, records: Sequence[Record]) -> list[Answer]:
        """Answer records that the reader has read.

        Raises
        ------
        InputError: a value is so far out that the model computes no finite number; names the record and field.
        """
        try:
            predictions, probabilities = self.engine(records)
        except ValueError:
            self._refuse_far(records)
            raise
        if probabilities is None or self.classes is None:
            self._require_finite(records, predictions)
            return [Answer(prediction) for prediction in predictions]
        names, place, answers = self.classes, self._place, []
        for prediction, row in zip(predictions, probabilities.tolist(), strict=True):
            answers.append(Answer(prediction, row[place[prediction]], dict(zip(names, row, strict=True))))
        if not math.isfinite(math.fsum(answer.score for answer in answers if answer.score is not None)):
            self._require_finite(records, [answer.score for answer in answers])
        return answers

    def _require_finite(self, records: Sequence[Record], values: Sequence[Any]) -> None:
        for index, value in enumerate(values):
            if isinstance(value, float) and not math.isfinite(value):
                self.refuse(records, index)

    def _refuse_far(self, records: Sequence[Record]) -> None:
        """Refuse the record that an engine cannot have computed with, if there is one."""
        for index, record in enumerate(records):
            if _distance(record, self.schema)[0] > _FAR:
                self.refuse(records, index)

    def refuse(self, records: Sequence[Record], index: int) -> NoReturn:
        """Refuse a record that is too far out to compute with.

        Raises
        ------
        InputError: always; names the field that is farthest from what was seen in training.
        """
        place = f"rows[{index}]." if len(records) > 1 else ""
        name = _distance(records[index], self.schema)[1]
        raise InputError([Problem(f"{place}{name}", "is too far from what the model knows to compute with")])


def load_runtime(
    folder: Path,
    digest: str,
    *,
    model: str,
    version: str,
    most_rows: int = 10_000,
    details: dict[str, Any] | None = None,
) -> Runtime:
    """Load a package from a folder, check it against its digest, and have it reproduce its golden predictions.

    The golden rows warm the engine up as well.

    Parameters
    ----------
    folder: a package.
    digest: what was recorded when the version was registered.
    model, version: how the answers name it.
    most_rows: the longest batch.
    details: what ``/model`` tells beside.

    Raises
    ------
    PackageError: the package is damaged, not trusted, or says something else now.
    """
    manifest = verify_files(folder, digest)
    schema = Schema.model_validate_json((folder / "schema.json").read_text())
    golden = Golden.model_validate_json((folder / "golden.json").read_text())
    if manifest.onnx.exported:
        engine, name = onnx_engine((folder / "model.onnx").read_bytes(), schema, golden), "onnx"
    else:
        engine, name = sklearn_engine(load_pipeline(folder), schema), "scikit-learn"
    runtime = Runtime(model, version, digest, schema, engine, name, golden, details or {}, most_rows)
    _prove(runtime, golden)
    return runtime


def load_file(path: Path, *, most_rows: int = 10_000) -> Runtime:
    """Load ``model.joblib``, a file that the operator vouches for: loading it can run any code that is in it.

    ``schema.json`` beside it, which training writes, says what the model takes; without it every feature that the
    pipeline was fitted on is taken to be a number.

    Raises
    ------
    ConfigError: there is no such file.
    PackageError: the file cannot be loaded, or does not know its features.
    """
    if not path.is_file():
        raise ConfigError(f"MODEL_PATH: there is no file {path}; training writes models/<model>/model.joblib")
    logger.warning("serving %s, a local file whose origin is not checked: its operator vouches for it", path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        pipeline = load_joblib(path)
        schema = _schema_beside(path, pipeline)
        engine = sklearn_engine(pipeline, schema)
        model, details = path.resolve().parent.name, _metrics_beside(path)
        runtime = Runtime(model, digest[:12], digest, schema, engine, "scikit-learn", None, details, most_rows)
        runtime.predict([runtime.reader.example()])
    except Exception as error:  # whatever is in the file raises whatever it likes
        reason = one_line(error)
        raise PackageError(f"{path}: cannot be loaded: {reason}") from None
    return runtime


def onnx_engine(content: bytes, schema: Schema, golden: Golden) -> Engine:
    """An engine around an ONNX export; whether it gives probabilities is read off the golden predictions."""
    session = open_session(content)
    outputs = [output.name for output in session.get_outputs()]
    wanted = outputs[:2] if golden.probabilities is not None else outputs[:1]
    names, labels = schema.feature_names, schema.labels
    taken = taken_by(session)
    used = [column for column in schema.features if column.name in taken]

    def matrix(records: Sequence[Record]) -> dict[str, npt.NDArray[Any]]:
        rows = [[record.get(name) for name in names] for record in records]
        return {"features": np.array(rows, dtype=np.float32)}

    def columns(records: Sequence[Record]) -> dict[str, npt.NDArray[Any]]:
        return {column.name: _column(column, records) for column in used}

    as_inputs = matrix if schema.numeric else columns

    def run(records: Sequence[Record]) -> Outputs:
        found = session.run(wanted, as_inputs(records))
        predictions = found[0].ravel().tolist() if labels is None else found[0].tolist()
        return predictions, found[1] if len(found) > 1 else None

    return run


def sklearn_engine(pipeline: Pipeline, schema: Schema) -> Engine:
    """An engine around a fitted scikit-learn pipeline."""
    import pandas as pd

    gives_probabilities = schema.labels is not None and hasattr(pipeline, "predict_proba")
    steps = getattr(pipeline, "named_steps", {})
    # Where there is an embedder, label and probabilities share its work.
    embed, model = (pipeline[:-1].transform, pipeline[-1]) if len(steps) > 1 else (lambda rows: rows, pipeline)

    def run(records: Sequence[Record]) -> Outputs:
        rows = [[record.get(name) for name in schema.feature_names] for record in records]
        features = embed(schema.select(pd.DataFrame(rows, columns=schema.feature_names, dtype=object)))
        predictions = np.asarray(model.predict(features)).tolist()
        return predictions, model.predict_proba(features) if gives_probabilities else None

    return run


def _column(column: Field, records: Sequence[Record]) -> npt.NDArray[Any]:
    values = [record.get(column.name) for record in records]
    if column.type == "number":
        return np.array(values, dtype=np.float32).reshape(-1, 1)
    return np.array([MISSING if value is None else value for value in values], dtype=object).reshape(-1, 1)


def _prove(runtime: Runtime, golden: Golden) -> None:
    """Have a runtime reproduce the golden predictions: to the last bits in scikit-learn, within parity in ONNX."""
    onnx = runtime.engine_name == "onnx"
    predictions, probabilities = runtime.engine(golden.rows)
    if runtime.schema.labels is None:
        expected = np.array(golden.predictions, dtype=float)
        # As the export's parity was checked: relative to the number, or to their spread where that is larger.
        scale = np.maximum(np.abs(expected), (np.std(expected) or 1.0) if onnx else 1e-300)
        gap = float(np.max(np.abs(np.array(predictions, dtype=float) - expected) / scale))
        limit = PREDICTION_TOLERANCE if onnx else TOLERANCE
    elif list(predictions) != list(golden.predictions):
        raise PackageError(
            f"{runtime.model} version {runtime.version}: its golden rows get other labels than when made"
        )
    elif golden.probabilities is None or probabilities is None:
        return
    else:
        gap = float(np.max(np.abs(probabilities - np.array(golden.probabilities))))
        limit = PROBABILITY_TOLERANCE if onnx else TOLERANCE
    if not gap <= limit:
        raise PackageError(
            f"{runtime.model} version {runtime.version}: its golden predictions differ by {gap:.2g},"
            f" expected at most {limit:g}"
        )


def _distance(record: Record, schema: Schema) -> tuple[float, str]:
    """How far the farthest number is from what was seen in training, in ranges of its column, and its name."""

    def distance(column: Field) -> float:
        value = record.get(column.name)
        if not isinstance(value, int | float):
            return -1.0
        low, high = column.minimum or 0.0, column.maximum or 0.0
        return abs(value - (low + high) / 2) / ((high - low) or 1.0)

    return max((distance(column), column.name) for column in schema.features)


def _schema_beside(path: Path, pipeline: Any) -> Schema:
    described = path.with_name("schema.json")
    if described.is_file():
        return Schema.model_validate_json(described.read_text())
    names = getattr(pipeline, "feature_names_in_", None)
    if names is None:
        raise ValueError("the model does not know the names of its features, and there is no schema.json beside it")
    features = tuple(Field(name=str(name), type="number", nullable=False) for name in names)
    classes = getattr(pipeline, "classes_", None)
    return Schema(features=features, target="target", labels=None if classes is None else tuple(classes.tolist()))


def _metrics_beside(path: Path) -> dict[str, Any]:
    found = path.with_name("metrics.json")
    try:
        return {"metrics": json.loads(found.read_text())["metrics"]}
    except (OSError, ValueError, KeyError):
        return {}
