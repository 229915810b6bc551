"""Studies from the command line, killed studies, and workers that die."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ratchet.config.files import load_config
from ratchet.config.tuning import TuningConfig
from ratchet.data import dataset_version, load_dataset
from ratchet.errors import UnavailableError
from ratchet.experiments.tuning.study import run_study
from ratchet.experiments.tuning.study_storage import open_study
from ratchet.experiments.tuning.summary import StudySummary, TrialRecord
from ratchet.model.tasks import TASKS
from ratchet.settings import Settings
from ratchet.tracking import connect
from tests.conftest import ROOT, Cli, new_database, of_no_home
from tests.homes import prepared
from tests.process_groups import kill_group
from tests.ratchet.experiments.test_tuning import outcomes
from tests.serving.running import wait_until

pytestmark = pytest.mark.slow
IRIS, FRAUD = ROOT / "configs/iris/tuning.yaml", ROOT / "configs/fraud/tuning.yaml"


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(home=folder / "home", models_dir=folder / "models", **more)


def env_in(folder: Path, **more: str) -> dict[str, str]:
    if not (folder / "home").exists():
        prepared(folder / "home")
    return {"RATCHET_HOME": f"{folder}/home", "RATCHET_MODELS_DIR": f"{folder}/models", **more}


def ended(settings: Settings, path: Path, *overrides: str) -> list[dict[str, Any]]:
    """The trials of a study that have ended, without their times."""
    config: TuningConfig = load_config(path, overrides)
    with open_study(settings, config, dataset_version(config.dataset)) as stored:
        return [trial.model_dump(exclude={"began", "ended"}) for trial in stored.ended()]


def figure(output: str, title: str) -> float:
    found = re.search(rf"^ *{title} +([\d.]+)", output, re.MULTILINE)
    assert found, output
    return float(found[1])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uninterrupted")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "path", [pytest.param(IRIS, id="iris"), pytest.param(FRAUD, id="fraud", marks=pytest.mark.exhaustive)]
)
def test_twenty_trials_are_as_good_as_the_baseline_and_the_best_is_trained_and_gated(
    cli: Cli, uninterrupted: Path, path: Path
) -> None:
    config = load_config(path)
    folder = uninterrupted / config.model
    done = cli("--config", str(path), **env_in(folder))
    assert done.returncode == 0, done.stderr
    metric = config.evaluate.primary_metric
    assert figure(done.stdout, f"{metric}, validation") >= figure(done.stdout, "baseline")
    assert figure(done.stdout, metric) >= config.evaluate.minimum
    assert len(ended(settings_in(folder), path)) == 20
    runs = connect(settings_in(folder)).search_runs(
        [connect(settings_in(folder)).get_experiment_by_name(config.model).experiment_id],
        "tags.`ratchet.study` LIKE '%'",
    )
    parents = [run for run in runs if "trials_complete" in run.data.metrics]
    nested = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    trained = [run for run in runs if "ratchet.outcome" in run.data.tags]
    assert (len(parents), len(nested), len(trained)) == (1, 20, 1)
    assert load_config(folder / "models" / config.model / "best.yaml").pipeline == "training"
    assert cli("--config", str(path.with_name("baseline.yaml")), **env_in(folder)).returncode == 0
    compared = cli("compare", "--model", config.model, "--json", "--no-log", **env_in(folder))
    names = sorted(row["config"] for row in json.loads(compared.stdout)["rows"])
    study = trained[0].data.tags["ratchet.study"]
    assert names == ["baseline", f"tuning (trial {trained[0].data.tags['ratchet.trial']} of {study})"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", ["after_proposals", pytest.param("after_trial_9", marks=pytest.mark.exhaustive)])
def test_a_study_that_is_killed_and_run_again_ends_with_the_twenty_trials_of_an_uninterrupted_one(
    cli: Cli, tmp_path: Path, uninterrupted: Path, place: str
) -> None:
    if not (uninterrupted / "iris" / "home").exists():
        assert cli("--config", str(IRIS), **env_in(uninterrupted / "iris")).returncode == 0
    killed = cli("--config", str(IRIS), **env_in(tmp_path, RATCHET_FAILPOINT=place))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(ended(settings_in(tmp_path), IRIS)) < 20
    again = cli("--config", str(IRIS), **env_in(tmp_path))
    assert again.returncode == 0, again.stderr
    assert ended(settings_in(tmp_path), IRIS) == ended(settings_in(uninterrupted / "iris"), IRIS)
    client = connect(settings_in(tmp_path))
    experiment = client.get_experiment_by_name("iris").experiment_id
    nested = client.search_runs([experiment], "tags.`mlflow.parentRunId` LIKE '%'")
    assert len(nested) == 20
    assert len({run.data.tags["mlflow.parentRunId"] for run in nested}) == 1


def is_gone(group: int) -> bool:
    """Whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.timeout(300)
