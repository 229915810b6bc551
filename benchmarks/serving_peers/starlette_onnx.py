"""The floor: Starlette and the same ONNX session that the product has, and nothing else; no validation, no log."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ratchet.model.package.onnx import open_session

CLASSES = ("setosa", "versicolor", "virginica")
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
session = open_session(Path(os.environ["BENCH_ONNX"]).read_bytes())


async def predict(request: Request) -> JSONResponse:
    """Classify one record."""
    record = await request.json()
    row = np.array([[record[name] for name in FEATURES]], dtype=np.float32)
    labels, probabilities = session.run(None, {"features": row})
    answer = dict(zip(CLASSES, probabilities[0].tolist(), strict=True))
    return JSONResponse({"label": labels[0], "probabilities": answer})


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
