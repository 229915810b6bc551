"""Processor time, throughput and latency of a prediction, compared with other servers of the same models.

Run as ``.venv/bin/python benchmarks/serving.py [--rounds N] [--only NAME,…]``; it needs wrk (``apt-get install wrk``).
``run.py`` trains two pipelines into a scratch home: a logistic regression and a random forest of 100 trees. One server
at a time, with 2 workers, gets the same record over 16 connections:

- **peers of the pipeline**: FastAPI with the joblib file, ``mlflow models serve``, BentoML's quickstart;
- **peers of the package's ONNX export**: FastAPI with Pydantic, LitServe, MLServer, granian; none of them stores the
  prediction. LitServe, MLServer and granian get an environment of their own, from the pinned
  ``serving_peers/requirements-<name>.txt``; without a network they are left out;
- **floors**: Starlette with the ONNX session, and an empty Starlette response;
- **product**: ``run.py serve`` with its defaults: validation, durable prediction log, metrics; and with each other
  durability.

Processor time, the first figure of each side, is that of all processes of the server, from the first load to a second
after the last one, over the number of requests: it depends less than a rate on what else runs on the machine. Every
second round runs the sides in the opposite order. wrk opens its connections all at once, and where workers share a
socket, one of them can take nearly all of them. So each round has several loads over new connections, and its rate
and latency are those of the load with the most responses, for every side.

Every server has to return the right class before it is measured, and no response under load may be an error. The time
from start to first response is measured in pairs of the product and BentoML's quickstart, in both orders. ``--only``
runs some of the sides and writes no result; a whole run writes ``results/serving.json``,
``docs/reference/serving-benchmark.md`` and the table in the README, which say whether other processes used the machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import ROOT, Command, Target, describe_machine, run_once, write_result
from rich.console import Console
from rich.table import Table
from serving_peers.environments import install
from serving_peers.load import CONNECTIONS, Load, put_load, require_wrk, write_script
from serving_peers.page import write_documentation
from serving_peers.servers import DURABILITY, PEER_KEYS, SIDES, Model, Server, Side, serving
from table import targets_table

from ratchet.settings import Settings, quiet_environment
from ratchet.tracking import download

MODELS = {
    "iris_logistic": ("logistic regression", "baseline.yaml", ()),
    "iris_forest": ("random forest", "variation_random_forest.yaml", ("train.params.n_estimators=100",)),
}
LEAST_SPEEDUP = {"iris_logistic": 8.0, "iris_forest": 40.0}
WORKERS = 2
SETTLE_S, WARM_UP_S, DRAIN_S = 0.5, 1, 1.0
LOADS, LOAD_S = 2, 2
START_PAIRS = 2  # in each round: one in each order
VERSIONS_OF = ("bentoml", "fastapi", "mlflow", "onnxruntime", "pydantic", "scikit-learn", "starlette", "uvicorn")

# Without bytecode, which the first start writes, every start would compile the project.
_FOREIGN = ("RATCHET_", "MLFLOW_", "ZENML_", "BENTOML_", "UVICORN_", "PYTHONDONTWRITEBYTECODE")
_QUIET = {
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ZENML_ANALYTICS_OPT_IN": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass
class Measured:
    """All rounds of one side with one model.

    Attributes
    ----------
    loads: of each round, the load with the most responses.
    cpu_us: of each round, microseconds of processor time for a request.
    starts, starts_cpu: seconds, and seconds of processor time, from the process's start to its first response.
    """

    loads: list[Load] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    starts_cpu: list[float] = field(default_factory=list)

    @property
    def medians(self) -> dict[str, float]:
        """The medians of the rounds."""
        return {
            "cpu_us": statistics.median(self.cpu_us),
            "rps": statistics.median(load.rps for load in self.loads),
            "p50_ms": statistics.median(load.p50_ms for load in self.loads),
            "p99_ms": statistics.median(load.p99_ms for load in self.loads),
            "start_s": statistics.median(self.starts),
            "start_cpu_s": statistics.median(self.starts_cpu),
        }

    def as_dict(self) -> dict[str, float | list[float]]:
        """The medians and every round, for the result file."""
        return {
            **{name: round(value, 4) for name, value in self.medians.items()},
            "rounds_cpu_us": [round(cpu, 1) for cpu in self.cpu_us],
            "rounds_rps": [round(load.rps, 1) for load in self.loads],
            "rounds_p99_ms": [round(load.p99_ms, 4) for load in self.loads],
            "rounds_start_s": [round(start, 4) for start in self.starts],
        }


class Bench:
    """Runs the sides one after the other, and keeps the figures.

    Parameters
    ----------
    pythons: by side, for those with an environment of their own.
    """

    def __init__(
        self,
        models: Sequence[Model],
        keys: Sequence[str],
        pythons: Mapping[str, Path],
        environment: Mapping[str, str],
        scratch: Path,
    ):
        self.models = models
        self.turns = [
            (model, key) for model in models for key in keys if model is models[0] or not SIDES[key].one_model
        ]
        self._pythons = pythons
        self._environment = environment
        self._scratch = scratch
        self.measured: dict[tuple[str, str], Measured] = defaultdict(Measured)  # model, side
        self.start_pairs: dict[str, list[float]] = {"ratchet": [], "bentoml": []}

    def run(self, rounds: int) -> None:
        """Measure every side once a round, one server at a time."""
        for number in range(1, rounds + 1):
            for model, key in self.turns if number % 2 else self.turns[::-1]:
                self._measure(model, key)
                figures = self.measured[model.name, key]
                _note(
                    f"round {number} of {rounds}: {model.title}, {SIDES[key].name}: {figures.cpu_us[-1]:,.0f} µs of"
                    f" processor time, {figures.loads[-1]}, first response after {figures.starts[-1]:.2f} s"
                )

    def measure_starts(self, pairs: int) -> None:
        """Start the product and BentoML's quickstart in pairs, in both orders."""
        for pair in range(pairs):
            order = ("ratchet", "bentoml") if pair % 2 else ("bentoml", "ratchet")
            for key in order:
                with self._serving(self.models[0], key) as server:
                    self.start_pairs[key].append(server.start_s)
            _note(
                f"start {pair + 1} of {pairs}: {', '.join(f'{key} {self.start_pairs[key][-1]:.2f} s' for key in order)}"
            )

    def median(self, model: Model, key: str, figure: str) -> float:
        """The median of one figure of a side."""
        return self.measured[model.name, key].medians[figure]

    def _measure(self, model: Model, key: str) -> None:
        measured = self.measured[model.name, key]
        with self._serving(model, key) as server:
            measured.starts.append(server.start_s)
            measured.starts_cpu.append(server.start_cpu_s)
            self._put_loads(SIDES[key], server, measured)

    def _put_loads(self, side: Side, server: Server, measured: Measured) -> None:
        script, url = write_script(self._scratch / "post.lua", side.asked), server.url(side.path)
        time.sleep(SETTLE_S)  # one worker has responded; the others are still starting
        put_load(url, script, WARM_UP_S)
        before = server.cpu_s
        loads = [put_load(url, script, LOAD_S) for _ in range(LOADS)]
        time.sleep(DRAIN_S)  # what a server does after its responses counts too
        measured.cpu_us.append((server.cpu_s - before) / sum(load.requests for load in loads) * 1e6)
        measured.loads.append(max(loads, key=lambda load: load.rps))

    def _serving(self, model: Model, key: str) -> AbstractContextManager[Server]:
        python = self._pythons.get(key, Path(sys.executable))
        return serving(SIDES[key], model, WORKERS, self._environment, self._scratch, python)


