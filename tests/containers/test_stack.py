"""The life of the whole stack on a real engine, in the order in which it is lived: each test leaves it whole."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.ci.pipeline import JOBS
from tests.containers.compose import ROOT, SECRETS, Project, wait_for
from tests.containers.conftest import FLOWERS
from tests.containers.test_hardening import hardened

BACKUPS = ROOT / "backups"
SERVICES = ["api", "evidently", "mlflow", "postgres", "s3", "watcher", "zenml"]
_SECONDS_OF_A_RUN = 400
# What lies about in a checkout, and belongs into no image.
PLANTED = (".env", "configs/.env.local", ".dvc/config.local", "data/prod_data.csv", ".git/config")


def _at_least(after: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether all that was there is there, and perhaps more."""
    return all(after[name] >= value for name, value in before.items())


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


def test_changed_data_are_trained_on_and_the_service_follows_by_itself(project: Project, tmp_path: Path) -> None:
    tree = _changed_copy(tmp_path / "tree")
    started = project.container("api")["State"]["StartedAt"]
    there = ["--project-directory", str(tree), "-f", str(tree / "docker-compose.yml")]
    project.compose(*there, "up", "--build", "training", seconds=1800)
    assert project.container("training")["State"]["ExitCode"] == 0
    wait_for(lambda: project.served() == "3", "the version of the changed data answers", 60)
    assert project.container("api")["State"]["StartedAt"] == started
    found = project.compose("run", "--rm", "-T", "--no-deps", "training", "find", ".", "-type", "f")
    assert "./data/flowers.csv" in found
    assert [name for name in PLANTED if f"./{name}" in found] == []
    project.once("rollback", "--reason", "the flowers were drawn by lot")
    wait_for(lambda: project.served() == "1", "version 1 answers again", 60)
    project.compose("build", "training", seconds=1800)


