"""The life of the whole stack on a real engine, in the order in which it is lived: each test leaves it whole."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.containers.compose import ROOT, SECRETS, Project, wait_for
from tests.containers.conftest import FLOWERS

SERVICES = ["api", "evidently", "mlflow", "postgres", "s3", "watcher", "zenml"]
_SECONDS_OF_A_RUN = 400


def _counts(project: Project) -> dict[str, int]:
    return {table: project.rows(table) for table in ("predictions", "feedback", "promotions")}


def test_the_service_started_only_after_training_had_succeeded(project: Project) -> None:
    training = project.container("training")["State"]
    assert training["ExitCode"] == 0
    assert training["FinishedAt"] < project.container("api")["State"]["StartedAt"]
    assert project.running() == SERVICES


def test_a_version_knows_the_commit_of_its_image(project: Project) -> None:
    git = json.loads(project.once("lineage", "1", "--json"))["git"]
    commit, _, dirty = project.commit.partition("-")
    assert git == {"commit": commit, "dirty": bool(dirty)}


def test_a_prediction_is_answered_and_kept_in_postgresql(project: Project) -> None:
    answer = project.ask("/predict", FLOWERS["setosa"])
    assert answer["prediction"] == "setosa"
    assert project.rows("predictions", f"id = '{answer['prediction_id']}'") == 1


def test_artifacts_of_mlflow_and_zenml_lie_in_the_bucket_and_in_no_volume_of_theirs(project: Project) -> None:
    listed = project.compose("run", "--rm", "-T", "--no-deps", "bucket", "sh", "-c", "bucket save | tar -t")
    assert {"mlflow", "zenml"} <= {line.split("/")[0] for line in listed.splitlines()}


def test_the_service_follows_a_promotion_and_a_rollback(project: Project) -> None:
    project.once("--config", "variation_svm.yaml")
    assert project.served() == "1"
    project.once("promote", "2", "--reason", "right on 200 flowers of the new season")
    wait_for(lambda: project.served() == "2", "version 2 answers", 60)
    project.once("rollback", "--reason", "wrong on the newest batch")
    wait_for(lambda: project.served() == "1", "version 1 answers again", 60)


def test_training_again_leaves_the_service_alone(project: Project) -> None:
    version, started = project.served(), project.container("api")["State"]["StartedAt"]
    before = project.container("training")["State"]["FinishedAt"]
    project.compose("up", "--detach", "--build", "training", seconds=1800)
    wait_for(lambda: project.container("training")["State"]["Status"] == "exited", "training has ended")
    training = project.container("training")["State"]
    assert (training["ExitCode"], training["FinishedAt"] > before) == (0, True)
    assert (project.served(), project.container("api")["State"]["StartedAt"]) == (version, started)


def test_feedback_makes_the_watcher_train(project: Project) -> None:
    flowers = list(itertools.islice(itertools.cycle(FLOWERS.items()), 210))
    answered = project.ask("/predict_batch", {"rows": [row for _, row in flowers]}, 60)
    told = [
        {"prediction_id": one["prediction_id"], "target": label}
        for one, (label, _) in zip(answered["predictions"], flowers, strict=True)
    ]
    counts = project.ask("/feedback_batch", {"feedback": told}, 60)["counts"]
    assert counts["recorded"] == len(flowers)
    wait_for(
        lambda: project.rows("training_runs", "state in ('promoted', 'refused')"),
        "the watcher has made a run",
        _SECONDS_OF_A_RUN,
    )
    assert project.rows("training_runs", "state = 'failed'") == 0


def test_the_watcher_reports_in_evidentlys_pages(project: Project) -> None:
    def projects() -> Any:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{project.ports['EVIDENTLY']}/api/projects", timeout=10
        ) as answer:
            return json.load(answer)

    assert wait_for(projects, "Evidently shows a project", _SECONDS_OF_A_RUN)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_restarted_loses_nothing(project: Project, service: str) -> None:
    version, before = project.served(), project.rows("predictions")
    project.compose("restart", service)
    wait_for(lambda: project.container(service)["State"].get("Health", {}).get("Status", "healthy") == "healthy", "up")
    wait_for(lambda: project.ask("/predict", FLOWERS["virginica"]), "predictions are answered")
    assert project.served() == version
    assert wait_for(lambda: project.rows("predictions") > before, "what was answered is in PostgreSQL", 60)


def test_a_killed_postgresql_loses_no_prediction_that_was_acknowledged(project: Project) -> None:
    acknowledged: list[str] = []
    refused = itertools.count()
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            answer = project.ask("/predict", FLOWERS["versicolor"])
            if answer:
                acknowledged.append(answer["prediction_id"])
            else:
                next(refused)

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait_for(lambda: len(acknowledged) > 100, "load is on")
        project.compose("kill", "postgres")
        down_at, before = time.monotonic(), len(acknowledged)
        wait_for(lambda: time.monotonic() - down_at >= 20, "20 s have gone by", 30)
        while_down = len(acknowledged) - before
        project.compose("start", "postgres")
        wait_for(lambda: project.container("postgres")["State"]["Health"]["Status"] == "healthy", "PostgreSQL is back")
        back = len(acknowledged)
        wait_for(lambda: len(acknowledged) > back + 100, "load goes on")
    finally:
        over.set()
        for client in clients:
            client.join()
    newest = sorted(acknowledged)
    kept = f"id between '{newest[0]}' and '{newest[-1]}'"
    wait_for(lambda: project.rows("predictions", kept) >= len(newest), "the journal is in the store", 120)
    found = set(
        project.sh("postgres", f'psql -qAt -U ratchet -d ratchet -c "select id from predictions where {kept}"').split()
    )
    assert set(newest) <= found
    print(
        f"{len(newest)} acknowledged, {while_down} of them while PostgreSQL was down, {next(refused)} refused, 0 lost"
    )


def test_the_whole_project_comes_back_as_it_was(project: Project) -> None:
    version, before = project.served(), _counts(project)
    project.compose("down")
    project.up()
    assert project.served() == version
    after = _counts(project)
    # To come up again trains again, and the ledger has a line more.
    assert after.pop("promotions") >= before.pop("promotions")
    assert after == before


def test_monitoring_scrapes_the_service_and_knows_the_rules(project: Project) -> None:
    def asked(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{project.ports['PROMETHEUS']}{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def scraped() -> bool:
        try:
            found = asked("/api/v1/query?query=up%7Bjob%3D%22ratchet%22%7D")["result"]
        except OSError:
            return False
        return bool(found) and found[0]["value"][1] == "1"

    project.compose("--profile", "monitoring", "up", "--detach", "--no-deps", "prometheus", "alertmanager")
    wait_for(scraped, "Prometheus scrapes the service")
    assert asked("/api/v1/rules")["groups"]
    wait_for(lambda: asked("/api/v1/alertmanagers")["activeAlertmanagers"], "Prometheus has found Alertmanager")
    project.compose("--profile", "monitoring", "rm", "--stop", "--force", "prometheus", "alertmanager")


def test_a_backup_brings_everything_back_to_an_empty_machine(project: Project, tmp_path: Path) -> None:
    saved = str(tmp_path / "saved")
    project.run("deploy/backup", saved)
    version, before = project.served(), _counts(project)
    answered = project.ask("/predict", FLOWERS["setosa"])["prediction_id"]
    project.compose("down", "--volumes")
    project.run("deploy/restore", saved)
    wait_for(lambda: project.served() == version, "the version is served again")
    assert _counts(project) == before
    assert project.rows("predictions", f"id = '{answered}'") == 0, "what came after the back-up is not in it"
    assert "nothing is wrong" in project.once("doctor")
    # A promotion loads the package out of the bucket, and compares its digest and its golden predictions.
    project.once("promote", "2", "--reason", "the registry and the bucket are whole")
    wait_for(lambda: project.served() == "2", "the version out of the back-up answers", 60)


def test_a_damaged_backup_is_refused_before_anything_is_touched(project: Project, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  ratchet.dump\n")
    (tmp_path / "ratchet.dump").write_text("half")
    done = subprocess.run(["deploy/restore", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("is damaged: nothing was restored\n")
    assert project.served()


@pytest.mark.parametrize("name", SECRETS)
def test_compose_refuses_to_start_while_a_secret_is_missing(project: Project, tmp_path: Path, name: str) -> None:
    lines = project.env_file.read_text().splitlines(keepends=True)
    without = tmp_path / "env"
    without.write_text("".join(line for line in lines if not line.startswith(f"{name}=")))
    done = subprocess.run(
        ["docker", "compose", "--env-file", str(without), "--profile", "monitoring", "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"required variable {name} is missing a value: run sh deploy/secrets" in done.stderr
