"""The engines that compute predictions: ONNX Runtime and scikit-learn, for records and for the columns of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ratchet.data.schema import MISSING, Field, Schema
from ratchet.model.package.golden_predictions import Golden
from ratchet.model.package.onnx import MATRIX, input_columns, open_session
from ratchet.model.record_schema import Record

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from sklearn.pipeline import Pipeline

Label = str | int | float
Outputs = tuple[Sequence[Label], npt.NDArray[np.floating[Any]] | None]
# Takes records, returns labels (or numbers) and probabilities of shape (records, classes).
Engine = Callable[[Sequence[Record]], Outputs]
ColumnOutputs = tuple[npt.NDArray[Any], npt.NDArray[np.floating[Any]] | None]


@runtime_checkable
class ColumnEngine(Protocol):
    """An engine that takes the columns of a batch, in the model's order, as ``BatchReader`` returns them."""

    def columns(self, batch: pa.RecordBatch) -> ColumnOutputs:
        """Return the outputs for columns."""


class OnnxEngine:
    """An ONNX export, with probabilities if the golden predictions have some."""

    def __init__(self, content: bytes, schema: Schema, golden: Golden) -> None:
        self._session = open_session(content)
        self._schema = schema
        self._names = schema.feature_names
        outputs = [output.name for output in self._session.get_outputs()]
        self._outputs = outputs[:2] if golden.probabilities is not None else outputs[:1]
        fields = {field.name: field for field in schema.features}
        self._takes_matrix = schema.numeric
        columns = {} if self._takes_matrix else input_columns(self._session)
        self._inputs = {name: fields[column] for name, column in columns.items()}

    def __call__(self, records: Sequence[Record]) -> Outputs:
        """Return the outputs for records."""
        if self._takes_matrix:
            rows = [[record.get(name) for name in self._names] for record in records]
            inputs = {MATRIX: np.array(rows, dtype=np.float32)}
        else:
            inputs = {name: _column(field, records) for name, field in self._inputs.items()}
        predictions, probabilities = self._run(inputs)
        return predictions.tolist(), probabilities

    def columns(self, batch: pa.RecordBatch) -> ColumnOutputs:
        """Return the outputs for columns."""
        if self._takes_matrix:
            matrix = np.empty((batch.num_rows, len(self._names)), dtype=np.float32)
            for position, column in enumerate(batch.columns):
                matrix[:, position] = column.to_numpy(zero_copy_only=False)
            return self._run({MATRIX: matrix})
        return self._run({name: _input(field, batch.column(field.name)) for name, field in self._inputs.items()})

    def _run(self, inputs: dict[str, npt.NDArray[Any]]) -> ColumnOutputs:
        found = self._session.run(self._outputs, inputs)
        predictions = found[0].ravel() if self._schema.labels is None else found[0]
        return predictions, found[1] if len(found) > 1 else None


class SklearnEngine:
    """A fitted scikit-learn pipeline."""

    def __init__(self, pipeline: Pipeline, schema: Schema) -> None:
        self._schema = schema
        self._gives_probabilities = schema.labels is not None and hasattr(pipeline, "predict_proba")
        # Labels and probabilities are computed from the same embedding.
        has_embedder = len(getattr(pipeline, "named_steps", {})) > 1
        self._embedder: Pipeline | None = pipeline[:-1] if has_embedder else None
        self._model: Any = pipeline[-1] if has_embedder else pipeline

    def __call__(self, records: Sequence[Record]) -> Outputs:
        """Return the outputs for records."""
        import pandas as pd

        names = self._schema.feature_names
        rows = [[record.get(name) for name in names] for record in records]
        predictions, probabilities = self._run(pd.DataFrame(rows, columns=names, dtype=object))
        return predictions.tolist(), probabilities

    def columns(self, batch: pa.RecordBatch) -> ColumnOutputs:
        """Return the outputs for columns."""
        return self._run(batch.to_pandas())

    def _run(self, rows: pd.DataFrame) -> ColumnOutputs:
        features: Any = self._schema.select(rows)
        if self._embedder is not None:
            features = self._embedder.transform(features)
        predictions = np.asarray(self._model.predict(features))
        return predictions, self._model.predict_proba(features) if self._gives_probabilities else None


def _column(column: Field, records: Sequence[Record]) -> npt.NDArray[Any]:
    values = [record.get(column.name) for record in records]
    if column.type == "number":
        return np.array(values, dtype=np.float32).reshape(-1, 1)
    return np.array([MISSING if value is None else value for value in values], dtype=object).reshape(-1, 1)


def _input(field: Field, column: pa.Array) -> npt.NDArray[Any]:
    if field.type == "number":
        numbers: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False).astype(np.float32)
        return numbers.reshape(-1, 1)
    texts: npt.NDArray[Any] = column.fill_null(MISSING).to_numpy(zero_copy_only=False)
    return texts.reshape(-1, 1)