def _changed_copy(tree: Path) -> Path:
    """The project with a data set of its own, and with files that belong into no image."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name, follow_symlinks=False)
    header = "sepal_length,sepal_width,petal_length,petal_width,species\n"
    rows = (
        ",".join(str(value + 0.01 * (number % 7)) for value in row.values()) + f",{label}\n"
        for number, (label, row) in enumerate(itertools.islice(itertools.cycle(FLOWERS.items()), 120))
    )
    (tree / "data" / "flowers.csv").write_text(header + "".join(rows))
    config = (tree / "configs" / "iris" / "baseline.yaml").read_text()
    config = re.sub(
        r"^dataset: .*", "dataset: {source: csv, path: data/flowers.csv, target: species}", config, flags=re.MULTILINE
    )
    config = re.sub(r"^promote: .*", "promote: {policy: always}", config, flags=re.MULTILINE)
    (tree / "configs" / "iris" / "baseline.yaml").write_text(config)
    for name in PLANTED:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("secret")
    return tree


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
    version, before, held = project.served(), project.rows("predictions"), project.stored()
    project.compose("restart", service)
    wait_for(lambda: project.container(service)["State"].get("Health", {}).get("Status", "healthy") == "healthy", "up")
    wait_for(lambda: project.ask("/predict", FLOWERS["virginica"]), "predictions are answered")
    assert project.served() == version
    assert wait_for(lambda: project.rows("predictions") > before, "what was answered is in PostgreSQL", 60)
    assert _at_least(project.stored(), held)


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
        assert while_down > 0
    finally:
        over.set()
        for client in clients:
            client.join()
    newest = sorted(acknowledged)
    kept = f"id between '{newest[0]}' and '{newest[-1]}'"
    wait_for(lambda: project.rows("predictions", kept) >= len(newest), "the journal is in the store", 120)
    found = set(
        project.sh("postgres", f'psql -qAt -U postgres -d ratchet -c "select id from predictions where {kept}"').split()
    )
    assert set(newest) <= found
    print(
        f"{len(newest)} acknowledged, {while_down} of them while PostgreSQL was down, {next(refused)} refused, 0 lost"
    )


def test_the_whole_project_comes_back_as_it_was(project: Project) -> None:
    version, before = project.served(), project.stored()
    project.compose("down")
    project.up()
    assert project.served() == version
    # To come up again trains again, so that there is a version more.
    assert _at_least(project.stored(), before)


def test_without_a_training_that_succeeds_the_service_does_not_start(project: Project, tmp_path: Path) -> None:
    fails = tmp_path / "fails.yml"
    fails.write_text("services: {training: {command: ['false']}}")
    project.compose("rm", "--stop", "--force", "api", "training")
    with pytest.raises(AssertionError, match='service "training" didn\'t complete successfully: exit 1'):
        project.compose("-f", "docker-compose.yml", "-f", str(fails), "up", "--detach", "--no-build", "api")
    assert "api" not in project.running()
    # The version in Production can be served all the same.
    project.up("--no-build", "--no-deps", "api")
    project.compose("rm", "--force", "training")


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
    for service in ("prometheus", "alertmanager"):
        assert hardened(project, service)
    wait_for(lambda: asked("/api/v1/alertmanagers")["activeAlertmanagers"], "Prometheus has found Alertmanager")
    project.compose("--profile", "monitoring", "rm", "--stop", "--force", "prometheus", "alertmanager")


def test_a_backup_brings_everything_back_to_an_empty_machine(project: Project, tmp_path: Path) -> None:
    saved = str(tmp_path / "saved")
    project.run("deploy/backup", saved)
    version, before = project.served(), project.stored()
    answered = project.ask("/predict", FLOWERS["setosa"])["prediction_id"]
    project.compose("down", "--volumes")
    project.new_secrets()
    project.run("deploy/restore", saved)
    wait_for(lambda: project.served() == version, "the version is served again")
    assert project.stored() == before
    assert project.rows("predictions", f"id = '{answered}'") == 0, "what came after the back-up is not in it"
    assert "nothing is wrong" in project.once("doctor")
    # A promotion loads the package out of the bucket, and compares its digest and its golden predictions.
    project.once("promote", "2", "--reason", "the registry and the bucket are whole")
    wait_for(lambda: project.served() == "2", "the version out of the back-up answers", 60)
    assert "in Production" in project.once("--config", "variation_random_forest.yaml"), "ZenML takes the new password"


def test_gitlabs_deploy_backs_up_what_runs_and_brings_the_new_images_up(project: Project) -> None:
    """The script of the job, but for its pull: there is no registry to pull from."""
    script = [line for line in JOBS["deploy"]["script"] if "pull" not in line]
    assert len(script) == 3
    before, version = set(BACKUPS.glob("*")), project.served()
    project.run("env", f"COMPOSE_ENV={project.env_file}", "sh", "-ec", "\n".join(script))
    [saved] = set(BACKUPS.glob("*")) - before
    try:
        assert {"ratchet.dump", "mlflow.dump", "bucket.tar", "SHA256SUMS"} < {path.name for path in saved.iterdir()}
    finally:
        shutil.rmtree(saved)
    wait_for(lambda: project.served() == version, "the same version answers")
    assert "nothing is wrong" in project.once("doctor")


def test_nothing_is_restored_while_a_job_of_a_person_may_write(project: Project, tmp_path: Path) -> None:
    saved, job = str(tmp_path / "saved"), f"job-of-{project.ports['API']}"
    project.run("deploy/backup", saved)
    project.compose("run", "--detach", "--rm", "--no-deps", "--name", job, "training", "sleep", "600")
    try:
        said = project.run("sh", "-c", f"deploy/restore '{saved}' 2>&1", check=False)
    finally:
        project.run("docker", "kill", job)
    assert said == f"error: {job} may write: wait for it, or docker stop it; nothing was restored\n"
    assert project.served()


def test_a_damaged_backup_is_refused_before_anything_is_touched(project: Project, tmp_path: Path) -> None:
    files = ("ratchet.dump", "mlflow.dump", "studies.dump", "zenml.db", "bucket.tar")
    for name in files:
        (tmp_path / name).write_text("half")
    (tmp_path / "SHA256SUMS").write_text("".join(f"{'0' * 64}  {name}\n" for name in files))
    done = subprocess.run(["deploy/restore", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("is damaged; nothing was restored\n")
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
