"""A step whose outputs were deleted runs again, instead of being taken from the cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from pipelines.runner import STEPS, RunSummary
from ratchet.settings import Settings
from ratchet.tracking import connect
from tests.training_runs import config_for, train_in


def output_folders(summary: RunSummary, step: str) -> list[Path]:
    """Where ZenML keeps the outputs of a step."""
    from zenml.client import Client

    found = Client().get_pipeline_run(summary.zenml_run_id).steps[step].outputs
    return [Path(version.uri) for versions in found.values() for version in versions]


def cached(summary: RunSummary) -> set[str]:
    return {step.name for step in summary.steps if step.status == "cached"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "deleted",
    [
        pytest.param(STEPS[:4], id="all"),
        pytest.param(("train",), id="train"),
        pytest.param(("ingest",), id="ingest"),
    ],
)
def test_steps_without_outputs_run_again_and_the_others_are_cached(
    deleted: tuple[str, ...], settings: Settings, model: str
) -> None:
    config = config_for(model)
    train_in(settings, config)
    second = train_in(settings, config)
    before = cached(second)
    assert {"ingest", "embed", "train"} <= before
    for step in deleted:
        for folder in output_folders(second, step):
            shutil.rmtree(folder, ignore_errors=True)
    third = train_in(settings, config)
    assert not cached(third) & set(deleted)
    assert third.evaluation.metrics == second.evaluation.metrics
    assert cached(train_in(settings, config)) == before


@pytest.mark.slow
def test_a_package_that_was_deleted_from_mlflow_is_made_again(settings: Settings, model: str) -> None:
    train_in(settings, config_for(model))
    config = config_for(model, name="variation_svm")
    refused = train_in(settings, config)
    client = connect(settings)
    source = client.get_model_version(model, refused.promotion.version).source
    place = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    if not place.startswith(("/", "file:")):
        pytest.skip("the artifacts are on a server")
    shutil.rmtree(Path(unquote(urlparse(place).path)))
    again = train_in(settings, config)
    assert "train" not in cached(again)
    assert again.evaluation.metrics == refused.evaluation.metrics
    assert again.promotion.version != refused.promotion.version
