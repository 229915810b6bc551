"""ONNX: the same pipeline for a runtime that answers one row in microseconds."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.data.schema import Schema
from ratchet.errors import one_line

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# ONNX computes in single precision; within this, a probability is the same for every purpose here.
PROBABILITY_TOLERANCE = 1e-4
# Relative, for a regression's numbers.
PREDICTION_TOLERANCE = 1e-4
OPSET = {"": 17, "ai.onnx.ml": 3}


class OnnxReport(BaseModel):
    """Whether the ONNX export stands in for the pipeline.

    Attributes
    ----------
    exported: the package holds ``model.onnx``, and it agreed with scikit-learn on the reference rows.
    reason: why there is none.
    max_difference: of probabilities (absolute) or predictions (relative) on the reference rows.
    """

    model_config = ConfigDict(frozen=True)

    exported: bool
    reason: str = ""
    max_difference: float | None = None


def export_onnx(model: Pipeline, rows: pd.DataFrame, schema: Schema) -> tuple[bytes | None, OnnxReport]:
    """Convert a pipeline and check the result against scikit-learn on the reference rows.

    Parameters
    ----------
    model: a fitted pipeline.
    rows: typed reference rows, shape (rows, >= features).
    schema: the features, in order.

    Returns
    -------
    The ONNX bytes, or None where the conversion or the parity check failed, and the report.
    """
    texts = [field.name for field in schema.features if field.type == "text"]
    if texts:
        # ONNX has a tokenizer of its own, which parts words in other places.
        return None, OnnxReport(
            exported=False, reason=f"ONNX does not read the text of {texts[0]!r} as scikit-learn does"
        )
    try:
        content = _convert(model, schema)
    except Exception as error:  # skl2onnx raises whatever its converters raise
        return None, OnnxReport(exported=False, reason=f"skl2onnx cannot convert it: {one_line(error)}")
    report = check_parity(content, model, schema.select(rows), schema)
    return (content if report.exported else None), report


def check_parity(content: bytes, model: Pipeline, features: pd.DataFrame, schema: Schema) -> OnnxReport:
    """Compare ONNX Runtime with scikit-learn on some rows: same labels, numbers within the tolerance."""
    from sklearn.base import is_classifier  # serving an export does without scikit-learn

    outputs = run_onnx(open_session(content), features, schema)
    expected = model.predict(features)
    if not is_classifier(model):
        gap = _relative_gap(outputs[0].ravel(), expected)
        return _verdict(gap, PREDICTION_TOLERANCE, "predictions")
    if not np.array_equal(outputs[0].astype(str), np.asarray(expected).astype(str)):
        differing = int((outputs[0].astype(str) != np.asarray(expected).astype(str)).sum())
        return OnnxReport(exported=False, reason=f"{differing} of {len(features)} labels differ from scikit-learn's")
    if not hasattr(model, "predict_proba"):
        return OnnxReport(exported=True, max_difference=0.0)
    gap = float(np.max(np.abs(outputs[1] - model.predict_proba(features))))
    return _verdict(gap, PROBABILITY_TOLERANCE, "probabilities")


def open_session(content: bytes) -> Any:
    """An ONNX Runtime session with one thread: requests are the parallelism, not the operators."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_onnx(session: Any, features: pd.DataFrame, schema: Schema) -> list[npt.NDArray[Any]]:
    """All outputs of a session for some rows: labels (or numbers), then probabilities where there are any."""
    return list(session.run(None, onnx_inputs(session, features, schema)))


def taken_by(session: Any) -> frozenset[str]:
    """The inputs that an export takes; it has none for a column that the embedder looks past."""
    return frozenset(taken.name for taken in session.get_inputs())


def onnx_inputs(session: Any, features: pd.DataFrame, schema: Schema) -> dict[str, npt.NDArray[Any]]:
    """Rows as the export takes them: one matrix if all are numbers, else one column an input."""
    taken = taken_by(session)
    if schema.numeric:
        return {"features": features.to_numpy(dtype=np.float32)}
    return {
        f.name: features[[f.name]].to_numpy(dtype=np.float32 if f.type == "number" else object)
        for f in schema.features
        if f.name in taken
    }


def _convert(model: Pipeline, schema: Schema) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    if schema.numeric:
        inputs = [("features", FloatTensorType([None, len(schema.features)]))]
    else:
        inputs = [
            (f.name, (FloatTensorType if f.type == "number" else StringTensorType)([None, 1])) for f in schema.features
        ]
    options = {"zipmap": False} if hasattr(model, "predict_proba") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its converters read attributes that scikit-learn deprecates
        return bytes(to_onnx(model, initial_types=inputs, options=options, target_opset=OPSET).SerializeToString())


def _relative_gap(got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    scale = np.maximum(np.abs(expected), np.std(expected) or 1.0)
    return float(np.max(np.abs(got - expected) / scale))


def _verdict(gap: float, limit: float, what: str) -> OnnxReport:
    if gap <= limit:
        return OnnxReport(exported=True, max_difference=gap)
    return OnnxReport(exported=False, reason=f"{what} differ by {gap:.2g}, allowed is {limit:g}", max_difference=gap)
