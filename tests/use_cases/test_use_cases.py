"""Every bundled use case end to end: training, service, predictions, feedback, training again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.continuous import run_continuous
from pipelines.runner import RunOptions
from ratchet.config import TrainingConfig
from ratchet.config.files import load_config, parse_config
from ratchet.data import load_dataset
from ratchet.data.fingerprint import canonical_csv
from ratchet.data.schema import MISSING, Schema
from ratchet.data.snapshots import load_snapshot
from ratchet.data.split import row_hashes
from ratchet.model.tasks import TASKS
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.originals import FETCHED, served
from tests.row_texts import Row, as_numbers, as_strings, text_rows
from tests.serving.running import Service, serving
from tests.training_runs import CONFIGS, train_in
from tests.web_server import Site
from tests.web_server import serving as web_serving

BUNDLED = ("iris", "breast_cancer", "digits", "diabetes", "wine", "fraud", "churn")
ROWS = 60

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with web_serving() as site:
        yield site


def baseline(use_case: str, site: Site) -> TrainingConfig:
    """The baseline of a use case, with a wide latency limit, since the gate has its own tests.

    Data that have to be fetched come from a local server. They have the original's format but generated values, so the
    config gets no floor.
    """
    changed = [f"model=uc_{use_case}", "promote.latency_ms=10000"]
    if use_case not in FETCHED:
        return load_config(CONFIGS / use_case / "baseline.yaml", changed)
    return served(site, Path(use_case, "baseline.yaml"), *changed, "evaluate.minimum=null", "evaluate.maximum=null")


def continuous(config: TrainingConfig) -> Any:
    """The same, as continuous training."""
    return parse_config({**config.model_dump(mode="json"), "pipeline": "continuous_training"})


@pytest.fixture(scope="module", params=[*BUNDLED, *FETCHED])
def trained(request: pytest.FixtureRequest, settings: Settings, site: Site) -> TrainingConfig:
    """The baseline of one use case, in Production."""
    config = baseline(request.param, site)
    summary = train_in(settings, config)
    assert summary.promotion.outcome == "promoted", summary.promotion.reason
    return config


@pytest.fixture(scope="module")
def service(trained: TrainingConfig, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    output = tmp_path_factory.mktemp(trained.model) / "output"
    with serving(settings, trained.model, output) as running:
        yield running


def held_out(config: TrainingConfig) -> tuple[pd.DataFrame, Schema]:
    data = load_dataset(config.dataset, config.task)
    return TASKS[config.task].split(data.frame, data.schema, config.split, config.seed)[1], data.schema


def records(rows: pd.DataFrame, schema: Schema) -> list[dict[str, Any]]:
    """Rows as a client sends them; a missing value is null."""
    features = schema.select(rows)
    return [
        {name: None if pd.isna(value) or value == MISSING else value for name, value in record.items()}
        for record in features.to_dict(orient="records")
    ]


def jittered(rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """New rows near the given ones, since production does not send the holdout again."""
    generator, moved = np.random.default_rng(7), rows.copy()
    for field in schema.features:
        if field.type == "number":
            moved[field.name] += generator.normal(0, 1e-3, len(rows)) * (moved[field.name].std() or 1.0)
    return moved


def test_the_baseline_reaches_its_floor_with_its_primary_metric(trained: TrainingConfig, settings: Settings) -> None:
    version = ProductionPointer(settings, trained.model).current()
    assert version is not None
    figures = json.loads((settings.models_dir / trained.model / "metrics.json").read_text())["metrics"]
    assert math.isfinite(figures[trained.evaluate.primary_metric])


def test_it_is_served_and_trained_again_on_feedback(
    trained: TrainingConfig, service: Service, settings: Settings
) -> None:
    rows, schema = held_out(trained)
    rows = jittered(rows.head(ROWS), schema)
    described = service.get("/model")
    assert described["name"] == trained.model
    assert described["task"] == trained.task

    status, one = service.post("/predict", records(rows, schema)[0])
    assert status == 200, one
    status, answers = service.post("/predict_batch", {"rows": records(rows, schema)})
    assert status == 200, answers
    answers = answers["predictions"]
    assert len(answers) == len(rows)
    if TASKS[trained.task].labelled:
        assert one["prediction"] in schema.labels
        assert set(one["probabilities"] or {str(label): 0 for label in schema.labels}) == set(map(str, schema.labels))
    else:
        assert isinstance(one["prediction"], float)

    truth = rows[schema.target].tolist()
    feedback = [
        {"prediction_id": answer["prediction_id"], "target": target}
        for answer, target in zip(answers, truth, strict=True)
    ]
    # A link is made when the prediction is in the store: with it are those of its batch.
    assert service.post("/feedback/links", {"prediction_id": answers[-1]["prediction_id"]})[0] == 200
    status, answer = service.post("/feedback_batch", {"feedback": feedback})
    assert (status, answer["counts"]["recorded"]) == (200, len(rows)), answer

    summary = run_continuous(continuous(trained), settings, RunOptions("again"))
    assert summary.run.state in ("promoted", "refused"), summary.run.reason
    assert summary.pipeline is not None
    train, holdout, *_ = load_snapshot(settings, continuous(trained), summary.run.snapshot)
    sent = set(row_hashes(rows).tolist())
    learned = set(row_hashes(train).tolist()) | set(row_hashes(holdout).tolist())
    assert sent <= learned, "the snapshot has the labelled production rows"
    drift = summary.pipeline.drift
    assert drift.reference is not None


@pytest.mark.parametrize("write", [as_strings, as_numbers])
def test_the_text_of_a_row_gets_the_prediction_of_the_training_frames_row(
    trained: TrainingConfig, service: Service, settings: Settings, write: Callable[[Row, Schema], str]
) -> None:
    data = load_dataset(trained.dataset, trained.task)
    rows = data.frame.head(ROWS)
    body = f'{{"rows": [{", ".join(write(row, data.schema) for row in text_rows(canonical_csv(rows)))}]}}'
    status, answer = service.post("/predict_batch", body.encode())
    assert status == 200, answer
    # The service may be about to follow a version that another test has promoted.
    version = ProductionPointer(settings, trained.model).get(answer["model"]["version"])
    package = fetch_package(settings, version)
    expected = package.model.predict(package.schema.select(rows)).tolist()
    found = [row["prediction"] for row in answer["predictions"]]
    assert found == (expected if data.schema.labels else pytest.approx(expected, rel=1e-4))


def test_a_record_without_a_field_is_refused_by_its_name(trained: TrainingConfig, service: Service) -> None:
    rows, schema = held_out(trained)
    record = next(r for r in records(rows, schema) if None not in r.values())
    needed = next(f.name for f in schema.features if not f.nullable)
    status, answer = service.post("/predict", {name: value for name, value in record.items() if name != needed})
    assert status == 422
    assert needed in json.dumps(answer)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=f"{name}-{path.stem}", marks=[] if name == "iris" else [pytest.mark.exhaustive])
        for name in BUNDLED
        for path in sorted((CONFIGS / name).glob("variation_*.yaml"))
    ],
)
def test_every_variation_trains_on_the_same_rows_as_its_baseline(path: Path, settings: Settings) -> None:
    config = load_config(path, [f"model=uc_{path.parent.name}_{path.stem}", "promote.latency_ms=10000"])
    compared = load_config(path.parent / "baseline.yaml")
    assert (config.split, config.seed, config.task, config.evaluate.primary_metric) == (
        compared.split,
        compared.seed,
        compared.task,
        compared.evaluate.primary_metric,
    ), "else their figures could not be compared"
    summary = train_in(settings, config)
    assert summary.promotion.outcome == "promoted", summary.promotion.reason


@pytest.mark.parametrize("use_case", BUNDLED)
def test_each_use_case_has_a_baseline_and_two_variations(use_case: str) -> None:
    names = [path.name for path in (CONFIGS / use_case).glob("*.yaml")]
    assert "baseline.yaml" in names
    assert sum(name.startswith("variation_") for name in names) >= 2
