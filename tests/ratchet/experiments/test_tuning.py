from __future__ import annotations

import functools
import itertools
import math
import re
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.config import TrainingConfig
from ratchet.config.files import load_config
from ratchet.config.tuning import TuningConfig
from ratchet.data import load_dataset
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError, StateError, TrainingError, UnavailableError
from ratchet.experiments.tuning import study as studies
from ratchet.experiments.tuning.figures import figures
from ratchet.experiments.tuning.record import best_config, record_study, write_best
from ratchet.experiments.tuning.scoring import FoldedRows, Score, score_fold
from ratchet.experiments.tuning.study import run_study
from ratchet.experiments.tuning.study_storage import open_study, study_name
from ratchet.experiments.tuning.summary import StudySummary, TrialRecord
from ratchet.experiments.tuning.trial_log import trial_log
from ratchet.model.tasks import TASKS
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.database import open_store
from ratchet.tracking import connect, ensure_experiment
from tests.conftest import ROOT, new_database
from tests.ratchet.experiments.test_tuning_space import ESTIMATORS, FOREST, LOGISTIC, C, tuning

SPACE = {
    "embed.scaler": {"type": "categorical", "choices": ["standard", "minmax", "none"]},
    "embed.n_components": {"type": "int", "low": 1, "high": 4},
    "train.estimator": ESTIMATORS,
    "train.params.C": {**C, "when": {"train.estimator": LOGISTIC}},
    "train.params.max_iter": {"type": "categorical", "choices": [500], "when": {"train.estimator": LOGISTIC}},
    "train.params.max_depth": {"type": "int", "low": 1, "high": 9, "when": {"train.estimator": FOREST}},
}


def config_of(**more: Any) -> TuningConfig:
    search = {"trials": 12, "folds": 3, "batch": 3, "sampler": {"params": {"n_startup_trials": 4}}}
    search |= {"pruner": {"params": {"n_startup_trials": 2}}} | more.pop("search", {})
    return tuning(more.pop("space", SPACE), search=search, embed={"n_components": 3}, **more)


def bowl(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
    """A score without a fit: best at C = 10 with three components, and slightly different on each fold."""
    params = config.train.params
    off = abs(math.log10(params["C"]) - 1) if "C" in params else 1 + abs(params.get("max_depth", 1) - 5) / 4
    components = abs((config.embed.n_components or 1) - 3)  # type: ignore[union-attr]
    return 1 / (1 + off + components) + 0.001 * fold


class Killed(BaseException):
    """Ends a study like a kill: no ``except Exception`` catches it."""


def killed_after(calls: int, score: Score = bowl) -> Score:
    left = iter(range(calls))

    def scored(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
        if next(left, None) is None:
            raise Killed
        return score(data, config, fold)

    return scored


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Schema, str]:
    config = config_of()
    data = load_dataset(config.dataset, config.task)
    train, _ = TASKS[config.task].split(data.frame, data.schema, config.split, config.seed)
    return train, data.schema, data.data_version


Study = Callable[..., StudySummary]


@pytest.fixture
def study(tmp_path: Path, rows: tuple[Any, Schema, str]) -> Study:
    """Run a study in a home of the test's own; the same name is the same home."""

    def run(config: TuningConfig, home: str = "home", score: Score = bowl, **settings: Any) -> StudySummary:
        where = Settings(home=tmp_path / home, models_dir=tmp_path / "models", **settings)
        return run_study(config, *rows, where, score=score)

    return run


def outcomes(summary: StudySummary) -> list[dict[str, Any]]:
    """A study's trials without their times."""
    return [trial.model_dump(exclude={"began", "ended"}) for trial in summary.trials]


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
def test_the_same_seed_gives_the_same_trials_and_another_others(study: Study, name: str) -> None:
    sampler = {"search": {"sampler": {"name": name}, "trials": 9}}
    first, second = study(config_of(**sampler), "a"), study(config_of(**sampler), "b")
    other = study(config_of(**sampler, seed=43), "c")
    assert outcomes(first) == outcomes(second)
    assert [trial.number for trial in first.trials] == list(range(9))
    assert [trial.values for trial in other.trials[1:]] != [trial.values for trial in first.trials[1:]]
    assert len({str(trial.values) for trial in first.trials}) > 6


def test_the_baseline_is_the_first_trial_and_the_best_is_as_good_at_least(study: Study) -> None:
    summary = study(config_of())
    assert summary.trials[0].values["train.params.C"] == 1.0
    assert summary.baseline.trial == 0
    assert summary.best.value >= summary.baseline.value
    assert summary.best.value == pytest.approx(math.fsum(summary.best.folds) / 3)


def test_a_baseline_outside_of_the_space_is_scored_in_addition(study: Study) -> None:
    space = {"train.params.C": {**C, "low": 2.0}}
    summary = study(config_of(space=space, search={"trials": 3}))
    assert summary.baseline.trial is None
    assert summary.baseline.note == "the space has no train.params.C 1.0"
    assert summary.baseline.folds == pytest.approx((0.5, 0.501, 0.502))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, rows: tuple[Any, Schema, str]) -> Callable[[str], StudySummary]:
    """A study that was not interrupted, by its pruner."""

    @functools.cache
    def run(pruner: str) -> StudySummary:
        config = config_of(search={"pruner": {"name": pruner}})
        return run_study(config, *rows, Settings(home=tmp_path_factory.mktemp("whole")), score=bowl)

    return run


