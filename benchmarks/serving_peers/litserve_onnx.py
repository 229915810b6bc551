"""The ONNX model behind LitServe, which passes each request to a worker process."""

from __future__ import annotations

import argparse
from typing import Any

import litserve
from onnx_model import OnnxModel


class Iris(litserve.LitAPI):
    """Classify iris flowers."""

    def setup(self, device: str) -> None:
        """Load the model in the worker process."""
        self.model = OnnxModel()

    def decode_request(self, request: dict[str, float]) -> dict[str, float]:
        """Return the record."""
        return request

    def predict(self, record: dict[str, float]) -> tuple[str, dict[str, float]]:
        """Classify one record."""
        return self.model.classify(record)

    def encode_response(self, output: tuple[str, dict[str, float]]) -> dict[str, Any]:
        """Return the response's JSON."""
        return {"label": output[0], "probabilities": output[1]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    server = litserve.LitServer(Iris(), accelerator="cpu", workers_per_device=arguments.workers)
    server.run(
        host="127.0.0.1",
        port=arguments.port,
        num_api_servers=arguments.workers,
        generate_client_file=False,
        log_level="warning",
    )
