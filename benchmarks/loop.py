"""What the loop costs: from the label that begins a run to the first answer of the new version, and a look for nothing.

Run as ``.venv/bin/python benchmarks/loop.py [--rounds N]``. In each round, in turn and in homes of their own: the
command that a person would type (``run.py --config continuous_training.yaml``), and the same run begun by ``watch``,
with the real service, from the answer to the k-th label on. Then what one look of ``watch`` costs where there is
nothing to do, in stores of a thousand, a hundred thousand and a million labelled rows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import ROOT, Target, describe_machine, rounds_asked_for, write_result

from ratchet.config.files import load_config
from ratchet.data import load_dataset
from ratchet.loop.decisions import Decider
from ratchet.loop.training_runs import TrainingRuns
from ratchet.settings import Settings, quiet_environment
from ratchet.store.database import Store, open_store
from ratchet.store.tables import drift_results, feedback, predictions, quality_results, training_runs
from simulation.stream import Stream

K = 200
POLL = 1.0
INTERVAL = 1.0
LOOP = ("--set", f"triggers={{every_k_labels: {K}, cooldown: 0, interval: {INTERVAL}}}", "--set", "report=false")
SIZES = (1_000, 100_000, 1_000_000)
LOOKS = 20
_BLOCK = 20_000
_ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}


def main() -> None:
    """Measure, print, and write the result file."""
    quiet_environment()
    rounds = rounds_asked_for(__doc__, default=3)
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as name:
        folder = Path(name)
        settings = _settings(folder / "trained")
        _run(settings, "--config", "baseline.yaml")
        parts = [_round(folder / f"round-{number}") for number in range(rounds)]
        looks = _looks(settings, folder)
    middle = {key: statistics.median(part[key] for part in parts) for key in parts[0]}
    for key, value in middle.items():
        print(f"{key:<44} {value:7.2f} s  (median of {rounds})")
    for size, milliseconds in looks.items():
        print(f"a look for nothing, {size:>9,} labelled rows       {milliseconds:7.2f} ms (median of {LOOKS})")
    ratio = statistics.median((part["label to answer"] - POLL) / part["the command alone"] for part in parts)
    targets = [
        Target("k-th label to first answer, less the poll interval / the run's own time", ratio, 1.5, "at_most", "x"),
        Target("a look where there is nothing to do, 1,000,000 rows", looks[SIZES[-1]], 50.0, "at_most", "ms"),
        Target("a look at 1,000,000 rows / at 1,000", looks[SIZES[-1]] / looks[SIZES[0]], 1.5, "at_most", "x"),
    ]
    for target in targets:
        print(f"{target.name}: {target.value:.2f} {target.unit}, at most {target.limit:g}")
    write_result(
        "loop",
        describe_machine(),
        rounds,
        targets,
        seconds=middle,
        milliseconds_a_look={str(size): value for size, value in looks.items()},
        poll_interval=POLL,
        watch_interval=INTERVAL,
        k=K,
    )


def _settings(home: Path) -> Settings:
    return Settings(home=home, models_dir=home / "models", poll_interval=POLL)


def _environment(settings: Settings) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RATCHET_", "MLFLOW_", "ZENML_"))}
    home = {"RATCHET_HOME": str(settings.home), "RATCHET_MODELS_DIR": str(settings.models_dir)}
    return {**env, **home, "RATCHET_POLL_INTERVAL": str(POLL), "RATCHET_LOG_LEVEL": "WARNING"}


def _run(settings: Settings, *words: str) -> float:
    begun = time.perf_counter()
    command = [sys.executable, str(ROOT / "run.py"), *words]
    done = subprocess.run(command, env=_environment(settings), capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - begun


def _round(folder: Path) -> dict[str, float]:
    """One run begun by watch, with its parts, and the same run as a command of its own."""
    folder.mkdir()
    settings = _settings(folder / "home")
    _run(settings, "--config", "baseline.yaml")
    port = _free_port()
    with _process(settings, "serve", "--port", str(port)), _until_serving(port):
        examples = Stream(_stream(), load_dataset(_stream().dataset, "classification"))
        rows = [examples.example(index) for index in range(300, 300 + K)]
        said = [
            {"prediction_id": _post(port, "/predict", row.record)["prediction_id"], "target": row.truth} for row in rows
        ]
        for one in said[:-1]:
            _post(port, "/feedback", one)
        store = open_store(settings)
        with _process(settings, "watch", "--config", "continuous_training.yaml", *LOOP):
            _wait(
                lambda: (
                    (folder / "watch.log").stat().st_size > 0 and "nothing to do" in (folder / "watch.log").read_text()
                )
            )
            _post(port, "/feedback", said[-1])
            labelled = time.time()
            while _post(port, "/predict", rows[0].record)["model"]["version"] == "1":
                time.sleep(0.005)
            answered = time.time()
            runs = TrainingRuns(store, "iris")
            _wait(lambda: runs.unfinished() is None)
            run = runs.last()
        if run is None or run.state != "promoted":
            raise RuntimeError(f"the run did not promote: {run}")
        promoted = _promoted_at(store)
        # The same run as a command: the same labels, which have had their run under another config.
        with store.transaction() as connection:
            connection.execute(sa.update(training_runs).values(config_hash="bench"))
        alone = _run(
            settings, "--config", "continuous_training.yaml", "--no-cache", *LOOP, "--set", "promote.policy=always"
        )
    shutil.rmtree(folder)
    return {
        "label to answer": answered - labelled,
        "  label to decision": run.created_at - labelled,
        "  decision to promotion": promoted - run.created_at,
        "  promotion to first answer": answered - promoted,
        "the command alone": alone,
    }


def _promoted_at(store: Store) -> float:
    from ratchet.registry.promotion_ledger import Ledger

    entry = Ledger(store, "iris").last_completed()
    if entry is None or entry.ended_at is None:
        raise RuntimeError("nothing was promoted")
    return entry.ended_at


def _stream() -> Any:
    return load_config(ROOT / "configs" / "simulate.yaml", ["labels.share=1"])


@contextlib.contextmanager
def _process(settings: Settings, *words: str) -> Iterator[None]:
    with (settings.home.parent / f"{words[0]}.log").open("wb") as log:
        command = [sys.executable, str(ROOT / "run.py"), *words]
        process = subprocess.Popen(command, env=_environment(settings), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@contextlib.contextmanager
def _until_serving(port: int) -> Iterator[None]:
    def ready() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
        return False

    _wait(ready)
    yield


def _wait(condition: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("it did not come true in time")
        time.sleep(0.05)


def _post(port: int, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", orjson.dumps(body), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return orjson.loads(response.read())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _looks(trained: Settings, folder: Path) -> dict[int, float]:
    """Milliseconds of a look in stores of growing size, asked in turn."""
    config = load_config(ROOT / "configs" / "continuous_training.yaml", ["triggers.cooldown=0"])
    deciders = {}
    for size in SIZES:
        settings = _settings(folder / f"store-{size}")
        settings.home.mkdir()
        shutil.copy(trained.home / "mlflow.db", settings.home / "mlflow.db")
        store = open_store(settings)
        _copy_ledger(trained, settings)
        _fill(store, size)
        deciders[size] = Decider(config, settings)
    times: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn in range(-2, LOOKS):
        for size, decider in deciders.items():
            begun = time.perf_counter()
            line = decider.decide().line
            if turn >= 0:
                times[size].append((time.perf_counter() - begun) * 1000)
            if "nothing to do" not in line:
                raise RuntimeError(line)
    return {size: statistics.median(values) for size, values in times.items()}


def _copy_ledger(trained: Settings, settings: Settings) -> None:
    from ratchet.store.tables import promotions

    with open_store(trained).reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sa.select(promotions))]
    with open_store(settings).transaction() as connection:
        connection.execute(sa.insert(promotions), rows)


def _fill(store: Store, size: int) -> None:
    """So many labelled rows that triggers have seen already, and a handful that they have not."""
    now = time.time()
    for block in _blocks(size):
        with store.transaction() as connection:
            connection.execute(sa.insert(predictions), [_predicted(number, now) for number in block])
            connection.execute(sa.insert(feedback), [_labelled(number, now) for number in block])
    seen = size - 10
    with store.transaction() as connection:
        shared = {"model": "iris", "version": "1", "n_rows": 200, "created_at": now}
        connection.execute(
            sa.insert(drift_results).values(
                **shared,
                kind="production",
                last_prediction=_id(seen),
                detected=False,
                share=0.0,
                report={"figures": {}},
            )
        )
        figures = {"metric": "f1_macro", "value": 0.95, "low": 0.9, "high": 1.0, "dropped": False}
        connection.execute(
            sa.insert(quality_results).values(**shared, **figures, last_seq=seen, report={"reason": "f1_macro 0.95"})
        )
        ended = {"state": "refused", "reason": "bench", "attempts": 1, "created_at": now, "ended_at": now}
        connection.execute(sa.insert(training_runs).values(model="iris", watermark=seen, config_hash="x", **ended))


def _blocks(size: int) -> Iterator[Sequence[int]]:
    return (range(start, min(start + _BLOCK, size + 1)) for start in range(1, size + 1, _BLOCK))


def _id(number: int) -> str:
    return f"{number:036d}"


def _predicted(number: int, now: float) -> dict[str, Any]:
    return {
        "id": _id(number),
        "created_at": now,
        "model": "iris",
        "version": "1",
        "features": _ROW,
        "prediction": "setosa",
        "score": 0.9,
        "probabilities": {"setosa": 0.9, "versicolor": 0.1, "virginica": 0.0},
        "latency": 0.001,
    }


def _labelled(number: int, now: float) -> dict[str, Any]:
    shared = {"model": "iris", "version": "1", "target": "setosa", "correct": True, "source": "user"}
    return {"prediction_id": _id(number), "revision": 1, "created_at": now, **shared}


if __name__ == "__main__":
    main()