@pytest.mark.parametrize(
    ("pruner", "calls"),
    [
        ("median", 10),
        ("hyperband", 16),
        ("none", 8),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("median", 0), ("median", 1), ("median", 17)]),
        pytest.param("none", 25, marks=pytest.mark.slow),
    ],
)
def test_a_killed_study_ends_with_the_trials_of_an_uninterrupted_one(
    study: Study, whole: Callable[[str], StudySummary], pruner: str, calls: int
) -> None:
    config = config_of(search={"pruner": {"name": pruner}})
    with pytest.raises(Killed):
        study(config, score=killed_after(calls))
    resumed = study(config)
    assert outcomes(resumed) == outcomes(whole(pruner))
    assert len(resumed.trials) == 12


@pytest.mark.sqlite("the file of an earlier release's studies")
def test_a_study_that_an_earlier_release_left_unfinished_goes_on_with_the_same_trials(
    study: Study, finished: StudySummary, tmp_path: Path
) -> None:
    with zipfile.ZipFile(ROOT / "tests" / "fixtures" / "studies-0.1.zip") as archive:
        archive.extractall(tmp_path / "home")  # six trials had ended and three were begun when it was killed
    continued = study(config_of())
    assert continued.new == 6
    assert outcomes(continued) == outcomes(finished)


def test_a_finished_study_scores_no_fold_again(study: Study) -> None:
    study(config_of())
    again = study(config_of(), score=killed_after(0))
    assert again.new == 0
    assert len(again.trials) == 12


def test_a_study_that_is_extended_after_whole_batches_has_the_trials_of_a_longer_one(
    study: Study, finished: StudySummary
) -> None:
    study(config_of(search={"trials": 6}))
    assert outcomes(study(config_of())) == outcomes(finished)


def test_a_study_that_is_extended_within_a_batch_ends_with_the_trials_that_are_asked_for(study: Study) -> None:
    study(config_of(search={"trials": 7}))
    extended = study(config_of())
    assert [trial.number for trial in extended.trials] == list(range(12))
    assert extended.new == 5


def test_workers_give_the_trials_of_this_process(study: Study) -> None:
    config = config_of(search={"trials": 4})
    parallel = config_of(search={"trials": 4}, compute={"engine": "processes", "workers": 1})
    assert outcomes(study(parallel, "b", score_fold)) == outcomes(study(config, "a", score_fold))


