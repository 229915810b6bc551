"""A file that is read in batches, from its config to an answer of the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ratchet.config.files import load_config
from ratchet.data.row_identities import contents_of
from ratchet.monitoring.reports.version_rows import training_rows
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.serving.running import serving
from tests.training_runs import CONFIGS, train_in

N_ROWS = 300_000


def write_rows(path: Path) -> pd.DataFrame:
    """Numbers, a category and gaps in both; the class hangs on three of them."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{i}": generator.normal(size=N_ROWS) for i in range(6)})
    frame["plan"] = generator.choice(["basic", "plus", "pro"], N_ROWS)
    score = frame["x0"] + 0.5 * frame["x1"] + (frame["plan"] == "pro") + 0.5 * generator.normal(size=N_ROWS)
    frame["left"] = np.where(score > 0.5, "yes", "no")
    frame.loc[generator.random(N_ROWS) < 0.05, "plan"] = None
    frame.loc[generator.random(N_ROWS) < 0.05, "x3"] = np.nan
    frame.to_parquet(path, row_group_size=70_000, index=False)
    return frame


@pytest.mark.slow
def test_a_file_in_batches_becomes_a_version_that_answers(settings: Settings, model: str, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "rows.parquet")
    dataset = f"{{source: parquet, path: {tmp_path / 'rows.parquet'}, target: left, batch_rows: 50000}}"
    train = "{estimator: sklearn.linear_model.SGDClassifier, params: {loss: log_loss}, epochs: 2}"
    evaluate = "{primary_metric: f1, minimum: 0.7}"
    overrides = [f"model={model}", f"dataset={dataset}", f"train={train}", f"evaluate={evaluate}"]
    overrides += ["embed.n_components=6"]
    run = train_in(settings, load_config(CONFIGS / "baseline.yaml", overrides))

    assert run.promotion.outcome == "promoted"
    version = ProductionPointer(settings, model).get(run.promotion.version)
    package = fetch_package(settings, version)
    rows, held = training_rows(settings, version)
    assert (len(rows), len(held)) == (50_000, 50_000)
    assert package.profile.n_rows == 50_000
    assert len(package.training_rows) == pytest.approx(0.8 * N_ROWS, rel=0.01)
    known = package.training_rows.contents
    assert np.isin(contents_of(rows, package.schema.target), known).all()
    assert not np.isin(contents_of(held, package.schema.target), known).any()

    features = frame.drop(columns="left").dropna().head(20)
    with serving(settings, model, tmp_path / "output") as service:
        status, answer = service.post("/predict_batch", {"rows": features.to_dict(orient="records")})
    assert status == 200, answer
    served = [prediction["prediction"] for prediction in answer["predictions"]]
    assert served == package.model.predict(package.schema.select(features)).tolist()


def test_a_file_in_batches_with_an_estimator_that_needs_all_rows_is_refused_before_a_run(
    settings: Settings, model: str, tmp_path: Path
) -> None:
    from pipelines.runner import plan_training
    from ratchet.errors import ConfigError

    dataset = f"{{source: parquet, path: {tmp_path / 'rows.parquet'}, target: left, batch_rows: 50000}}"
    train = "{estimator: sklearn.svm.SVC}"
    config = load_config(CONFIGS / "baseline.yaml", [f"model={model}", f"dataset={dataset}", f"train={train}"])
    with pytest.raises(ConfigError, match=r"dataset\.batch_rows: sklearn\.svm\.SVC has no partial_fit"):
        plan_training(config)
