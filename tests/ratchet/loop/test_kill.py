"""Repeated ``kill -9`` of watcher, service and training in one stream of labelled rows."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ratchet.loop.training_runs import TrainingRuns
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.store.prediction_rows import PredictionRows
from ratchet.store.tables import feedback, promotions
from simulation.stream import Example
from tests.conftest import ROOT
from tests.process_groups import kill_group
from tests.ratchet.loop.production import simulation_of, take
from tests.serving.running import Service, environment, free_port, wait_until

MODEL = "killed"
K = 60
RUNS = 3
KILLS = 20
OVERRIDES = (
    *("--set", f"model={MODEL}"),
    *("--set", f"triggers={{every_k_labels: {K}, minimum_labels: 1, cooldown: 0, interval: 0.5}}"),
    *("--set", "report=false"),
)


def own_environment(settings: Settings) -> dict[str, str]:
    """Return the environment without the variables that MLflow and ZenML set for other homes."""
    inherited = environment(settings)
    return {name: value for name, value in inherited.items() if not name.startswith(("ZENML_", "MLFLOW_TRACKING"))}


@dataclass
class Killed:
    """Processes that are restarted when they end."""

    settings: Settings
    folder: Path
    port: int
    stopped: threading.Event = field(default_factory=threading.Event)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: list[str] = field(default_factory=list)

    def keep_alive(self) -> None:
        while not self.stopped.is_set():
            for name in ("serve", "watch"):
                process = self.processes.get(name)
                if process is None or process.poll() is not None:
                    self.processes[name] = self.start(name)
            self.stopped.wait(0.1)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        words = {
            "serve": ["serve", "--port", str(self.port), "--workers", "2", "--model", MODEL],
            "watch": ["watch", "--config", "continuous_training.yaml", *OVERRIDES],
        }
        with (self.folder / f"{name}.log").open("ab") as output:
            command = [sys.executable, str(ROOT / "run.py"), *words[name]]
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=own_environment(self.settings),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, victim: str) -> bool:
        """Kill one with SIGKILL: the whole process group of the service, of watch and training the one process."""
        with contextlib.suppress(KeyError, ProcessLookupError, IndexError):
            if victim == "train":
                os.kill(self._training()[0], signal.SIGKILL)
            elif victim == "serve":
                os.killpg(self.processes["serve"].pid, signal.SIGKILL)
            else:
                os.kill(self.processes["watch"].pid, signal.SIGKILL)
            self.kills.append(victim)
            return True
        return False

    def _training(self) -> list[int]:
        """Return the process of a run, of any watcher."""
        home, found = str(self.settings.home).encode(), []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                if b"--config" in words and b"watch" not in words and home in (path / "environ").read_bytes():
                    found.append(int(path.name))
        return found

    def stop(self) -> None:
        self.stopped.set()
        for process in self.processes.values():
            kill_group(process.pid)
            process.wait(30)
        for pid in self._training():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def killed(settings: Settings, folder: Path) -> Iterator[Killed]:
    processes = Killed(settings, folder, free_port())
    keeper = threading.Thread(target=processes.keep_alive)
    keeper.start()
    try:
        yield processes
    finally:
        processes.stopped.set()
        keeper.join()
        processes.stop()


def kill_at_random(processes: Killed, generator: random.Random) -> None:
    """Kill at random points: a run if there is one, else one of the others."""
    while len(processes.kills) < KILLS and not processes.stopped.is_set():
        processes.stopped.wait(generator.uniform(0.5, 6.0))
        victim = generator.choice(["train", "train", "watch", "serve"])
        if not processes.kill(victim):
            processes.kill(generator.choice(["watch", "serve"]))


def send(service: Service, example: Example) -> None:
    """Send one row and its label, and retry until the service answers."""
    answered = persist(service, "/predict", example.record)
    sent = {"prediction_id": answered["prediction_id"], "target": example.label}
    recorded = persist(service, "/feedback", sent)
    assert recorded["target"] == example.label


def persist(service: Service, path: str, body: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def asked() -> bool:
        status, answer = service.post(path, body)
        found.update(answer)
        return status in (200, 201)

    wait_until(asked, 90, lambda: json.dumps(found))
    return found


def stream(settings: Settings, processes: Killed, runs: TrainingRuns, disturbed: random.Random | None) -> None:
    """Repeatedly send k labels and wait for their run to end."""
    wait_until(lambda: "serve" in processes.processes, 10)
    service = Service(processes.processes["serve"], processes.port, processes.folder / "serve.log")
    killer = threading.Thread(target=kill_at_random, args=(processes, disturbed)) if disturbed else None
    if killer:
        killer.start()
    for number, example in enumerate(take(simulation_of(MODEL, "labels.share=1"), 300, K * RUNS), 1):
        send(service, example)
        if number % K == 0:
            wait_for_runs(runs, number // K, processes.folder / "watch.log")
    if killer:
        # The remaining kills hit an idle loop, whose state must not change.
        killer.join()


def wait_for_runs(runs: TrainingRuns, count: int, log: Path) -> None:
    def have_ended() -> bool:
        return sum(run.state != "open" for run in runs.history(10)) >= count

    wait_until(have_ended, 240, lambda: log.read_text()[-3000:])


def state(store: Store) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[Any]]:
    """Return runs, decisions and labels, without ids and times."""
    history = reversed(TrainingRuns(store, MODEL).history(99))
    runs = [(run.watermark, run.state, run.snapshot, run.outcome) for run in history]
    with store.reading() as connection:
        decided = connection.execute(
            sa.select(promotions.c.operation_id, promotions.c.state, promotions.c.reason)
            .where(promotions.c.model == MODEL, promotions.c.operation_id.like("continuous%"))
            .order_by(promotions.c.id)
        ).all()
        labels = connection.execute(
            sa.select(feedback.c.prediction_id, feedback.c.target).order_by(feedback.c.seq)
        ).all()
        rows = PredictionRows(connection, "features").find_many(found for found, _ in labels)
    return runs, [tuple(row) for row in decided], [(rows[found]["features"], target) for found, target in labels]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_stream_with_twenty_kills_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    ends = []
    for name, disturbed in {"calm": None, "stormy": random.Random(7)}.items():
        settings = Settings(home=tmp_path / name, models_dir=tmp_path / name / "models")
        trained = subprocess.run(
            [sys.executable, "run.py", "--config", "baseline.yaml", "--set", f"model={MODEL}"],
            cwd=ROOT,
            env=own_environment(settings),
            capture_output=True,
            text=True,
            check=False,
        )
        assert trained.returncode == 0, trained.stderr
        store = open_store(settings)
        with killed(settings, tmp_path / name) as processes:
            stream(settings, processes, TrainingRuns(store, MODEL), disturbed)
            if disturbed:
                assert len(processes.kills) == KILLS
                assert set(processes.kills) == {"train", "watch", "serve"}
        ends.append(state(store))
        pointer = ProductionPointer(settings, MODEL)
        pointer.recover()
        last = pointer.ledger.last_completed()
        current = pointer.current()
        assert current.version == last.to_version
    (calm_runs, calm_decisions, calm_labels), (stormy_runs, stormy_decisions, stormy_labels) = ends
    assert stormy_labels == calm_labels, "acknowledged feedback is there, once, in its order"
    assert len(calm_labels) == K * RUNS
    assert [run[0] for run in stormy_runs] == [K, 2 * K, 3 * K], "one run for each watermark"
    assert stormy_runs == calm_runs
    assert stormy_decisions == calm_decisions, "each decided once"