def test_a_bad_trial_is_pruned_and_its_other_folds_are_not_fitted(study: Study) -> None:
    scored: list[tuple[str, int]] = []

    def counted(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
        scored.append((config.train.estimator, fold))
        return bowl(data, config, fold)

    summary = study(config_of(search={"trials": 20}), score=counted)
    pruned = [trial for trial in summary.trials if trial.state == "pruned"]
    assert pruned
    assert all(len(trial.folds) < 3 for trial in pruned)
    assert len(scored) == sum(len(trial.folds) for trial in summary.trials)


def test_without_a_pruner_every_trial_has_all_folds(study: Study) -> None:
    summary = study(config_of(search={"pruner": {"name": "none"}}))
    assert {len(trial.folds) for trial in summary.trials} == {3}


def test_a_grid_visits_every_point_once(study: Study) -> None:
    space = {key: SPACE[key] for key in ("embed.scaler", "embed.n_components")}
    summary = study(config_of(space=space, search={"sampler": {"name": "grid"}, "trials": 50}))
    assert len({str(trial.values) for trial in summary.trials}) == len(summary.trials) == 12


def test_a_choice_may_be_a_list(study: Study) -> None:
    mlp = "sklearn.neural_network.MLPClassifier"
    layers = {"type": "categorical", "choices": [[4], [4, 4]]}
    config = config_of(
        space={"train.params.hidden_layer_sizes": layers}, train={"estimator": mlp}, search={"trials": 3}
    )

    def depth(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
        return float(len(config.train.params.get("hidden_layer_sizes", ())))

    summary = study(config, score=depth)
    assert best_config(config, summary).train.params == {"hidden_layer_sizes": [4, 4]}


def test_a_loss_is_minimised(study: Study) -> None:
    summary = study(config_of(evaluate={"primary_metric": "log_loss"}))
    values = [trial.value for trial in summary.trials if trial.state == "complete" and trial.value is not None]
    assert summary.minimise
    assert summary.best.value == min(values)


def test_a_trial_that_cannot_be_fitted_fails_with_its_reason_and_the_study_goes_on(study: Study) -> None:
    def picky(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
        if config.train.estimator == FOREST and fold == 1:
            raise TrainingError("no forest\nhere")
        return bowl(data, config, fold)

    summary = study(config_of(search={"pruner": {"name": "none"}}), score=picky)
    failed = [trial for trial in summary.trials if trial.state == "failed"]
    assert {trial.reason for trial in failed} == {"fold 2: no forest here"}
    assert all(trial.value is None for trial in failed)
    assert len(summary.trials) == 12
    assert summary.best.values["train.estimator"] == LOGISTIC


def test_a_study_without_a_complete_trial_is_an_error_with_the_reasons(study: Study) -> None:
    def never(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
        raise TrainingError("there is no fitting this")

    with pytest.raises(ConfigError, match=re.escape("fold 1: there is no fitting this (12 of 12)")):
        study(config_of(), score=never)


def test_a_bug_ends_the_study_and_not_a_trial(study: Study) -> None:
    def broken(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
        raise AttributeError("a bug")

    with pytest.raises(AttributeError, match="a bug"):
        study(config_of(), score=broken)


def test_after_the_time_limit_no_trial_begins(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            Clock.now += 10
            return Clock.now

        time = monotonic

    monkeypatch.setattr(studies, "time", Clock())
    summary = study(config_of(search={"timeout": 25}))
    assert 0 < len(summary.trials) < 12
    assert summary.wanted == 12


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"space": {"train.params.C": {**C, "high": 10}}}, "space"),
        ({"seed": 1}, "baseline"),
        ({"search": {"sampler": {"name": "random"}}}, "search"),
        ({"space": {"train.params.C": C}, "seed": 1}, "space and baseline"),
    ],
)
def test_a_name_of_another_study_is_refused(study: Study, change: dict[str, Any], differs: str) -> None:
    named = {"study": "mine"}
    study(config_of(search=named))
    change = {**change, "search": change.get("search", {}) | named}
    with pytest.raises(ConfigError, match=f"search.study: 'mine' exists in .* with another {differs}: give"):
        study(config_of(**change))


def test_trials_time_and_workers_are_no_part_of_the_identity() -> None:
    changes: list[dict[str, Any]] = [
        {"search": {"trials": 99}},
        {"search": {"timeout": 5}},
        {"compute": {"engine": "processes", "workers": 2}},
        {"promote": {"policy": "always"}},
    ]
    assert {study_name(config_of(**change), "v") for change in changes} == {study_name(config_of(), "v")}
    assert study_name(config_of(), "w") != study_name(config_of(), "v")


def test_one_process_at_a_time_runs_a_study(study: Study, tmp_path: Path, rows: tuple[Any, Schema, str]) -> None:
    store = open_store(Settings(home=tmp_path / "home"))
    name = study_name(config_of(), rows[2])
    with leases.held(store, f"study/{name}"), pytest.raises(StateError, match=f"study/{name} is held by"):
        study(config_of())


@pytest.mark.parametrize("call", [15, 19])
def test_of_two_homes_that_run_one_study_one_ends_with_one_line_and_the_study_is_whole(
    tmp_path: Path, rows: tuple[Any, Schema, str], finished: StudySummary, call: int
) -> None:
    url, calls, other = f"sqlite:///{tmp_path}/shared.db", itertools.count(), []

    def meets_another(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
        if next(calls) == call:
            other.append(run_study(config_of(), *rows, Settings(home=tmp_path / "b", study_url=url), score=bowl))
        return bowl(data, config, fold)

    with pytest.raises(StateError, match="another process has written to the study"):
        run_study(config_of(), *rows, Settings(home=tmp_path / "a", study_url=url), score=meets_another)
    assert outcomes(other[0]) == outcomes(finished)


def test_a_database_of_another_program_is_refused(study: Study, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    with pytest.raises(StateError, match="tables of another program: set RATCHET_STUDY_URL"):
        study(config_of(), study_url=f"sqlite:///{tmp_path}/mlflow.db")


def test_a_database_that_cannot_be_reached_is_one_line(study: Study) -> None:
    with pytest.raises(
        StateError, match="the studies in postgresql://ratchet:.*@127.0.0.1:1/x cannot be used"
    ) as caught:
        study(config_of(), study_url="postgresql://ratchet:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


def test_a_study_in_postgresql_is_that_in_sqlite(study: Study, postgres: str) -> None:
    url = new_database(postgres, "studies")
    with pytest.raises(Killed):
        study(config_of(), "a", killed_after(14), study_url=url)
    assert outcomes(study(config_of(), "a", study_url=url)) == outcomes(study(config_of(), "b"))


def test_no_dask_scheduler_is_one_line(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.experiments.tuning.fold_workers._CONNECT", 0.5)
    compute = {"engine": "dask", "address": "tcp://127.0.0.1:1"}
    with pytest.raises(UnavailableError, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        study(config_of(compute=compute))


def test_folds_are_scored_on_rows_that_were_not_fitted_on(rows: tuple[Any, Schema, str]) -> None:
    train, schema, _ = rows
    shuffled = train.copy()
    shuffled[schema.target] = shuffled[schema.target].sample(frac=1, random_state=0).to_numpy()
    config = config_of(train={"estimator": "sklearn.neighbors.KNeighborsClassifier", "params": {"n_neighbors": 1}})
    data = studies.fold_rows(config, shuffled, schema, 5)
    scores = [score_fold(data, config.base(), fold) for fold in range(5)]
    assert sum(scores) / 5 < 0.5


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, rows: tuple[Any, Schema, str]) -> StudySummary:
    return run_study(config_of(), *rows, Settings(home=tmp_path_factory.mktemp("finished")), score=bowl)


def test_the_best_config_is_a_training_config(tmp_path: Path, finished: StudySummary) -> None:
    config = best_config(config_of(), finished)
    path = write_best(tmp_path / "models", config, finished)
    assert path.read_text().startswith(f"# Trial {finished.best.number} of the study {finished.study}")
    assert load_config(path) == config
    assert yaml.safe_load(path.read_text())["pipeline"] == "training"


Draw = Callable[[StudySummary], dict[str, Any]]


@pytest.fixture
def draw(rows: tuple[Any, Schema, str]) -> Draw:
    """Draw the figures of a study that has ended."""

    def figures_of(summary: StudySummary) -> dict[str, Any]:
        with open_study(Settings(study_url=summary.storage), config_of(), rows[2]) as stored:
            return figures(stored.study, summary)

    return figures_of


def test_every_figure_is_drawn(finished: StudySummary, draw: Draw, tmp_path: Path) -> None:
    drawn = draw(finished)
    assert set(drawn) == {"history.png", "importances.png", "parallel_coordinates.png"}
    for name, figure in drawn.items():
        figure.savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


def test_drawing_leaves_nothing_in_pyplot(finished: StudySummary, draw: Draw) -> None:
    from matplotlib import pyplot

    draw(finished)  # the first drawing of a process selects the backend
    style = dict(pyplot.rcParams)
    draw(finished)
    assert pyplot.get_fignums() == []
    assert dict(pyplot.rcParams) == style


def test_a_study_of_few_trials_has_its_history_only(study: Study, draw: Draw) -> None:
    assert set(draw(study(config_of(search={"trials": 3})))) == {"history.png"}


def parent_of(settings: Settings, name: str) -> str:
    return str(connect(settings).create_run(ensure_experiment(settings, name)).info.run_id)


def nested(settings: Settings, parent: str) -> list[Any]:
    client = connect(settings)
    experiment = client.get_run(parent).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'"))


def test_trials_are_nested_runs_and_a_second_process_logs_the_missing_ones(
    mlflow_settings: Settings, model_name: str, finished: StudySummary
) -> None:
    first, second = parent_of(mlflow_settings, model_name), parent_of(mlflow_settings, model_name)
    with trial_log(mlflow_settings, first, finished.study, finished.metric) as log:
        for trial in finished.trials[:5]:
            log(trial)
    assert len(nested(mlflow_settings, first)) == 5
    with trial_log(mlflow_settings, second, finished.study, finished.metric) as log:
        for trial in finished.trials:
            log(trial)
    assert nested(mlflow_settings, first) == []
    runs = {run.info.run_name: run for run in nested(mlflow_settings, second)}
    assert len(runs) == 12
    best = runs[f"trial-{finished.best.number:04d}"]
    assert best.data.metrics[finished.metric] == finished.best.value
    assert best.data.params == {path: str(value) for path, value in finished.best.values.items()}
    assert (best.data.tags["ratchet.study"], best.data.tags["ratchet.trial"]) == (
        finished.study,
        str(finished.best.number),
    )
    history = connect(mlflow_settings).get_metric_history(best.info.run_id, f"{finished.metric}_fold")
    assert [(point.step, point.value) for point in history] == list(enumerate(finished.best.folds))


def test_the_run_of_a_failed_trial_has_the_reason(mlflow_settings: Settings, model_name: str) -> None:
    parent = parent_of(mlflow_settings, model_name)
    failed = TrialRecord(number=3, state="failed", value=None, values={}, reason="no", began=1.0, ended=2.0)
    with trial_log(mlflow_settings, parent, "s", "f1_macro") as log:
        log(failed)
    (run,) = nested(mlflow_settings, parent)
    assert (run.info.status, run.data.tags["ratchet.reason"]) == ("FAILED", "no")
    assert "f1_macro" not in run.data.metrics


def test_figures_and_best_config_are_logged_to_mlflow(
    mlflow_settings: Settings, model_name: str, finished: StudySummary, rows: tuple[Any, Schema, str]
) -> None:
    parent = parent_of(mlflow_settings, model_name)
    settings = mlflow_settings.model_copy(update={"study_url": finished.storage})
    record_study(settings, parent, config_of(), finished, rows[2])
    client = connect(mlflow_settings)
    assert {item.path for item in client.list_artifacts(parent)} == {"best.yaml", "figures", "study.json"}
    assert len(client.list_artifacts(parent, "figures")) == 3
    assert client.get_run(parent).data.metrics["trials_complete"] == finished.count("complete")
