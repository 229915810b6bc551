"""``MODEL_PATH``: a file is served without a registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.model.package.model_files import export_model
from ratchet.settings import Settings
from ratchet.store.database import open_store
from tests.conftest import Cli
from tests.fitted import Trained
from tests.serving.running import RECORD, Service, environment, free_port, serving
from tests.serving.stored_rows import stored

METRICS = {"accuracy": 0.97}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home without MLflow, and the address of a registry that is down."""
    home = tmp_path_factory.mktemp("alone")
    return Settings(home=home, models_dir=home / "models", mlflow_uri=f"http://127.0.0.1:{free_port()}")


@pytest.fixture(scope="module")
def file(alone: Settings, iris_models: tuple[Trained, Trained]) -> Path:
    """The file that training writes to ``models/iris``."""
    trained = iris_models[0]
    export_model(alone.models_dir / "iris", trained.model, trained.schema, {"metrics": METRICS})
    return alone.models_dir / "iris" / "model.joblib"


@pytest.fixture(scope="module")
def from_file(alone: Settings, file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    output = tmp_path_factory.mktemp("from-file") / "output"
    with serving(alone, None, output, MODEL_PATH=str(file)) as running:
        yield running


def test_the_file_predicts_like_its_pipeline(from_file: Service, iris_models: tuple[Trained, Trained]) -> None:
    model, rows = iris_models[0].model, iris_models[0].holdout[list(RECORD)]
    status, answer = from_file.post("/predict_batch", {"rows": rows.to_dict(orient="records")})
    assert status == 200
    assert [found["prediction"] for found in answer["predictions"]] == model.predict(rows).tolist()
    for found, expected in zip(answer["predictions"], model.predict_proba(rows).tolist(), strict=True):
        assert found["probabilities"] == pytest.approx(dict(zip(model.classes_, expected, strict=True)), abs=1e-9)


def test_one_record_is_predicted_explained_and_stored(from_file: Service, alone: Settings) -> None:
    status, answer = from_file.post("/predict", RECORD)
    assert (status, answer["prediction"]) == (200, "setosa")
    row = stored(open_store(alone), answer["prediction_id"])
    assert (row["features"], row["model"], row["version"]) == (RECORD, "iris", answer["model"]["version"])
    status, why = from_file.post("/explain", RECORD)
    assert status == 200
    assert why["base"] + sum(why["contributions"].values()) == pytest.approx(why["output"], abs=1e-6)


def test_the_version_is_the_files_digest(from_file: Service) -> None:
    found = from_file.get("/model")
    assert (found["name"], found["engine"], found["metrics"]) == ("iris", "scikit-learn", METRICS)
    assert found["version"] == found["digest"][:12]
    assert from_file.post("/predict", RECORD)[1]["model"] == {"name": "iris", "version": found["version"]}
    assert [field["name"] for field in found["signature"]["features"]] == list(RECORD)


def test_the_reply_to_a_wrong_record_names_the_field(from_file: Service) -> None:
    status, answer = from_file.post("/predict", {**RECORD, "petal_width": "wide"})
    assert (status, [problem["field"] for problem in answer["details"]]) == (422, ["petal_width"])


def test_health_and_readiness_need_no_registry(from_file: Service) -> None:
    health = from_file.healthy()
    assert (health["status"], health["model"]) == ("ok", "iris")
    assert from_file.request("GET", "/readyz")[0] == 200
    assert from_file.metric("ratchet_swap_failures_total") == 0


def test_each_worker_logs_that_the_origin_of_the_file_is_not_checked(from_file: Service, file: Path) -> None:
    lines = [json.loads(line) for line in from_file.output.read_text().splitlines() if line.startswith("{")]
    warnings = [line for line in lines if "a local file whose origin is not verified" in line["event"]]
    # The process of batches loads it too, with its first batch.
    assert len({line["process"] for line in warnings}) >= 2
    assert {line["level"] for line in warnings} == {"warning"}
    assert all(str(file) in line["event"] for line in warnings)
    assert not [line for line in lines if line["level"] == "error"]


def test_mlflow_is_not_used(from_file: Service, alone: Settings) -> None:
    assert from_file.post("/predict", RECORD)[0] == 200
    assert not list(alone.home.glob("ml*"))
    assert "mlflow" not in from_file.output.read_text().lower()


def test_a_missing_file_is_reported_in_one_line(cli: Cli, alone: Settings, tmp_path: Path) -> None:
    missing = tmp_path / "model.joblib"
    done = cli("serve", "--workers", "1", "--port", "0", **environment(alone, MODEL_PATH=str(missing)))
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"error: MODEL_PATH: there is no file {missing}; training writes models/<model>/model.joblib\n"
    )


def test_a_file_that_is_no_model_stops_the_service(cli: Cli, alone: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "model.joblib"
    broken.write_bytes(b"no pickle")
    done = cli("serve", "--workers", "1", "--port", "0", **environment(alone, MODEL_PATH=str(broken)))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: a worker could not start; see the log above"
    assert f"{broken}: cannot be loaded" in done.stdout
