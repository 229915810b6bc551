"""The ONNX model as a custom runtime of MLServer, by the V2 inference protocol; run as a script, it starts MLServer.

The model runs in the server's process: with parallel workers, this model takes three times the processor time, and
half as many requests are answered.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile

import numpy as np
from mlserver import MLModel
from mlserver.cli import main as run_mlserver
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import CLASSES, FEATURES, OnnxModel


class Iris(MLModel):
    """Classify iris flowers."""

    async def load(self) -> bool:
        """Load the model."""
        self.model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Classify one record, an input of shape (1, 4)."""
        row = NumpyCodec.decode_input(payload.inputs[0])[0]
        label, probabilities = self.model.classify(dict(zip(FEATURES, row, strict=True)))
        scores = np.array([[probabilities[name] for name in CLASSES]])
        outputs = [StringCodec.encode_output("label", [label]), NumpyCodec.encode_output("probabilities", scores)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        settings = {
            "HOST": "127.0.0.1",
            "HTTP_PORT": arguments.port,
            "GRPC_PORT": str(_free_port()),
            "METRICS_PORT": str(_free_port()),
            "METRICS_DIR": empty,
            "PARALLEL_WORKERS": "0",
            "DEBUG": "false",
            "MODEL_NAME": "iris",
            "MODEL_IMPLEMENTATION": "mlserver_onnx.Iris",
        }
        os.environ.update({f"MLSERVER_{name}": value for name, value in settings.items()})
        sys.argv = ["mlserver", "start", empty]
        run_mlserver()


if __name__ == "__main__":
    _main()
