"""The commands promote, rollback, history, status, doctor, lineage and reproduce."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from ratchet.registry.gates import CHECKS
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.prediction_batches import row_id
from ratchet.store.predictions import insert_predictions
from ratchet.tracking import connect
from tests import artifacts
from tests.conftest import Cli
from tests.e2e.test_cli import refused
from tests.locks import locked
from tests.store_rows import batch_of, prediction
from tests.training_runs import config_for, train_in

MODEL = "pointer"


Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shell(trained: Settings, here: Cli, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line, for the model of these tests unless another one is named."""

    def run(*words: str, model: str = MODEL) -> subprocess.CompletedProcess[str]:
        return here(*words, *(("--model", model) if model else ()))

    monkeypatch.setenv("RATCHET_ACTOR", "ann")
    return run


@pytest.fixture(scope="module")
def trained(settings: Settings) -> Settings:
    """The session's home with two versions of a model, the first in Production."""
    for name in ("baseline", "variation_svm"):
        train_in(settings, config_for(MODEL, name=name))
    return settings


def json_of(shell: Shell, *words: str) -> Any:
    result = shell(*words, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_forward_back_and_forward_again(shell: Shell) -> None:
    assert json_of(shell, "status")["in_production"] == "1"
    assert json_of(shell, "promote", "2", "--reason", "trust me")["from_version"] == "1"
    assert json_of(shell, "rollback", "--reason", "worse")["to_version"] == "1"
    result = shell("promote", "2", "--reason", "roll forward", "--expected", "1")
    assert result.stdout == "pointer: version 2 went into Production; before, it was 1\n"
    entries = json_of(shell, "history")
    assert [(e["kind"], e["state"], e["from_version"], e["to_version"]) for e in entries] == [
        ("promote", "completed", "1", "2"),
        ("rollback", "completed", "2", "1"),
        ("promote", "completed", "1", "2"),
        ("promote", "refused", "1", "2"),
        ("promote", "completed", None, "1"),
    ]
    assert entries[0]["actor"] == "ann"
    assert [check["name"] for check in entries[-1]["gate"]] == [check.__name__ for check in CHECKS]
    table = shell("history", "--limit", "2").stdout
    assert "roll forward" in table
    assert "trust me" not in table
    assert shell("doctor").stdout == "nothing is wrong\n"
    status = shell("status").stdout
    for part in ("in production", "f1 macro", "git commit", "013d0da08d6506664ce640459139176b", "roll forward"):
        assert part in status


def test_an_operation_that_was_done_and_undone_since_is_not_reported_as_done(shell: Shell) -> None:
    first, second = ("--operation-id", "first"), ("--operation-id", "second")
    assert json_of(shell, "rollback", "--reason", "worse", *first)["to_version"] == "1"
    assert json_of(shell, "rollback", "--reason", "worse", *first)["to_version"] == "1", "tried again, it is done once"
    assert json_of(shell, "promote", "2", "--reason", "better", *second)["to_version"] == "2"
    line = refused(shell("rollback", "--reason", "worse again", *first))
    assert "the operation 'first' was done before, and since then version 2 went into Production" in line
    assert json_of(shell, "status")["in_production"] == "2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["promote", "9", "--reason", "x"], "pointer has no version '9'; known are: 1, 2"),
        (["promote", "2", "--reason", ""], "a reason is required"),
        (["promote", "2", "--reason", "x", "--expected", "none"], "is in Production already"),
        (["promote", "1", "--reason", "x", "--expected", "none"], "expected version none in Production, found 2"),
        (["lineage", "9"], "pointer has no version '9'"),
        (["reproduce", "9"], "pointer has no version '9'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(shell: Shell, words: list[str], message: str) -> None:
    assert message in refused(shell(*words))
    assert json_of(shell, "status")["in_production"] == "2"


def test_without_a_model_the_error_shows_how_to_train_one(here: Cli, scratch: Settings) -> None:
    assert "no model is registered in" in refused(here("status"))


def test_with_several_models_one_has_to_be_named(shell: Shell, first: object) -> None:
    assert "several models are registered" in refused(shell("status", model=""))
    assert "there is no model 'rose'; " in refused(shell("status", model="rose"))


def test_a_registry_that_cannot_be_reached_is_one_line_and_status_2(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "MLflow at http://127.0.0.1:9" in refused(shell("rollback", "--reason", "x"))


def test_a_store_that_cannot_be_reached_is_one_line_and_status_2(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:9/none")
    assert "the store postgresql://nobody:***@127.0.0.1:9/none" in refused(shell("history"))


def test_a_locked_store_is_one_line_and_status_2(
    shell: Shell, trained: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_STORE_TIMEOUT", "0.2")
    with locked(trained):
        line = refused(shell("rollback", "--reason", "x"))
    assert re.search("database is locked|lock timeout", line)
    assert "nothing was written" in line


def test_the_doctor_reports_and_repairs_with_exit_statuses(shell: Shell, trained: Settings) -> None:
    connect(trained).delete_registered_model_alias(MODEL, "champion")
    found = shell("doctor")
    assert found.returncode == 1
    assert "shadow_differs" in found.stdout
    assert "python run.py doctor --repair" in found.stdout
    assert shell("doctor", "--repair").returncode == 0
    assert shell("doctor").stdout == "nothing is wrong\n"


def test_lineage_has_code_data_and_config(shell: Shell) -> None:
    trace = json_of(shell, "lineage", "1")
    assert len(trace["git"]["commit"]) == 40
    assert trace["data"] == {"name": "iris", "version": "013d0da08d6506664ce640459139176b"}
    assert trace["config"]["content"]["train"]["params"] == {"C": 1.0, "max_iter": 500}
    assert trace["mlflow_run"]["name"] == trace["zenml_run"]["name"]
    assert trace["libraries"]["scikit-learn"]
    assert "zenml run" in shell("lineage", "1").stdout


def test_the_lineage_of_a_row_of_a_batch_is_that_of_its_version(shell: Shell, trained: Settings) -> None:
    batch = batch_of([prediction(0), prediction(0, features={"sepal_length": 6.5})], model=MODEL, version="1")
    insert_predictions(open_store(trained), [batch])
    trace = json_of(shell, "lineage", row_id(batch.id, 1))
    assert trace["prediction"]["id"] == row_id(batch.id, 1)
    assert trace["prediction"]["features"] == {"sepal_length": 6.5, "colour": None}
    assert trace["prediction"]["when"].startswith("2023-11-14T22:13:21")
    assert (trace["model"], trace["version"]) == (MODEL, "1")
    assert trace["git"] == json_of(shell, "lineage", "1")["git"]
    unknown = refused(shell("lineage", row_id(batch.id, 2)))
    assert "pointer has no version" in unknown


@pytest.mark.slow
def test_a_version_can_be_trained_again_and_is_identical(cli: Cli, trained: Settings) -> None:
    result = cli("reproduce", "1", "--model", MODEL)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("pointer version 1: identical")


@pytest.mark.slow
def test_a_different_result_and_its_changed_inputs_are_listed(shell: Shell, trained: Settings) -> None:
    # The stored record is changed, which is faster than training with other libraries.
    pointer, client = ProductionPointer(trained, MODEL), connect(trained)
    client.set_model_version_tag(MODEL, "1", "ratchet.version.numpy", "1.0.0")
    client.set_model_version_tag(MODEL, "1", "ratchet.data_version", "0" * 32)
    client.set_model_version_tag(MODEL, "1", "ratchet.git_commit", "0" * 40)
    client.log_metric(pointer.get("1").run_id, "accuracy", 0.5)
    result = shell("reproduce", "1")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[:2] == ["pointer version 1: not identical", "  difference: accuracy: was 0.5, is 0.9333333333333333"]
    for part in (
        "changed: numpy was 1.0.0, is ",
        "changed: the data were 00000000",
        "note: the commit 000000000000 is not in this repository: today's code was used",
    ):
        assert part in result.stdout


def test_a_version_without_its_config_cannot_be_trained_again(shell: Shell, trained: Settings) -> None:
    run = ProductionPointer(trained, MODEL).get("2").run_id
    artifacts.of_run(trained, run).delete_artifacts("config.yaml")
    assert "cannot be read" in refused(shell("reproduce", "2"))
