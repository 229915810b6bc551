"""Answers a second, beside what else serves the same models, and beside what this machine can do at all.

Run as ``.venv/bin/python benchmarks/serving.py [--rounds N] [--only NAME,…]``; it needs wrk (``apt-get install wrk``).
Two pipelines are trained by ``run.py`` into a scratch home: a logistic regression and a random forest of 100 trees.
Each is served by one server at a time, in turn, and asked for one and the same record over 16 connections:

- **peers**, with 1 and with 2 workers in every round; each counts at the better of the two by its throughput:
  FastAPI with the joblib file, ``mlflow models serve`` of the package, BentoML as its quickstart has it;
- **floors**, with 2 workers: Starlette around the package's ONNX session, and an empty Starlette answer;
- **product**: ``run.py serve`` with 2 workers and its defaults: validation, durable prediction log, metrics.

wrk opens its connections all at once, and where workers share a socket, one of them now and then takes every one of
them while the other idles. That says nothing of a server, so each round puts load on it three times, over new
connections each, and keeps the one with the most answers; this goes for every side.

Every server has to name the right class before it is measured, and no answer under load may be an error.
``/predict_batch`` takes turns with ``predict_proba`` of the same 10,000 rows in this process. The time from start to
first answer is that of the servers started for the load. ``--only`` tries some of the sides and writes no result.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import ROOT, Command, Target, describe_machine, run_once, write_result
from rich.console import Console
from rich.table import Table
from serving_peers.batch import ROWS, Batch, take_turns
from serving_peers.load import CONNECTIONS, Load, put_load, require_wrk, write_script
from serving_peers.servers import PEER_KEYS, SIDES, Model, Side, serving
from table import targets_table

from ratchet.settings import Settings, quiet_environment
from ratchet.tracking import connect, download

MODELS = {
    "iris_logistic": ("logistic regression", "baseline.yaml", ()),
    "iris_forest": ("random forest", "variation_random_forest.yaml", ("train.params.n_estimators=100",)),
}
LEAST_SPEEDUP = {"iris_logistic": 8.0, "iris_forest": 40.0}
WORKERS = 2
SETTLE_S, WARM_UP_S = 0.5, 2
LOADS, LOAD_S = 3, 2
VERSIONS_OF = ("bentoml", "fastapi", "mlflow", "onnxruntime", "scikit-learn", "starlette", "uvicorn")

_FOREIGN = ("RATCHET_", "MLFLOW_", "ZENML_", "BENTOML_", "UVICORN_")
_QUIET = {
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ZENML_ANALYTICS_OPT_IN": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass
class Measured:
    """All rounds of one side, with one model and one number of workers."""

    loads: list[Load] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    @property
    def load(self) -> Load:
        """The medians of the rounds."""
        values = zip(*((load.rps, load.p50_ms, load.p99_ms) for load in self.loads), strict=True)
        return Load(*map(statistics.median, values))

    @property
    def start_s(self) -> float:
        """Median seconds from the process's start to its first answer."""
        return statistics.median(self.starts)

    def as_dict(self) -> dict[str, float | list[float]]:
        """The medians and every round, for the result file."""
        medians = {"rps": self.load.rps, "p50_ms": self.load.p50_ms, "p99_ms": self.load.p99_ms}
        return {
            **{name: round(value, 4) for name, value in medians.items()},
            "start_s": round(self.start_s, 4),
            "rounds_rps": [round(load.rps, 1) for load in self.loads],
            "rounds_p99_ms": [round(load.p99_ms, 4) for load in self.loads],
            "rounds_start_s": [round(start, 4) for start in self.starts],
        }


class Bench:
    """Runs the sides in turn, and keeps what was measured."""

    def __init__(self, models: Sequence[Model], keys: Sequence[str], environment: Mapping[str, str], scratch: Path):
        self.models = models
        self.sides = {key: SIDES[key] for key in keys}
        self.environment = environment
        self.scratch = scratch
        self.measured: dict[tuple[str, str, int], Measured] = defaultdict(Measured)  # model, side, workers
        self.batches: dict[str, Batch] = defaultdict(Batch)  # model

    def run(self, rounds: int) -> None:
        """Measure every side once a round, one server at a time."""
        turns = [
            (model, key, workers)
            for model in self.models
            for key, side in self.sides.items()
            for workers in side.workers
        ]
        for number in range(1, rounds + 1):
            for model, key, workers in turns:
                said = self._measure(model, key, workers)
                _note(f"round {number} of {rounds}: {model.title}, {SIDES[key].name}, workers: {workers}: {said}")

    def _measure(self, model: Model, key: str, workers: int) -> str:
        side = self.sides[key]
        with serving(side, model, workers, self.environment, self.scratch) as server:
            load = self._best_load(side, server.url(side.path))
            if key == "ratchet":
                take_turns(server.port, model, self.batches[model.name])
        measured = self.measured[model.name, key, workers]
        measured.loads.append(load)
        measured.starts.append(server.start_s)
        return f"{load}, first answer after {server.start_s:.2f} s"

    def _best_load(self, side: Side, url: str) -> Load:
        script = write_script(self.scratch / "post.lua", side.asked)
        time.sleep(SETTLE_S)  # one worker has answered; the others are about to
        put_load(url, script, WARM_UP_S)
        return max((put_load(url, script, LOAD_S) for _ in range(LOADS)), key=lambda load: load.rps)

    def better_workers(self, model: Model, key: str) -> int:
        """The number of workers with which a side answered more requests a second."""
        return max(self.sides[key].workers, key=lambda workers: self.measured[model.name, key, workers].load.rps)

    def chosen(self, model: Model, key: str) -> Load:
        """What counts of a side: its figures with the better number of workers."""
        return self.measured[model.name, key, self.better_workers(model, key)].load


