"""The floor: Starlette and the same ONNX model that the product has, without validation and log."""

from __future__ import annotations

from onnx_model import OnnxModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

model = OnnxModel()


async def predict(request: Request) -> JSONResponse:
    """Classify one record."""
    label, probabilities = model.classify(await request.json())
    return JSONResponse({"label": label, "probabilities": probabilities})


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