def test_ctrl_c_ends_with_status_130_and_leaves_no_process_behind(tmp_path: Path) -> None:
    words = ["--config", str(IRIS), "--set", "search.trials=2000", "--set", "compute={engine: processes, workers: 2}"]
    env = of_no_home() | env_in(tmp_path)
    with subprocess.Popen(
        [sys.executable, "run.py", *words], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output = next(line for line in process.stderr if line.startswith("  trial 4 "))
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            output += process.stderr.read()  # ends when the last process that has it open ends
            assert process.wait(60) == 130
            wait_until(lambda: is_gone(process.pid), 30)  # multiprocessing's resource tracker ends last
        finally:
            kill_group(process.pid)  # the end of the outer block waits without a limit
    assert "RunInterruptedException" not in output


def study_of(folder: Path, killing: Any = None, **changes: Any) -> StudySummary:
    """The study of iris without a pipeline around it."""
    config = load_config(IRIS)
    config = TuningConfig.model_validate(config.model_dump() | changes)
    data = load_dataset(config.dataset, config.task)
    train, _ = TASKS[config.task].split(data.frame, data.schema, config.split, config.seed)
    listener = killing or (lambda _: None)
    return run_study(config, train, data.schema, data.data_version, settings_in(folder), listener)


def cluster_of(workers: int) -> Any:
    """Start a Dask cluster on this machine."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL",
    )


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> StudySummary:
    return study_of(tmp_path_factory.mktemp("serial"))


@pytest.mark.timeout(300)
def test_a_dask_worker_that_is_killed_costs_no_trial(tmp_path: Path, serial: StudySummary) -> None:
    from distributed import Client

    with cluster_of(2) as cluster, Client(cluster) as client:
        workers = list(client.run(os.getpid).values())
        killed: list[int] = []

        def kill_one(record: TrialRecord) -> None:
            if not killed:
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)

        compute = {"engine": "dask", "address": cluster.scheduler_address}
        summary = study_of(tmp_path, kill_one, compute=compute)
        assert workers[0] not in client.run(os.getpid).values()
    assert len(set(workers)) == 2
    assert outcomes(summary) == outcomes(serial)
    assert summary.best.number == serial.best.number
    assert len(summary.trials) == 20


def test_a_cluster_without_workers_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.experiments.tuning.fold_workers._CONNECT", 10.0)
    with cluster_of(0) as cluster:
        compute = {"engine": "dask", "address": cluster.scheduler_address}
        with pytest.raises(UnavailableError, match="has no worker: start one with `python -m dask worker tcp://"):
            study_of(tmp_path, compute=compute)


def test_a_server_that_is_no_scheduler_is_one_line_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.experiments.tuning.fold_workers._CONNECT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        compute = {"engine": "dask", "address": f"tcp://127.0.0.1:{silent.getsockname()[1]}"}
        with pytest.raises(UnavailableError, match="no Dask scheduler answers at .*no handshake within 1 s"):
            study_of(tmp_path, compute=compute)
    with pytest.raises(UnavailableError, match="no Dask scheduler answers at tls://127.0.0.1:1"):
        study_of(tmp_path, compute={"engine": "dask", "address": "tls://127.0.0.1:1"})


@pytest.mark.timeout(300)
def test_a_cluster_that_loses_its_last_worker_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.experiments.tuning.fold_workers._CONNECT", 10.0)
    with cluster_of(1) as cluster:

        def end_all(record: TrialRecord) -> None:
            if record.number == 4:
                cluster.scale(0)

        compute = {"engine": "dask", "address": cluster.scheduler_address}
        with pytest.raises(UnavailableError, match="has lost all its workers: start one with `python -m dask worker"):
            study_of(tmp_path, end_all, compute=compute, search=load_config(IRIS).search.model_dump() | {"trials": 200})


@pytest.mark.timeout(300)
def test_a_cluster_that_is_started_as_documented_gives_the_same_trials(
    tmp_path: Path, serial: StudySummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.experiments.tuning.fold_workers._CONNECT", 90.0)  # two processes have to start
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask, here = [sys.executable, "-m", "dask"], ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    processes = [
        subprocess.Popen([*dask, *words, *here], cwd=ROOT, stderr=subprocess.DEVNULL)
        for words in (
            ["scheduler", "--port", address.rpartition(":")[2]],
            ["worker", address, "--nthreads", "1", "--nworkers", "1", "--local-directory", str(tmp_path)],
        )
    ]
    try:
        wait_until(lambda: listens(address), 90)
        summary = study_of(tmp_path, compute={"engine": "dask", "address": address})
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in reversed(processes):
            process.wait(30)
    assert outcomes(summary) == outcomes(serial)


def listens(address: str) -> bool:
    """Whether a server listens at an address of Dask; raises OSError if none does."""
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 10):
        return True


def workers_of_this_process() -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid is not None]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["processes", pytest.param("dask", marks=pytest.mark.exhaustive)])
def test_a_process_that_is_killed_is_replaced_and_costs_no_trial(
    tmp_path: Path, serial: StudySummary, engine: str
) -> None:
    killed: list[int] = []

    def kill_one(record: TrialRecord) -> None:
        if record.number >= 4 and not killed:
            killed.append(workers_of_this_process()[0])
            os.kill(killed[0], signal.SIGKILL)
            wait_until(lambda: len(set(workers_of_this_process()) - set(killed)) == 2, 60)

    summary = study_of(tmp_path, kill_one, compute={"engine": engine, "workers": 2})
    assert killed
    assert workers_of_this_process() == [], "they end with the study"
    assert outcomes(summary) == outcomes(serial)


@pytest.mark.timeout(300)
def test_the_command_line_keeps_a_study_in_postgresql(
    here: Cli, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(postgres, "tuning_cli")
    monkeypatch.setenv("RATCHET_STUDY_URL", url)
    words = ("--config", str(IRIS), "--set", "model=postgresql_study")
    done = here(*words)
    assert done.returncode == 0, done.stderr
    assert len(ended(Settings(study_url=url), IRIS, "model=postgresql_study")) == 20
    assert "20 (0 in this run)" in here(*words).stdout


def test_wrong_input_is_one_line_and_nothing_is_written(here: Cli, scratch: Settings) -> None:
    done = here("--config", str(IRIS), "--set", "search.space={}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "the space is empty" in done.stderr
    assert not scratch.home.exists()


def test_a_dry_run_prints_space_and_plan_and_writes_nothing(here: Cli, scratch: Settings) -> None:
    done = here("--config", str(IRIS), "--dry-run")
    assert done.returncode == 0, done.stderr
    for line in ("# space:", "#   train.params.C: ", "# trials: 20 of 5 folds, 4 at a time", "# baseline: trial 0"):
        assert line in done.stdout
    assert not scratch.home.exists()