def main() -> None:
    """Measure, write the result, and print it."""
    arguments = _arguments()
    require_wrk()
    busy = round(os.getloadavg()[0], 2)
    quiet_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the running server is stopped too
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        environment, pythons = _environment(scratch), _install(arguments.only, scratch)
        keys = [key for key in arguments.only if not SIDES[key].requirements or key in pythons]
        models = [_train(name, environment, scratch) for name in MODELS]
        bench = Bench(models, keys, pythons, environment, scratch)
        bench.run(arguments.rounds)
        if _is_complete(arguments.only):
            bench.measure_starts(START_PAIRS * arguments.rounds)
    console = Console(highlight=False, width=150)
    for model in bench.models:
        console.print(_table(bench, model))
    if not _is_complete(arguments.only):
        return
    targets = _targets(bench)
    path = write_result("serving", describe_machine(), arguments.rounds, targets, load_average=busy, **_more(bench))
    write_documentation(json.loads(path.read_text(encoding="utf-8")))
    console.print(targets_table([{"script": "serving", "targets": [target.as_dict() for target in targets]}]))
    print(f"written: {path.relative_to(ROOT)}")


def _is_complete(keys: Sequence[str]) -> bool:
    return set(keys) == set(SIDES)


def _install(keys: Sequence[str], scratch: Path) -> dict[str, Path]:
    """Install the environments of the peers that need one; returns the Python of each, by side."""
    wanted = {key: name for key in keys if (name := SIDES[key].requirements)}
    installed = {key: install(name, scratch / "environments") for key, name in wanted.items()}
    return {key: python for key, python in installed.items() if python}


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
    package = download(settings, name, "1", scratch / "packages" / name)
    return Model(name, title, models / name / "model.joblib", package)


