"""The package's ONNX export as the peers use it, which have no further code of this project.

The session has the options of the product's session: one thread, since requests run in parallel already.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

CLASSES = ("setosa", "versicolor", "virginica")
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def _open() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(os.environ["BENCH_ONNX"], options, providers=["CPUExecutionProvider"])


class OnnxModel:
    """The model of ``BENCH_ONNX``."""

    def __init__(self) -> None:
        self._session = _open()

    def classify(self, record: Mapping[str, float]) -> tuple[str, dict[str, float]]:
        """Return the label of one record, and the probability of each class."""
        row = np.array([[record[name] for name in FEATURES]], dtype=np.float32)
        labels, probabilities = self._session.run(None, {"features": row})
        return labels[0], dict(zip(CLASSES, probabilities[0].tolist(), strict=True))
