from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mlflow.entities import Metric, Param, RunTag

from ratchet.errors import ConfigError, RegistryError
from ratchet.experiments.comparison.figures import interval_figure
from ratchet.experiments.comparison.link import compare_link
from ratchet.experiments.comparison.record import log_comparison, write_comparison
from ratchet.experiments.comparison.runs import label_of
from ratchet.experiments.comparison.table import Comparison, compare, differing_parameters
from ratchet.experiments.comparison.text import conclusions, markdown, short_names, short_value
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect, ensure_experiment
from ratchet.tracking.run_files import text_files

FLOOR = {"name": "floor", "passed": True, "figure": 0.9, "limit": 0.8, "reason": "f1_macro 0.9, needed 0.8"}
RIVAL = {"name": "against_champion", "passed": False, "figure": -0.1, "limit": 0.0, "reason": "worse"}
LogRun = Callable[..., str]
Compare = Callable[..., Comparison]


@pytest.fixture
def log_run(mlflow_settings: Settings, model_name: str) -> LogRun:
    """Logs a run as the pipeline leaves it, each a minute after the one before; returns its id."""
    client = connect(mlflow_settings)
    clock = iter(range(1_700_000_000_000, 1_800_000_000_000, 60_000))

    def log(
        label: str,
        params: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        *,
        status: str = "FINISHED",
        **tags: str,
    ) -> str:
        values = {"train.estimator": "sklearn.svm.SVC", "evaluate.primary_metric": "f1_macro"} | (params or {})
        values |= {"evaluate.confidence": 0.95, "promote.policy": "better"}
        marks = {"outcome": "refused", "data_version": "rows"} | tags
        run = client.create_run(
            ensure_experiment(mlflow_settings, model_name),
            start_time=next(clock),
            run_name=f"{label}-20260102-030405-0a1b2c",
            tags={f"ratchet.{key}": value for key, value in marks.items()},
        ).info.run_id
        client.log_batch(
            run,
            [Metric(key, value, 0, 0) for key, value in (metrics or {"f1_macro": 0.9}).items()],
            [Param(key, str(value)) for key, value in values.items()],
            [RunTag("mlflow.note", "a test")],
        )
        client.set_terminated(run, status)
        return str(run)

    return log


@pytest.fixture
def version(mlflow_settings: Settings, model_name: str, tmp_path: Path) -> Callable[[], str]:
    """Registers one more version, without a package."""
    client = connect(mlflow_settings)

    def register() -> str:
        if not client.search_registered_models(f"name = '{model_name}'"):
            client.create_registered_model(model_name)
        return str(client.create_model_version(model_name, tmp_path.as_uri()).version)

    return register


@pytest.fixture
def compared(mlflow_settings: Settings, model_name: str) -> Compare:
    """Compares the model's runs, by their primary metric or another one."""
    return partial(compare, mlflow_settings, model_name)


@pytest.fixture
def two(mlflow_settings: Settings, model_name: str, log_run: LogRun, version: Callable[[], str]) -> Comparison:
    """A baseline in Production, and a variation that the gate refused."""
    figures_of = {"f1_macro": 0.8, "f1_macro_low": 0.7, "f1_macro_high": 0.9, "training_seconds": 0.25}
    first, second = version(), version()
    log_run(
        "baseline",
        {"train.params.C": 1.0, "seed": 1},
        figures_of | {"package_bytes": 31_204, "gate.latency.figure": 0.02},
        model_version=first,
    )
    log_run("variation_svm", {"train.params.C": 10.0, "seed": 1}, {"f1_macro": 0.85}, model_version=second)
    pointer = ProductionPointer(mlflow_settings, model_name)
    pointer.promote(first, "gate passed", "tester", gate=[FLOOR])
    pointer.refuse(second, "against_champion: worse", "tester", [FLOOR, RIVAL])
    return compare(mlflow_settings, model_name)


