"""Production in tests: predictions of a version, stored as by the service, and their labels."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import uuid_utils

from ratchet.config.files import load_config
from ratchet.config.simulation import SimulationConfig
from ratchet.data import load_dataset
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import Recorded, ServedModel
from ratchet.inference.runtime import load_runtime
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction, insert_predictions
from ratchet.tracking import download
from simulation.stream import Example, Stream
from tests.store_rows import record_all
from tests.training_runs import CONFIGS


def simulation_of(model: str, *overrides: str) -> Stream:
    """Return the stream of configs/simulate.yaml with some values overridden."""
    config: SimulationConfig = load_config(CONFIGS / "simulate.yaml", [f"model={model}", *overrides])
    return Stream(config, load_dataset(config.dataset, config.task))


def take(simulation: Stream, first: int, count: int) -> list[Example]:
    """Return some rows of a stream."""
    return list(itertools.islice((simulation.example(index) for index in itertools.count(first)), count))


def answer(settings: Settings, store: Store, model: str, examples: Sequence[Example], folder: Path) -> list[Prediction]:
    """Predict rows with the champion, and store the predictions."""
    version = ProductionPointer(settings, model).current()
    folder.mkdir(parents=True, exist_ok=True)
    files = download(settings, model, version.version, folder)
    runtime = load_runtime(files, version.digest, model=model, version=version.version)
    rows: list[Prediction] = []
    for example, found in zip(examples, runtime.predict([example.record for example in examples]), strict=True):
        rows.append(
            {
                "id": str(uuid_utils.uuid7()),
                "created_at": time.time(),
                "model": model,
                "version": version.version,
                "features": example.record,
                "prediction": found.prediction,
                "score": found.score,
                "probabilities": found.probabilities,
                "latency": 0.001,
            }
        )
    insert_predictions(store, rows)
    return rows


def label(store: Store, model: str, labelled: Iterable[tuple[Prediction, Example]]) -> None:
    """Store the labels of some rows."""
    served = ServedModel(model)
    asked = [(Feedback(row["id"], example.label), served) for row, example in labelled if example.label is not None]
    assert all(isinstance(result, Recorded) for result in record_all(store, asked))
