"""ONNX export of a pipeline, and its check against scikit-learn."""

from __future__ import annotations

import copy
import json
import warnings
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.schema import Schema
from ratchet.errors import one_line
from ratchet.model.package.agreement import Outputs, difference
from ratchet.model.package.seal import OnnxReport

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# The largest gap (ratchet.model.package.agreement); ONNX computes in single precision.
PARITY = 1e-4
OPSET = {"": 17, "ai.onnx.ml": 3}
# The input of a graph whose features are all numbers.
MATRIX = "features"
# The key of the graph's metadata that has the column of each input.
_COLUMNS = "ratchet.columns"


def export_onnx(model: Pipeline, rows: pd.DataFrame, schema: Schema) -> tuple[bytes | None, OnnxReport]:
    """Convert a fitted pipeline, and check the result against scikit-learn on typed rows, shape (rows, >= features).

    Returns
    -------
    The ONNX bytes, or None if the conversion or the check failed, and the report.
    """
    texts = [field.name for field in schema.features if field.type == "text"]
    if texts:
        # ONNX has another tokenizer, which splits words at other places.
        reason = f"ONNX does not read the text of {texts[0]!r} as scikit-learn does"
        return None, OnnxReport(exported=False, reason=reason)
    try:
        content = _convert(model, schema)
    except Exception as error:  # the converters of skl2onnx raise any exception
        return None, _failed(f"skl2onnx cannot convert it: {one_line(error)}")
    report = check_parity(content, model, schema.select(rows), schema)
    return (content if report.exported else None), report


def check_parity(content: bytes, model: Pipeline, features: pd.DataFrame, schema: Schema) -> OnnxReport:
    """Compare ONNX Runtime with scikit-learn: equal labels, and numbers within ``PARITY``; an error is a failure."""
    expected = Outputs(model.predict(features), model.predict_proba(features) if _has_probabilities(model) else None)
    try:
        session = open_session(content)
        found = session.run(None, onnx_inputs(session, features, schema))
    except Exception as error:  # ONNX Runtime has exceptions of its own
        return _failed(f"ONNX Runtime cannot run it: {one_line(error)}")
    predictions = found[0].ravel() if schema.labels is None else found[0]
    compared = difference(Outputs(predictions, found[1] if len(found) > 1 else None), expected)
    if not compared.within(PARITY):
        return _failed(f"{compared.reason} from scikit-learn's, allowed is {PARITY:g}", compared.gap)
    return OnnxReport(exported=True, max_difference=compared.gap)


def open_session(content: bytes) -> Any:
    """Open an ONNX Runtime session with one thread, since requests run in parallel already."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def input_columns(session: Any) -> dict[str, str]:
    """Return the column of each input of an export, which lacks the columns that the embedder drops.

    Exports of earlier releases have no such list: their inputs have the names of the columns.
    """
    columns = json.loads(session.get_modelmeta().custom_metadata_map.get(_COLUMNS, "{}"))
    return {given.name: columns.get(given.name, given.name) for given in session.get_inputs()}


def onnx_inputs(session: Any, features: pd.DataFrame, schema: Schema) -> dict[str, npt.NDArray[Any]]:
    """Return rows as the export takes them: one matrix if all features are numbers, else an array for each column."""
    if schema.numeric:
        return {MATRIX: features.to_numpy(dtype=np.float32)}
    numbers = {field.name for field in schema.features if field.type == "number"}
    return {
        name: features[[column]].to_numpy(dtype=np.float32 if column in numbers else object)
        for name, column in input_columns(session).items()
    }


def _convert(model: Pipeline, schema: Schema) -> bytes:
    """Convert a pipeline to a graph whose inputs have neutral names, since a column's name may be no identifier."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    columns = {f"f{position}": field for position, field in enumerate(schema.features)}
    if schema.numeric:
        inputs = [(MATRIX, FloatTensorType([None, len(columns)]))]
    else:
        inputs = [
            (name, (FloatTensorType if field.type == "number" else StringTensorType)([None, 1]))
            for name, field in columns.items()
        ]
    options = {"zipmap": False} if _has_probabilities(model) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters read attributes that scikit-learn deprecates
        graph = to_onnx(
            _selecting_by_position(model, schema), initial_types=inputs, options=options, target_opset=OPSET
        )
    if not schema.numeric:
        names = {name: field.name for name, field in columns.items()}
        graph.metadata_props.add(key=_COLUMNS, value=json.dumps(names))
    return bytes(graph.SerializeToString())


def _selecting_by_position(step: Any, schema: Schema) -> Any:
    """Return a fitted step that selects columns by position, where it selects them by name; the step is not changed."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if isinstance(step, Pipeline):
        return Pipeline([(name, _selecting_by_position(part, schema)) for name, part in step.steps])
    if not isinstance(step, ColumnTransformer):
        return step
    selecting, names = copy.copy(step), schema.feature_names
    selecting.transformers_ = [
        (name, part, columns if part == "drop" else [names.index(column) for column in columns])
        for name, part, columns in step.transformers_
    ]
    return selecting


def _has_probabilities(model: Any) -> bool:
    return hasattr(model, "predict_proba")


def _failed(reason: str, gap: float | None = None) -> OnnxReport:
    return OnnxReport(exported=False, reason=reason, max_difference=gap if gap is not None and isfinite(gap) else None)