def test_a_row_has_figures_costs_and_verdict(two: Comparison) -> None:
    baseline = next(row for row in two.rows if row.config == "baseline")
    assert (baseline.value, baseline.low, baseline.high, baseline.confidence) == (0.8, 0.7, 0.9, 0.95)
    assert (baseline.training_seconds, baseline.package_bytes, baseline.latency_ms) == (0.25, 31_204, 0.02)
    assert (baseline.verdict, baseline.why, baseline.in_production) == ("in Production", "gate passed", True)
    assert baseline.parameters == {"train.params.C": "1.0"}


def test_a_refusal_names_the_checks_that_failed(two: Comparison) -> None:
    svm = next(row for row in two.rows if row.config == "variation_svm")
    assert (svm.verdict, svm.why) == ("refused: against_champion", "against_champion: worse")


def test_the_best_is_first_and_a_missing_value_is_a_dash(two: Comparison) -> None:
    assert [row.config for row in two.rows] == ["variation_svm", "baseline"]
    page = markdown(two)
    assert "| variation_svm | C 10.0 | 0.8500 | – | – | – | refused: against_champion |" in page
    assert "| baseline | C 1.0 | 0.8000 (0.7000 to 0.9000) | 250 ms | 31.2 kB | 0.020 ms | in Production |" in page


def test_of_a_loss_the_lowest_value_is_first(compared: Compare, log_run: LogRun) -> None:
    for label, value in {"a": 61.0, "b": 54.0, "c": 70.0}.items():
        log_run(label, {"evaluate.primary_metric": "rmse"}, {"rmse": value})
    found = compared()
    assert found.less_is_better
    assert [row.config for row in found.rows] == ["b", "a", "c"]


def test_each_config_has_its_newest_finished_run(compared: Compare, log_run: LogRun) -> None:
    log_run("baseline", metrics={"f1_macro": 0.1})
    newest = log_run("baseline", metrics={"f1_macro": 0.2})
    log_run("baseline", metrics={"f1_macro": 0.3}, status="FAILED")
    log_run("baseline", metrics={"f1_macro": 0.4}, status="RUNNING")
    (row,) = compared().rows
    assert (row.run_id, row.value) == (newest, 0.2)


def test_trials_reports_and_comparisons_are_no_rows(
    compared: Compare, mlflow_settings: Settings, model_name: str, log_run: LogRun
) -> None:
    log_run("baseline")
    client = connect(mlflow_settings)
    experiment = ensure_experiment(mlflow_settings, model_name)
    for name in ("trial-3", "reporting-20260102-030405-0a1b2c"):
        client.set_terminated(client.create_run(experiment, run_name=name).info.run_id)
    log_comparison(mlflow_settings, compared())
    assert [row.config for row in compared().rows] == ["baseline"]


def test_the_best_trial_of_each_study_is_named_with_its_number(compared: Compare, log_run: LogRun) -> None:
    log_run("tuning", study="old", trial="7")
    log_run("tuning", study="new", trial="3")
    log_run("tuning", study="new", trial="12")
    found = compared()
    assert [row.config for row in found.rows] == ["tuning (trial 12 of new)", "tuning (trial 7 of old)"]


def test_a_run_from_the_cache_has_the_costs_of_the_run_that_trained(compared: Compare, log_run: LogRun) -> None:
    costs = {"training_seconds": 2.0, "package_bytes": 9.0, "gate.latency.figure": 0.5, "f1_macro": 0.1}
    first = log_run("baseline", metrics=costs)
    again = log_run("baseline", metrics={"f1_macro": 0.2}, trained_by_run=first)
    (row,) = compared().rows
    assert row.run_id == again
    assert (row.value, row.training_seconds, row.package_bytes, row.latency_ms) == (0.2, 2.0, 9, 0.5)


def test_the_run_in_production_is_a_row_even_where_its_config_ran_again(
    compared: Compare, mlflow_settings: Settings, model_name: str, log_run: LogRun, version: Callable[[], str]
) -> None:
    old = log_run("baseline", metrics={"f1_macro": 0.8}, model_version=version())
    new = log_run("baseline", metrics={"f1_macro": 0.7}, model_version=version())
    ProductionPointer(mlflow_settings, model_name).promote("1", "by hand", "tester")
    rows = compared().rows
    assert [(row.config, row.run_id) for row in rows] == [("baseline, version 1", old), ("baseline", new)]
    assert [row.in_production for row in rows] == [True, False]


