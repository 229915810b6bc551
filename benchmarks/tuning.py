"""The time of a trial compared with bare Optuna, and the speed-up of a second Dask worker.

Run as ``.venv/bin/python benchmarks/tuning.py [--rounds N]``. A trial is five fits of gradient boosting on generated
rows, sized at the start to take about a second, the same on both sides: bare Optuna calls the function in
``study.optimize`` with its study in SQLite; Ratchet's side is a study as ``run.py`` runs it, with lease, batches,
pruner and each trial as a nested MLflow run, and ends when all runs are logged. Then trials that cost nothing, in
studies with few and with many earlier trials, in seconds of processor time on the same storage. Then the first study on
a Dask cluster of one worker and of two, without the start of the cluster. The sides alternate.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import Target, describe_machine, rounds_asked_for, write_result

from ratchet.config.files import parse_config
from ratchet.config.tuning import TuningConfig
from ratchet.data import load_dataset
from ratchet.experiments.tuning.scoring import FoldedRows, fold_rows, score_fold
from ratchet.experiments.tuning.space import config_with
from ratchet.experiments.tuning.study import run_study
from ratchet.experiments.tuning.study_storage import FOLDS as FOLDS_ATTRIBUTE
from ratchet.experiments.tuning.study_storage import open_study
from ratchet.experiments.tuning.trial_log import trial_log
from ratchet.model.tasks import TASKS
from ratchet.settings import Settings, quiet_environment
from ratchet.tracking import connect, ensure_experiment

TRIALS, FOLDS, SECONDS = 8, 5, 1.0
# Earlier trials in the studies of trials that cost nothing, and the number of those trials.
FEW, MANY, FREE = 10, 1960, 40
_ROWS = 2000
_RATE = "train.params.learning_rate"
Side = Callable[[], float]


def main() -> None:
    """Measure, print, and write the result file."""
    quiet_environment()
    rounds = rounds_asked_for(__doc__, default=5)
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as name:
        folder = Path(name)
        config, data, version = _sized(folder)
        overhead = _in_turn(
            {
                "bare Optuna": partial(_bare, config, data, folder),
                "Ratchet": partial(_ours, config, data, version, folder),
            },
            rounds,
        )
        free = {earlier: _free_trials(config, data, version, folder, earlier, rounds) for earlier in (FEW, MANY)}
        dask = _on_dask(config, data, version, folder, rounds)
    seconds = {side: statistics.median(times) / TRIALS for side, times in (overhead | dask).items()}
    for side, value in seconds.items():
        print(f"{side:<20} {value:6.3f} s a trial (median of {rounds} rounds of {TRIALS} trials)")
    ratio = _median_ratio(overhead["Ratchet"], overhead["bare Optuna"])
    speed_up = _median_ratio(dask["one Dask worker"], dask["two Dask workers"])
    targets = [
        Target("a trial, MLflow included / bare Optuna, trials of 1 s", ratio, 1.3, "at_most", "x"),
        *(
            Target(
                f"a trial that costs nothing, after {earlier:,} trials / bare Optuna",
                _median_ratio(times["Ratchet"], times["bare Optuna"]),
                1.3,
                "at_most",
                "x",
            )
            for earlier, times in free.items()
        ),
        Target("one Dask worker / two, CPU-bound trials", speed_up, 1.6, "at_least", "x"),
    ]
    for target in targets:
        print(f"{target.name}: {target.value:.2f} {target.unit}")
    write_result("tuning", describe_machine(), rounds, targets, seconds_a_trial=seconds, trials=TRIALS, folds=FOLDS)


def _config(path: Path, iterations: int, compute: dict[str, Any]) -> TuningConfig:
    """A study whose trials all cost the same: what is searched does not change the work."""
    config: TuningConfig = parse_config(
        {
            "pipeline": "tuning",
            "model": "bench",
            "dataset": {"source": "csv", "path": str(path), "target": "label"},
            "embed": {"reducer": "none"},
            "train": {
                "estimator": "sklearn.ensemble.GradientBoostingClassifier",
                "params": {"n_estimators": iterations, "learning_rate": 0.1},
            },
            "evaluate": {"primary_metric": "f1_macro"},
            "search": {
                "trials": TRIALS,
                "folds": FOLDS,
                "pruner": {"params": {"n_startup_trials": TRIALS}},
                "space": {"train.params.learning_rate": {"type": "float", "low": 0.05, "high": 0.2}},
            },
            "compute": compute,
        }
    )
    return config


def _sized(folder: Path) -> tuple[TuningConfig, FoldedRows, str]:
    """The study, with as many boosting iterations as make a trial of about a second on this machine."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(_ROWS, 10))
    label = np.where(values[:, 0] * values[:, 1] + generator.normal(0, 0.5, _ROWS) > 0, "yes", "no")
    path = folder / "rows.csv"
    pd.DataFrame(values, columns=[f"x{i}" for i in range(10)]).assign(label=label).to_csv(path, index=False)
    iterations = 20
    for _ in range(3):
        config = _config(path, iterations, {})
        loaded = load_dataset(config.dataset, config.task)
        train, _ = TASKS[config.task].split(loaded.frame, loaded.schema, config.split, config.seed)
        data = fold_rows(config, train, loaded.schema, FOLDS)
        took = statistics.median(_seconds_of_a_trial(config, data) for _ in range(3))
        iterations = max(2, round(iterations * SECONDS / took))
    return _config(path, iterations, {}), data, loaded.data_version