def _targets(bench: Bench) -> list[Target]:
    targets = [target for model in bench.models for target in _model_targets(bench, model)]
    product, peer = (statistics.median(bench.start_pairs[key]) for key in ("ratchet", "bentoml"))
    return [*targets, Target("start to first response / BentoML quickstart's", product / peer, 1.5, "at_most", "×")]


def _model_targets(bench: Bench, model: Model) -> list[Target]:
    def ratio(figure: str, key: str) -> float:
        return bench.median(model, "ratchet", figure) / bench.median(model, key, figure)

    throughput = min(ratio("rps", key) for key in PEER_KEYS)
    p99 = max(ratio("p99_ms", key) for key in PEER_KEYS)
    figures: tuple[tuple[str, float, float, Literal["at_most", "at_least"]], ...] = (
        ("processor time / FastAPI + ONNX's", ratio("cpu_us", "fastapi_onnx"), 0.7, "at_most"),
        ("processor time / Starlette + ONNX's", ratio("cpu_us", "onnx"), 1.2, "at_most"),
        ("p99 / FastAPI + ONNX's", ratio("p99_ms", "fastapi_onnx"), 1.0, "at_most"),
        *(
            (f"processor time of {SIDES[key].name} / product's", 1 / ratio("cpu_us", key), 25.0, "at_least")
            for key in PEER_KEYS
        ),
        ("throughput / best peer's that answers with the pipeline", throughput, LEAST_SPEEDUP[model.name], "at_least"),
        ("p99 / best peer's that answers with the pipeline", p99, 0.25, "at_most"),
        ("throughput / Starlette + ONNX's", ratio("rps", "onnx"), 0.5, "at_least"),
    )
    return [Target(f"{model.title}: {name}", value, limit, sense, "×") for name, value, limit, sense in figures]


def _more(bench: Bench) -> dict[str, Any]:
    """The figures behind the ratios, for the result file."""
    sides: dict[str, Any] = {}
    for (model, key), measured in bench.measured.items():
        sides.setdefault(model, {})[key] = {"name": SIDES[key].name, **measured.as_dict()}
    return {
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS_OF},
        "load": {
            "connections": CONNECTIONS,
            "workers": WORKERS,
            "warm_up_s": WARM_UP_S,
            "loads_a_round": LOADS,
            "load_s": LOAD_S,
        },
        "durability": DURABILITY,
        "models": {model.name: model.title for model in bench.models},
        "start_pairs_s": {key: [round(start, 4) for start in starts] for key, starts in bench.start_pairs.items()},
        "sides": sides,
    }


def _table(bench: Bench, model: Model) -> Table:
    table = Table("server", title=f"{model.title.capitalize()}, one record a request, {WORKERS} workers, medians")
    for heading in ("processor µs", "requests/s", "p50 ms", "p99 ms", "start s", "start processor s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (name, key), measured in bench.measured.items():
        if name == model.name:
            cpu, rps, *others = measured.medians.values()
            table.add_row(SIDES[key].name, f"{cpu:,.0f}", f"{rps:,.0f}", *(f"{value:.2f}" for value in others))
    return table


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