def test_another_metric_orders_the_rows_and_has_no_interval(compared: Compare, log_run: LogRun) -> None:
    log_run("a", metrics={"f1_macro": 0.9, "f1_macro_low": 0.8, "f1_macro_high": 1.0, "log_loss": 0.4})
    log_run("b", metrics={"f1_macro": 0.8, "log_loss": 0.3})
    log_run("c", metrics={"f1_macro": 0.7})
    found = compared("log_loss")
    assert [row.config for row in found.rows] == ["b", "a", "c"]
    assert [row.value for row in found.rows] == [0.3, 0.4, None]
    assert {row.low for row in found.rows} == {None}
    assert "no log_loss: c" in found.notes


def test_different_primary_metrics_need_a_choice(compared: Compare, log_run: LogRun) -> None:
    log_run("baseline", metrics={"f1_macro": 0.9, "accuracy": 0.9})
    log_run("other", {"evaluate.primary_metric": "accuracy"}, {"accuracy": 0.8, "f1_macro": 0.1})
    with pytest.raises(ConfigError, match=r"accuracy of other; f1_macro of baseline\): choose one with --metric"):
        compared()
    assert [row.config for row in compared("accuracy").rows] == ["baseline", "other"]


def test_a_metric_that_no_run_has_is_refused(compared: Compare, log_run: LogRun) -> None:
    log_run("baseline", metrics={"f1_macro": 0.9, "training_seconds": 1.0})
    with pytest.raises(ConfigError, match="no run has the metric 'f1_makro'; did you mean 'f1_macro'?"):
        compared("f1_makro")
    with pytest.raises(ConfigError, match="no run has the metric 'training_seconds'"):
        compared("training_seconds")


def test_without_a_finished_run_there_is_nothing_to_compare(compared: Compare, log_run: LogRun) -> None:
    with pytest.raises(RegistryError, match="no run of .* has finished yet"):
        compared()
    log_run("baseline", status="FAILED")
    with pytest.raises(RegistryError, match="no run of .* has finished yet"):
        compared()


def test_one_run_is_a_table_with_a_note(compared: Compare, log_run: LogRun) -> None:
    log_run("baseline", {"train.params.C": 1.0})
    found = compared()
    assert found.parameters == ()
    assert found.notes == ("there is only one run, of baseline: train another config to compare it with",)
    assert interval_figure(found) is not None


@pytest.mark.parametrize("change", [{"split.test_size": "0.3"}, {"seed": "7"}, {"data_version": "others"}])
def test_metrics_of_different_rows_have_a_note(compared: Compare, log_run: LogRun, change: dict[str, str]) -> None:
    same = {"split.test_size": "0.2", "seed": "1", "dataset.time": "None"}
    log_run("a", same)
    log_run("b", {key: value for key, value in same.items() if key != "dataset.time"})
    assert compared().notes == ()
    tags = {key: value for key, value in change.items() if key == "data_version"}
    log_run("c", same | {key: value for key, value in change.items() if key not in tags}, **tags)
    (note,) = compared().notes
    assert note == "the metrics are of different held-out rows, since data, split or seed differ: c; b, a"


def test_only_parameters_that_determine_the_model_count_as_differences() -> None:
    a = {"train.estimator": "x.A", "train.params.C": "1", "embed.reducer": "pca", "promote.policy": "better"}
    b = {"train.estimator": "x.B", "train.params.depth": "3", "embed.reducer": "pca", "promote.policy": "always"}
    unset = {"embed.n_components": "None", "dataset.drop": "[]"}
    assert differing_parameters([a, b | unset]) == ("train.estimator", "train.params.C", "train.params.depth")


def test_parameters_have_the_shortest_unique_names() -> None:
    keys = ["train.estimator", "train.params.C", "train.params.estimator.params.C", "embed.kind", "train.params.kind"]
    assert list(short_names(keys).values()) == [
        "estimator",
        "C",
        "estimator.params.C",
        "embed.kind",
        "train.params.kind",
    ]
    assert [short_value(value) for value in ("sklearn.svm.SVC", "0.5", "rbf")] == ["SVC", "0.5", "rbf"]


