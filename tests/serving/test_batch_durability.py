"""Acknowledged batches are kept, each row under its id, when everything is killed under load."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, get_args

import pytest

from ratchet.settings import Durability, Settings
from ratchet.store.database import open_store
from ratchet.store.prediction_rows import PredictionRows
from tests.fitted import Trained
from tests.homes import prepared
from tests.serving.conftest import published
from tests.serving.running import RECORD, serving

ROWS = 40


class Batches:
    """Clients that send batches until the service is gone; each row has a number of its own."""

    def __init__(self, port: int) -> None:
        self.port, self.predictions = port, dict[str, float]()
        self._stopped = threading.Event()
        self.threads = [
            threading.Thread(target=self._send, args=(100_000.0 * client,), daemon=True) for client in range(1, 5)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self.threads:
            thread.join()

    def _send(self, number: float) -> None:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            while not self._stopped.is_set():
                numbers = [number := number + 1 for _ in range(ROWS)]
                body = json.dumps({"rows": [{**RECORD, "petal_width": each} for each in numbers]})
                try:
                    connection.request("POST", "/predict_batch", body, {"content-type": "application/json"})
                    response = connection.getresponse()
                    answer = json.loads(response.read())
                except (OSError, HTTPException):
                    connection.close()
                    continue
                if response.status == 200:
                    ids = [found["prediction_id"] for found in answer["predictions"]]
                    self.predictions |= dict(zip(ids, numbers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", get_args(Durability))
def test_no_row_of_an_answered_batch_is_lost_when_a_worker_and_then_everything_is_killed(
    iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path, mode: Any
) -> None:
    settings = Settings(home=prepared(tmp_path / "home"), models_dir=tmp_path / "models")
    pointer = published(settings, iris_models[0])
    with serving(settings, pointer.model, output, RATCHET_DURABILITY=mode) as service:
        batches = Batches(service.port)
        try:
            service.until(lambda: len(batches.predictions) > 50 * ROWS)
            killed = service.workers[0]
            os.kill(killed, signal.SIGKILL)
            service.until(lambda: len(set(service.workers) - {killed}) == 2)
            before = len(batches.predictions)
            service.until(lambda: len(batches.predictions) > before + 50 * ROWS)
            service.kill()
        finally:
            batches.stop()
    store = open_store(settings)

    def stored() -> dict[str, Any]:
        with store.reading() as connection:
            rows = PredictionRows(connection, "features").find_many(batches.predictions)
        return {found: (row["features"] or {})["petal_width"] for found, row in rows.items()}

    with serving(settings, pointer.model, output, RATCHET_DURABILITY=mode) as service:
        service.until(lambda: len(stored()) == len(batches.predictions))
    assert stored() == batches.predictions
    store.engine.dispose()