def main() -> None:
    """Measure, write the result, and print it."""
    arguments = _arguments()
    require_wrk()
    quiet_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server of the moment is stopped too
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        environment = _environment(scratch)
        bench = Bench([_train(name, environment, scratch) for name in MODELS], arguments.only, environment, scratch)
        bench.run(arguments.rounds)
    console = Console(highlight=False)
    for model in bench.models:
        console.print(_table(bench, model))
    if set(arguments.only) != set(SIDES):
        return
    targets = _targets(bench)
    path = write_result("serving", describe_machine(), arguments.rounds, targets, **_more(bench))
    console.print(targets_table([{"script": "serving", "targets": [target.as_dict() for target in targets]}]))
    print(f"written: {path.relative_to(ROOT)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="timed rounds (default: 3)")
    parser.add_argument("--only", default=",".join(SIDES), metavar="NAME,…", help=f"some of {', '.join(SIDES)}")
    arguments = parser.parse_args()
    arguments.only = [name.strip() for name in arguments.only.split(",")]
    if unknown := sorted(set(arguments.only) - set(SIDES)):
        parser.error(f"argument --only: got {', '.join(unknown)}, expected some of {', '.join(SIDES)}")
    if arguments.rounds < 1:
        parser.error(f"argument --rounds: got {arguments.rounds}, expected at least 1")
    return arguments


def _environment(scratch: Path) -> dict[str, str]:
    """One environment for every side: quiet, with a home of its own, and the commands of this Python first."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    places = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), own.get("PATH", os.defpath))),
        "PYTHONPATH": str(ROOT),
        "RATCHET_HOME": str(scratch / "home"),
        "RATCHET_MODELS_DIR": str(scratch / "models"),
        "BENTOML_HOME": str(scratch / "bentoml"),
        "XDG_CONFIG_HOME": str(scratch / "config"),
    }
    return own | _QUIET | places


def _train(name: str, environment: Mapping[str, str], scratch: Path) -> Model:
    """Train a model by the command line, and bring its package here; the only version of a new home is the champion."""
    title, config, overrides = MODELS[name]
    values = (f"model={name}", "promote.policy=always", *overrides)
    options = [word for value in values for word in ("--set", value)]
    argv = (sys.executable, str(ROOT / "run.py"), "--config", config, *options)
    seconds, _ = run_once(Command(f"training {name}", argv, environment), scratch)
    _note(f"trained: {title} {seconds:.2f} s")
    home, models = scratch / "home", scratch / "models"
    settings = Settings(home=home, models_dir=models, mlflow_uri=f"sqlite:///{home}/mlflow.db")
    package = download(connect(settings), name, "1", scratch / "packages" / name)
    return Model(name, title, models / name / "model.joblib", package)


def _targets(bench: Bench) -> list[Target]:
    targets = [target for model in bench.models for target in _model_targets(bench, model)]
    logistic = bench.models[0].name
    product, peer = (bench.measured[logistic, key, WORKERS].start_s for key in ("ratchet", "bentoml"))
    return [*targets, Target("start to first answer / BentoML quickstart's", product / peer, 1.5, "at_most", "×")]


def _model_targets(bench: Bench, model: Model) -> list[Target]:
    product, floor = bench.chosen(model, "ratchet"), bench.chosen(model, "onnx")
    peers = [bench.chosen(model, key) for key in PEER_KEYS]
    rps, p99 = max(peer.rps for peer in peers), min(peer.p99_ms for peer in peers)
    batch = bench.batches[model.name]
    figures: tuple[tuple[str, float, float, Literal["at_most", "at_least"]], ...] = (
        ("/predict throughput / best peer's", product.rps / rps, LEAST_SPEEDUP[model.name], "at_least"),
        ("/predict p99 / best peer's", product.p99_ms / p99, 0.25, "at_most"),
        ("/predict throughput / ONNX floor's", product.rps / floor.rps, 0.5, "at_least"),
        (f"/predict_batch of {ROWS:,} / predict_proba", batch.request_ms / batch.in_process_ms, 2.0, "at_most"),
    )
    return [Target(f"{model.title}: {name}", value, limit, sense, "×") for name, value, limit, sense in figures]


def _more(bench: Bench) -> dict[str, Any]:
    """What is behind the ratios, for the result file."""
    sides: dict[str, Any] = {}
    for (model, key, workers), measured in bench.measured.items():
        sides.setdefault(model, {}).setdefault(key, {})[f"workers_{workers}"] = measured.as_dict()
    better = {model.name: {key: bench.better_workers(model, key) for key in PEER_KEYS} for model in bench.models}
    return {
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS_OF},
        "load": {"connections": CONNECTIONS, "warm_up_s": WARM_UP_S, "loads_a_round": LOADS, "load_s": LOAD_S},
        "better_workers": better,
        "sides": sides,
        "batch_ms": {model.name: bench.batches[model.name].as_dict() for model in bench.models},
    }


def _table(bench: Bench, model: Model) -> Table:
    table = Table("server", title=f"{model.title.capitalize()}, one record a request, medians")
    for heading in ("workers", "requests/s", "p50 ms", "p99 ms", "start s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (name, key, workers), measured in bench.measured.items():
        if name == model.name:
            load = measured.load
            figures = f"{load.rps:,.0f}", f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}", f"{measured.start_s:.2f}"
            table.add_row(SIDES[key].name, str(workers), *figures)
    if batch := bench.batches.get(model.name):
        table.caption = f"{ROWS:,} rows: {batch.request_ms:.1f} ms, predict_proba {batch.in_process_ms:.1f} ms"
    return table


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
