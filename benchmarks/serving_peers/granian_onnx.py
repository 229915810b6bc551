"""The ONNX model behind granian's own interface, RSGI, with orjson: no framework, no validation, no log."""

from __future__ import annotations

from typing import Any

import orjson
from onnx_model import OnnxModel

HEADERS = [("content-type", "application/json")]
model = OnnxModel()


async def app(scope: Any, protocol: Any) -> None:
    """Classify one record."""
    label, probabilities = model.classify(orjson.loads(await protocol()))
    protocol.response_bytes(200, HEADERS, orjson.dumps({"label": label, "probabilities": probabilities}))
