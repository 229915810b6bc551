"""The reader of MLflow's database gives the answers of MLflow's own client, on both kinds of database."""

from __future__ import annotations

import math
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from ratchet.errors import ConfigError, RegistryError
from ratchet.settings import Settings
from ratchet.tracking import choose_model, connect
from ratchet.tracking.artifacts import local_path
from ratchet.tracking.client_reader import ClientReader
from ratchet.tracking.database_reader import KNOWN_SCHEMAS, DatabaseReader
from ratchet.tracking.reader import open_reader
from tests.conftest import new_database
from tests.homes import prepared

MODELS = ("churn", "it's a name", "Ünï", "CHURN")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store with everything that a reader meets: stages, aliases, deletions, prompts, and values at the limits."""
    home = prepared(tmp_path_factory.mktemp("contract"))
    url = None
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres"), "mlflow_contract")
    settings = Settings(home=home, models_dir=home / "models", mlflow_uri=url)
    client = connect(settings)
    run = _run(client, (home / "artifacts").as_uri())
    for model in MODELS:
        client.create_registered_model(model)
        for number in range(1, 13):
            tags = {"ratchet.a": "x" * 3000, "number": str(number)} if number % 2 else None
            client.create_model_version(
                model, f"{home}/artifacts/{number}", run_id=run if number > 1 else None, tags=tags
            )
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            client.transition_model_version_stage(model, "2", "Production")
            client.transition_model_version_stage(model, "11", "Production", archive_existing_versions=model != "CHURN")
        client.set_registered_model_alias(model, "champion", "11")
        client.set_registered_model_alias(model, "Champion", "3")
        client.delete_model_version(model, "12")
    client.register_prompt("a_prompt", "Answer {{question}}.")
    client.create_registered_model("deleted")
    client.create_model_version("deleted", f"{home}/artifacts/1")
    client.delete_registered_model("deleted")
    client.create_registered_model("empty")
    return settings


def _run(client: MlflowClient, artifacts: str) -> str:
    experiment = client.create_experiment("contract", artifact_location=artifacts)
    run = client.create_run(experiment, run_name="a run", tags={"ratchet.outcome": "promoted"}).info.run_id
    values = (("f1", 0.5), ("f1", 0.25), ("nan", math.nan), ("inf", math.inf), ("less", -math.inf), ("tiny", 5e-300))
    client.log_batch(run, metrics=[Metric(key, value, 1000 + at, at) for at, (key, value) in enumerate(values)])
    client.log_param(run, "long", "p" * 6000)
    dataset = Dataset(name="iris", digest="d" * 32, source_type="local", source="s")
    client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    return str(run)


def _runs(settings: Settings) -> list[str]:
    client = connect(settings)
    experiment = client.get_experiment_by_name("contract")
    assert experiment is not None
    deleted = client.create_run(experiment.experiment_id, run_name="deleted").info.run_id
    client.delete_run(deleted)
    unnamed = client.create_run(experiment.experiment_id).info.run_id
    return [
        *(run.info.run_id for run in client.search_runs([experiment.experiment_id])),
        deleted,
        unnamed,
        "0" * 32,
        "no id",
    ]


def test_a_database_is_read_without_mlflow(filled: Settings) -> None:
    assert isinstance(open_reader(filled), DatabaseReader)


@pytest.mark.parametrize("model", [*MODELS, "deleted", "empty", "unknown", ""])
def test_versions_aliases_and_locations_are_those_of_the_client(filled: Settings, model: str) -> None:
    client, database = ClientReader(filled), DatabaseReader(filled)
    if model:  # the client refuses an empty name
        assert database.versions(model) == client.versions(model)
    for number in ("1", "2", "11", "12", "13", "0", "x"):
        assert database.version(model, number) == client.version(model, number)
        assert database.location(model, number) == client.location(model, number)
    for alias in ("champion", "Champion", "nobody"):
        assert database.aliased(model, alias) == client.aliased(model, alias)


def test_a_number_too_large_for_a_database_is_no_version(filled: Settings) -> None:
    assert DatabaseReader(filled).version("churn", "9" * 20) is None


def test_the_models_are_those_of_the_client(filled: Settings) -> None:
    found = DatabaseReader(filled).registered_models()
    assert found == ClientReader(filled).registered_models()
    assert set(found) == {*MODELS, "empty"}


def test_a_choice_of_many_models_is_named_by_two(filled: Settings) -> None:
    with pytest.raises(ConfigError, match="choose one with --model; there are 5, such as 'CHURN' and 'churn'$"):
        choose_model(filled, None)


def test_runs_are_those_of_the_client(filled: Settings) -> None:
    client, database = ClientReader(filled), DatabaseReader(filled)
    for run_id in _runs(filled):
        expected, found = client.run(run_id), database.run(run_id)
        assert repr(found and sorted(vars(found).items())) == repr(expected and sorted(vars(expected).items()))


def test_the_installed_mlflow_has_a_known_schema() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert _get_latest_schema_revision() in KNOWN_SCHEMAS


def test_a_database_of_another_release_is_read_by_the_client(tmp_path: Path) -> None:
    home = prepared(tmp_path / "home")
    settings = Settings(home=home, mlflow_uri=f"sqlite:///{home}/other.db")
    with sqlite3.connect(home / "other.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('of a later release')")
    assert isinstance(open_reader(settings), ClientReader)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1", "https://mlflow", "databricks", "not a url", "sqlite:///absent.db"]
)
def test_a_server_and_a_missing_file_are_left_to_the_client(tmp_path: Path, uri: str) -> None:
    assert isinstance(open_reader(Settings(home=tmp_path, mlflow_uri=uri)), ClientReader)


def test_an_empty_file_is_left_to_the_client_which_makes_its_tables(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    assert isinstance(open_reader(Settings(home=tmp_path)), ClientReader)


def test_a_database_whose_tables_mlflow_is_making_is_left_to_the_client(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    assert isinstance(open_reader(Settings(home=tmp_path)), ClientReader)


def test_workspaces_are_left_to_the_client(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    assert isinstance(open_reader(filled), ClientReader)


@pytest.mark.parametrize("uri", ["sqlite:////proc/nothing.db", "postgresql://nobody:secret@127.0.0.1:1/none"])
def test_an_unreachable_database_is_one_line_without_its_password(uri: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, mlflow_uri=uri)
    with pytest.raises(RegistryError, match="^MLflow at ") as raised:
        DatabaseReader(settings).registered_models()
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///a/b%20c", "/a/b c"),
        ("file://localhost/a", "/a"),
        ("/a/b", "/a/b"),
        ("s3://bucket/a", None),
        ("mlflow-artifacts:/1/a", None),
        ("file://elsewhere/a", None),
        ("models:/m-1", None),
    ],
)
def test_only_files_of_this_machine_have_a_path(uri: str, expected: Any) -> None:
    assert local_path(uri) == (expected and Path(expected))
