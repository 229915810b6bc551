"""Faults while the service runs: the old version keeps serving, and the failures are counted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ratchet.registry.fetch_package import production_pointer
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect
from tests.fitted import Trained
from tests.serving.conftest import publish, published
from tests.serving.load import load_on
from tests.serving.running import RECORD, Service, environment, free_port, serving, wait_until

FAST = {"RATCHET_POLL_INTERVAL": "0.5"}


def artifact(settings: Settings, model: str, version: str, name: str) -> Path:
    """The file of a registered version in MLflow's artifact store."""
    uri = connect(settings).get_model_version_download_uri(model, version)
    return Path(uri.removeprefix("file://")) / name


def failures(service: Service, reason: str) -> float:
    return service.metric("ratchet_swap_failures_total", reason=reason)


def promote_unchecked(settings: Settings, pointer: ProductionPointer, version: str) -> None:
    """Promote without checks, like a change of the stage in the pages of MLflow."""
    ProductionPointer(settings, pointer.model).promote(version, "by hand", "test")


@pytest.mark.slow
def test_with_a_corrupt_or_missing_artifact_the_old_version_keeps_serving(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(served_settings, *iris_models, iris_models[1], iris_models[1])
    corrupt = artifact(served_settings, pointer.model, "2", "model.onnx")
    corrupt.write_bytes(corrupt.read_bytes()[:-1] + b"x")
    artifact(served_settings, pointer.model, "3", "golden.json").unlink()
    with (
        serving(served_settings, pointer.model, output, **FAST) as service,
        load_on(service.port, tmp_path / "load", connections=2) as load,
    ):
        for bad in ("2", "3"):
            before = failures(service, "package")
            promote_unchecked(served_settings, pointer, bad)
            service.until(lambda before=before: failures(service, "package") >= before + 2)  # type: ignore[misc]
            assert {worker["version"] for worker in service.get("/health")["workers"]} == {"1"}
        promote_unchecked(served_settings, pointer, "4")
        service.until(lambda: {worker["version"] for worker in service.get("/health")["workers"]} == {"4"})
        service.until(lambda: service.metric("ratchet_predictions_total", version="4") > 0)
    assert {request.status for request in load.requests} == {200}
    assert {request.version for request in load.answered} == {"1", "4"}
    assert "tampered with or damaged" in output.read_text()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_while_the_registry_is_down_the_version_keeps_serving(
    iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    backend = Settings(home=home).tracking_uri
    settings = Settings(home=home, models_dir=tmp_path / "models", mlflow_uri=f"http://127.0.0.1:{port}")
    registry = start_registry(settings, port, backend)
    try:
        pointer = published(settings, *iris_models)
        with (
            # Without a name, so that a restarted worker needs the name that the first lookup has found.
            serving(settings, None, output, **FAST, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0") as service,
            load_on(service.port, tmp_path / "load", connections=2) as load,
        ):
            stop(registry)
            down = time.monotonic()
            service.until(lambda: failures(service, "registry") >= 2)
            # A worker that dies restarts without the registry.
            victim = service.workers[0]
            os.kill(victim, signal.SIGKILL)
            service.until(lambda: len(set(service.workers) - {victim}) == 2)
            wait_until(lambda: time.monotonic() - down >= 30, 60)
            assert service.post("/predict", RECORD)[1]["model"]["version"] == "1"
            registry = start_registry(settings, port, backend)
            production_pointer(settings, pointer.model).promote("2", "back", "test")
            service.until(lambda: {worker["version"] for worker in service.get("/health")["workers"]} == {"2"})
    finally:
        stop(registry)
    broken = [request for request in load.requests if request.status != 200]
    # The requests in flight in the killed worker fail: one on each connection, and another one on a new connection that
    # the kernel still assigns to its socket.
    assert len(broken) <= 4
    assert {request.status for request in broken} <= {0}


@pytest.mark.slow
def test_workers_stop_when_their_parent_is_killed_and_the_next_start_removes_what_is_left(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(served_settings, iris_models[0])
    scratch, abandoned = tmp_path / "scratch", tmp_path / "none"
    scratch.mkdir()
    for _ in range(2):
        with serving(served_settings, pointer.model, output, TMPDIR=str(scratch)) as service:
            assert not abandoned.exists()
            abandoned = shared_folder_of(service)
            os.kill(service.process.pid, signal.SIGKILL)
            service.process.wait(30)
            wait_until(lambda service=service: service.processes == [], 30)  # type: ignore[misc]
            assert service.processes == []
    with serving(served_settings, pointer.model, output, TMPDIR=str(scratch)) as service:
        assert not abandoned.exists()
        last = shared_folder_of(service)
        assert service.post("/predict", RECORD)[0] == 200
    assert not last.exists()
    assert [path for path in scratch.iterdir() if path.is_dir()] == []


def shared_folder_of(service: Service) -> Path:
    """The folder that the processes of a service share."""
    environ = Path(f"/proc/{service.workers[0]}/environ").read_text().split("\0")
    return Path(dict(line.split("=", 1) for line in environ if line)["PROMETHEUS_MULTIPROC_DIR"])


@pytest.mark.slow
def test_files_of_metrics_do_not_pile_up_as_workers_die(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    pointer = published(served_settings, iris_models[0])
    with serving(served_settings, pointer.model, output, **FAST) as service:
        folder = shared_folder_of(service)
        for number in range(1, 5):
            assert service.post("/predict", RECORD)[0] == 200
            service.until(lambda number=number: counted(service) == number)  # type: ignore[misc]
            victim = service.workers[0]
            os.kill(victim, signal.SIGKILL)
            service.until(lambda victim=victim: len(set(service.workers) - {victim}) == 2)  # type: ignore[misc]
            assert counted(service) == number
            owners = {path.stem.split("_")[-1] for path in folder.glob("*.db")}
            assert owners <= {"dead", *map(str, service.processes)}


def counted(service: Service) -> float:
    return service.metric("ratchet_requests_total", route="/predict", status="200")


@pytest.mark.slow
def test_a_service_that_starts_with_a_damaged_package_answers_its_probes(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    pointer = published(served_settings, *iris_models)
    damaged = artifact(served_settings, pointer.model, "1", "model.onnx")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    # Longer than this test waits.
    with serving(served_settings, pointer.model, output, ready=False, **FAST, RATCHET_REQUEST_TIMEOUT="300") as service:
        service.until(lambda: service.request("GET", "/livez")[0] == 200)
        for path in ("/readyz", "/health"):
            assert service.request("GET", path)[0] == 503
        for method, path in (("GET", "/readyz"), ("POST", "/predict"), ("POST", "/predict_batch")):
            status, headers, body = service.request(method, path, b"{}" if method == "POST" else None)
            assert (status, headers["retry-after"]) == (503, "1")
            assert "no model is in Production yet" in json.loads(body)["error"]
        service.until(lambda: "tampered with or damaged" in output.read_text())
        promote_unchecked(served_settings, pointer, "2")
        service.until_served("2")
        assert service.request("GET", "/readyz")[0] == 200
        assert service.post("/predict", RECORD)[1]["model"]["version"] == "2"


@pytest.mark.slow
def test_a_worker_that_restarts_beside_others_without_its_package_takes_no_request(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path: Path, output: Path
) -> None:
    settings = Settings(home=tmp_path / "home", models_dir=tmp_path / "models")
    pointer = published(settings, iris_models[0])
    with serving(settings, pointer.model, output, **FAST) as service:
        digest = service.get("/model")["digest"]
        for damaged in (
            artifact(settings, pointer.model, "1", "model.onnx"),
            settings.home / "packages" / digest / "package" / "model.onnx",
        ):
            damaged.chmod(0o600)
            damaged.write_bytes(b"x")
        victim, survivor = service.workers
        os.kill(victim, signal.SIGKILL)
        service.until(lambda: "cannot be served" in output.read_text())
        assert {service.post("/predict", RECORD)[0] for _ in range(60)} == {200}
        assert {service.request("GET", "/readyz")[0] for _ in range(20)} == {200}
        assert [w["pid"] for w in service.get("/health")["workers"] if w["version"]] == [survivor]
        begin = time.monotonic()
        service.stop()
        assert time.monotonic() - begin < 20, "the worker that waits for its package stops at once"


@pytest.mark.slow
def test_a_service_that_starts_before_the_first_promotion_waits_for_it(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    model = f"early_{output.parent.name[-8:]}"
    version = publish(served_settings, model, iris_models[0])
    with serving(served_settings, model, output, ready=False, **FAST) as service:
        service.until(lambda: service.request("GET", "/livez")[0] == 200)
        assert service.request("GET", "/readyz")[0] == 503
        status, answer = service.post("/predict", RECORD)
        assert (status, "no model is in Production yet" in answer["error"]) == (503, True)
        production_pointer(served_settings, model).promote(version, "first", "test")
        service.until_served(version)
        assert service.request("GET", "/readyz")[0] == 200
        assert service.post("/predict", RECORD)[1]["model"] == {"name": model, "version": version}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_swaps_leak_no_memory(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    pointer = published(served_settings, *iris_models)
    fast = ProductionPointer(served_settings, pointer.model)
    sizes: dict[int, int] = {}
    with serving(served_settings, pointer.model, output, RATCHET_POLL_INTERVAL="0.1") as service:
        for swap in range(1, 101):
            version = "2" if swap % 2 else "1"
            fast.promote(version, "turn", "test")
            service.until(
                lambda version=version: {w["version"] for w in service.get("/health")["workers"]} == {version}
            )  # type: ignore[misc]
            if swap in (10, 100):
                for _ in range(50):
                    assert service.post("/predict", RECORD)[0] == 200
                sizes[swap] = sum(resident(pid) for pid in service.workers)
    shutil.copy(output, output.with_suffix(".kept"))
    assert sizes[100] <= 1.1 * sizes[10], sizes


def resident(pid: int) -> int:
    """The resident memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def start_registry(settings: Settings, port: int, backend: str) -> subprocess.Popen[bytes]:
    """Start an MLflow server on the database of a home."""
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", backend]
    words += ["--artifacts-destination", str(settings.home / "artifacts")]
    env = environment(settings, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    env.pop("MLFLOW_TRACKING_URI")
    with (settings.home / "mlflow.log").open("ab") as log:
        process = subprocess.Popen(words, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def answers() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return bool(response.status == 200)

    wait_until(answers, 120, lambda: (settings.home / "mlflow.log").read_text()[-2000:])
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server and its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