def test_a_label_is_the_run_name_without_its_date() -> None:
    assert label_of("variation_svm-20261121-133058-73e7b7") == "variation_svm"
    assert label_of("by-hand") == "by-hand"


def test_reasons_and_notes_follow_the_table(two: Comparison) -> None:
    assert list(conclusions(two)) == [
        "variation_svm: refused: against_champion: worse",
        "baseline: in Production: gate passed",
    ]


@pytest.mark.parametrize(
    ("uri", "pages"),
    [
        ("sqlite:////srv/mlflow.db", "http://127.0.0.1:5000"),
        ("https://ann:secret@mlflow.example:8443/sub/", "https://mlflow.example:8443/sub"),
    ],
)
def test_the_link_opens_the_runs_in_mlflow(monkeypatch: pytest.MonkeyPatch, uri: str, pages: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    link = compare_link(Settings(), "1", ["a1", "b2"])
    assert link.startswith(f"{pages}/#/compare-runs?runs=%5B%22a1%22%2C%22b2%22%5D&")
    query = parse_qs(urlsplit(link).fragment.partition("?")[2])
    assert query.pop("workflowType") == ["machine_learning"]
    assert {key: json.loads(value) for key, (value,) in query.items()} == {"runs": ["a1", "b2"], "experiments": ["1"]}


def test_page_and_picture_are_written(two: Comparison, tmp_path: Path) -> None:
    files = write_comparison(two, tmp_path / "new" / "folder")
    assert [path.name for path in files] == ["comparison.md", "comparison.png"]
    assert sorted(files) == sorted((tmp_path / "new" / "folder").iterdir()), "nothing else is left"
    assert files[1].read_bytes().startswith(b"\x89PNG")
    page = files[0].read_text()
    assert two.url in page
    assert "](comparison.png)" in page


def test_a_folder_that_cannot_be_written_is_one_error(two: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--output: cannot write to .*file \(File exists\)"):
        write_comparison(two, tmp_path / "file")


def test_the_same_comparison_is_logged_once(two: Comparison, mlflow_settings: Settings) -> None:
    client = connect(mlflow_settings)
    run = log_comparison(mlflow_settings, two)
    assert log_comparison(mlflow_settings, two) == run
    logged = client.get_run(run)
    assert (logged.info.run_name, logged.info.status) == ("comparison", "FINISHED")
    assert logged.data.tags["ratchet.pipeline"] == "comparison"
    assert client.get_experiment(logged.info.experiment_id).name == f"{two.model}.comparisons"
    assert "| variation_svm |" in logged.data.tags["mlflow.note.content"]
    assert "comparison.json" in {Path(file.path).name for file in text_files(mlflow_settings, two.model)}
    logged_files = {file.path for file in client.list_artifacts(run)}
    assert logged_files == {"comparison.json", "comparison.md", "comparison.png"}
    assert log_comparison(mlflow_settings, two.model_copy(update={"notes": ("another",)})) != run


def test_the_figure_has_each_config_with_the_metric_and_marks_the_champion(two: Comparison) -> None:
    forest = two.rows[0].model_copy(update={"config": "forest", "value": 0.7})
    unmeasured = two.rows[0].model_copy(update={"config": "unmeasured", "value": None})
    figure = interval_figure(two.model_copy(update={"rows": (*two.rows, forest, unmeasured)}))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["variation_svm", "baseline\n(in Production)", "forest"]


def test_without_a_measured_row_there_is_no_figure(two: Comparison) -> None:
    rows = tuple(row.model_copy(update={"value": None}) for row in two.rows)
    assert interval_figure(two.model_copy(update={"rows": rows})) is None


def test_names_and_reasons_are_no_markup_on_the_page(two: Comparison) -> None:
    hostile = two.rows[0].model_copy(update={"config": "<b>|x", "why": "[a](b)"})
    page = markdown(two.model_copy(update={"rows": (hostile,)}))
    assert r"\<b\>\|x" in page
    assert r"\[a\](b)" in page
    assert "<b>" not in page