def _seconds_of_a_trial(config: TuningConfig, data: FoldedRows) -> float:
    started = time.perf_counter()
    for fold in range(FOLDS):
        score_fold(data, config.base(), fold)
    return time.perf_counter() - started


def _in_turn(sides: dict[str, Side], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(-1, rounds):
        for side, run in sides.items():
            seconds = run()
            if number >= 0:  # the first is to warm up
                times[side].append(seconds)
                print(f"  round {number + 1}: {side} {seconds:.2f} s", flush=True)
    return times


def _median_ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _bare(config: TuningConfig, data: FoldedRows, folder: Path) -> float:
    import optuna

    base = config.base()

    def objective(trial: optuna.Trial) -> float:
        tried = config_with(base, {_RATE: trial.suggest_float(_RATE, 0.05, 0.2)})
        values: list[float] = []
        for fold in range(FOLDS):
            values.append(score_fold(data, tried, fold))
            trial.report(statistics.fmean(values), fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        return statistics.fmean(values)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    home = Path(tempfile.mkdtemp(dir=folder))
    begun = time.perf_counter()
    study = optuna.create_study(
        storage=f"sqlite:///{home}/bare.db",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=config.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS),
    )
    study.optimize(objective, n_trials=TRIALS)
    return time.perf_counter() - begun


def _ours(config: TuningConfig, data: FoldedRows, version: str, folder: Path) -> float:
    home = Path(tempfile.mkdtemp(dir=folder))
    settings = Settings(home=home, models_dir=home / "models")
    # A pipeline run has its MLflow run before a study begins, on a store that is there.
    parent = connect(settings).create_run(ensure_experiment(settings, "bench")).info.run_id
    begun = time.perf_counter()
    with trial_log(settings, parent, "bench", config.evaluate.primary_metric) as log:
        run_study(config, data.rows, data.schema, version, settings, log)
    return time.perf_counter() - begun


def _free_trials(
    config: TuningConfig, data: FoldedRows, version: str, folder: Path, earlier: int, rounds: int
) -> dict[str, list[float]]:
    """Processor seconds of trials whose score costs nothing, in copies of a study with some earlier trials."""
    import optuna

    search = config.search.model_copy(update={"trials": earlier + FREE})
    config = config.model_copy(update={"search": search})
    filled = Path(tempfile.mkdtemp(dir=folder))
    rates = optuna.distributions.FloatDistribution(0.05, 0.2)
    with open_study(Settings(home=filled), config, version) as stored:
        stored.study.add_trials(
            optuna.trial.create_trial(
                params={_RATE: 0.05 + 0.15 * number / earlier},
                distributions={_RATE: rates},
                value=number / earlier,
                user_attrs={FOLDS_ATTRIBUTE: [number / earlier] * FOLDS},
            )
            for number in range(earlier)
        )

    def ours() -> float:
        ends: list[float] = []
        home = shutil.copytree(filled, tempfile.mkdtemp(dir=folder), dirs_exist_ok=True)
        run_study(
            config,
            data.rows,
            data.schema,
            version,
            Settings(home=Path(home)),
            lambda _: ends.append(time.process_time()),
            score=lambda *_: 0.5,
        )
        return ends[-1] - ends[earlier]

    def bare() -> float:
        ends: list[float] = []
        home = shutil.copytree(filled, tempfile.mkdtemp(dir=folder), dirs_exist_ok=True)

        def objective(trial: optuna.Trial) -> float:
            config_with(config.base(), {_RATE: trial.suggest_float(_RATE, 0.05, 0.2)})
            for fold in range(FOLDS):
                trial.report(0.5, fold)
                trial.should_prune()
            return 0.5

        with open_study(Settings(home=Path(home)), config, version) as stored:
            stored.study.sampler = optuna.samplers.TPESampler(seed=config.seed)
            stored.study.optimize(objective, n_trials=FREE, callbacks=[lambda *_: ends.append(time.process_time())])
        return ends[-1] - ends[0]

    return _in_turn({"bare Optuna": bare, "Ratchet": ours}, rounds)


def _on_dask(config: TuningConfig, data: FoldedRows, version: str, folder: Path, rounds: int) -> dict[str, list[float]]:
    from distributed import LocalCluster

    def cluster(workers: int) -> LocalCluster:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        )

    with cluster(1) as one, cluster(2) as two:

        def on(address: str) -> Side:
            compute = {"engine": "dask", "address": address}
            there = config.model_copy(update={"compute": type(config.compute).model_validate(compute)})
            return partial(_ours, there, data, version, folder)

        sides = {"one Dask worker": on(one.scheduler_address), "two Dask workers": on(two.scheduler_address)}
        return _in_turn(sides, rounds)


if __name__ == "__main__":
    main()
