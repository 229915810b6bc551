"""ONNX export of a pipeline, and its check against scikit-learn."""

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

# ONNX computes in single precision.
PROBABILITY_TOLERANCE = 1e-4
# Relative, for the numbers of a regression.
PREDICTION_TOLERANCE = 1e-4
OPSET = {"": 17, "ai.onnx.ml": 3}


class OnnxReport(BaseModel):
    """Result of an ONNX export.

    Attributes
    ----------
    exported: whether the package holds ``model.onnx``, which agreed with scikit-learn on the reference rows.
    reason: why it holds none.
    max_difference: of probabilities (absolute) or predictions (relative) on the reference rows.
    """

    model_config = ConfigDict(frozen=True)

    exported: bool
    reason: str = ""
    max_difference: float | None = None


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
        return None, OnnxReport(exported=False, reason=f"skl2onnx cannot convert it: {one_line(error)}")
    report = check_parity(content, model, schema.select(rows), schema)
    return (content if report.exported else None), report


def check_parity(content: bytes, model: Pipeline, features: pd.DataFrame, schema: Schema) -> OnnxReport:
    """Compare ONNX Runtime with scikit-learn: equal labels, and numbers within the tolerance."""
    from sklearn.base import is_classifier  # the service runs an export without scikit-learn

    session = open_session(content)
    outputs = session.run(None, onnx_inputs(session, features, schema))
    expected = np.asarray(model.predict(features))
    if not is_classifier(model):
        scale = np.maximum(np.abs(expected), np.std(expected) or 1.0)
        gap = float(np.max(np.abs(outputs[0].ravel() - expected) / scale))
        return _report(gap, PREDICTION_TOLERANCE, "predictions")
    differing = int((outputs[0].astype(str) != expected.astype(str)).sum())
    if differing:
        return OnnxReport(exported=False, reason=f"{differing} of {len(features)} labels differ from scikit-learn's")
    if not hasattr(model, "predict_proba"):
        return OnnxReport(exported=True, max_difference=0.0)
    gap = float(np.max(np.abs(outputs[1] - model.predict_proba(features))))
    return _report(gap, PROBABILITY_TOLERANCE, "probabilities")


def open_session(content: bytes) -> Any:
    """Open an ONNX Runtime session with one thread, since requests run in parallel already."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def input_names(session: Any) -> frozenset[str]:
    """Return the inputs of an export, which lacks the columns that the embedder drops."""
    return frozenset(model_input.name for model_input in session.get_inputs())


def onnx_inputs(session: Any, features: pd.DataFrame, schema: Schema) -> dict[str, npt.NDArray[Any]]:
    """Return rows as the export takes them: one matrix if all features are numbers, else an array for each column."""
    if schema.numeric:
        return {"features": features.to_numpy(dtype=np.float32)}
    names = input_names(session)
    return {
        f.name: features[[f.name]].to_numpy(dtype=np.float32 if f.type == "number" else object)
        for f in schema.features
        if f.name in names
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
        warnings.simplefilter("ignore")  # the converters read attributes that scikit-learn deprecates
        return bytes(to_onnx(model, initial_types=inputs, options=options, target_opset=OPSET).SerializeToString())


def _report(gap: float, limit: float, what: str) -> OnnxReport:
    if gap <= limit:
        return OnnxReport(exported=True, max_difference=gap)
    return OnnxReport(exported=False, reason=f"{what} differ by {gap:.2g}, allowed is {limit:g}", max_difference=gap)
