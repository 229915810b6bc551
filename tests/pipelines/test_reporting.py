"""The reporting pipeline on real stores: one report and everything that it writes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from pipelines.report_runner import NoPredictions, ReportSummary, run_reporting
from pipelines.runner import RunOptions
from ratchet.config.reporting import ReportingConfig
from ratchet.data.row_identities import contents_of
from ratchet.errors import RegistryError
from ratchet.monitoring.reports.job import workspace
from ratchet.monitoring.reports.record_files import export_records
from ratchet.monitoring.reports.version_rows import VersionRows, load_version_rows, training_rows
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings, load_settings
from ratchet.store.database import open_store
from ratchet.store.predictions import insert_predictions
from ratchet.store.tables import feedback
from ratchet.tracking import connect
from ratchet.tracking.keys import column_key
from tests.conftest import ROOT, Cli
from tests.training_runs import config_for, train_in

MODEL = "reported"
CONFIG = ReportingConfig(pipeline="reporting", model=MODEL)
ROWS = 90


@dataclass(frozen=True)
class Reported:
    """A champion before and after its predictions, and its report."""

    settings: Settings
    subject: VersionRows
    before: ReportSummary | NoPredictions
    summary: ReportSummary


def store_predictions(settings: Settings, subject: VersionRows) -> None:
    """Store predictions of a version for rows of its data set, two of three with their label."""
    rows = pd.concat([subject.train, subject.holdout]).head(ROWS)
    features = subject.schema.select(rows).assign(sepal_width=lambda frame: frame["sepal_width"] + 2)
    predicted = subject.model.predict(features)
    common: dict[str, Any] = {"model": MODEL, "version": subject.version.version, "created_at": time.time()}
    store = open_store(settings)
    insert_predictions(
        store,
        [
            {
                **common,
                "id": f"00-reported-{at:024d}",
                "features": features.iloc[at].to_dict(),
                "prediction": predicted[at],
                "score": None,
                "probabilities": None,
                "latency": 0.001,
            }  # type: ignore[typeddict-item]
            for at in range(ROWS)
        ],
    )
    truths = [
        {
            **common,
            "prediction_id": f"00-reported-{at:024d}",
            "revision": 1,
            "target": truth,
            "correct": None,
            "source": "api",
        }
        for at, truth in enumerate(rows[subject.schema.target])
        if at % 3
    ]
    with store.transaction() as connection:
        connection.execute(sa.insert(feedback), truths)


def run(settings: Settings) -> ReportSummary | NoPredictions:
    return run_reporting(CONFIG, settings, RunOptions("test"))


@pytest.fixture(scope="module")
def reported(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reported]:
    """A champion with predictions, and one report on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        here = load_settings()
        train_in(here, config_for(MODEL))
        champion = ProductionPointer(here, MODEL).current()
        assert champion
        subject = load_version_rows(here, champion)
        reports = set(workspace(here).rglob("*"))  # those of other models in this home
        before = run(here)
        assert set(workspace(here).rglob("*")) == reports
        store_predictions(here, subject)
        summary = run(here)
        assert isinstance(summary, ReportSummary)
        yield Reported(here, subject, before, summary)


def test_a_champion_without_predictions_has_nothing_to_report(reported: Reported) -> None:
    assert isinstance(reported.before, NoPredictions)
    fields = dict(reported.before.fields)
    assert fields["reported"] == "version 1 has no predictions yet: there is nothing to report on"
    assert "prod_data.csv (0 rows)" in fields["files"]


def test_the_summary_has_quality_drift_and_the_columns_that_drifted(reported: Reported) -> None:
    report = reported.summary.report
    assert (report.predictions, report.labelled) == (90, 60)
    assert report.drifted == ("sepal_width",)
    assert report.drift_share == 0.25
    fields = dict(reported.summary.fields)
    assert fields["reported"] == "version 1: 90 predictions, 60 labelled"
    assert fields["f1_macro"] == f"{report.figures['f1_macro'][0]:.4f}  (holdout 0.9333)"
    assert "against version 1: 1 of 4 features drifted" in fields["drift"]
    assert "; psi sepal_width " in fields["drift"]


def test_the_page_and_the_figures_are_in_mlflow(reported: Reported) -> None:
    client = connect(reported.settings)
    found = client.get_run(reported.summary.mlflow_run_id)
    assert found.data.tags["ratchet.pipeline"] == "reporting"
    assert found.data.metrics["production.f1_macro"] == reported.summary.report.figures["f1_macro"][0]
    assert found.data.metrics["drift_share"] == 0.25
    assert found.data.metrics[f"drift.{column_key('sepal_width')}"] > 0.2
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert files == {"report.html", "report.json", "drift_columns.csv"}


def test_the_page_and_the_figures_are_artifacts_of_zenml(reported: Reported) -> None:
    from zenml.client import Client
    from zenml.types import HTMLString

    outputs = Client().get_pipeline_run(reported.summary.zenml_run_id).steps["report"].outputs
    page, content = outputs["report_page"][0].load(), outputs["report"][0].load()
    assert isinstance(page, HTMLString)
    assert "<!DOCTYPE html>" in page
    assert content["drifted"] == ["sepal_width"]


def test_only_the_worker_process_imports_evidently() -> None:
    program = "import sys, pipelines.report_runner, pipelines.reporting\nsys.exit('evidently' in sys.modules)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, check=True)


def test_the_training_rows_are_those_that_the_package_was_fitted_on(reported: Reported) -> None:
    package = fetch_package(reported.settings, reported.subject.version)
    train, _ = training_rows(reported.settings, reported.subject.version)
    assert np.array_equal(contents_of(train, package.schema.target), package.training_rows.contents)


def test_the_record_files_hold_the_features_of_the_versions_embedder(reported: Reported) -> None:
    production = pd.read_csv(reported.settings.data_dir / "prod_data.csv")
    assert list(production.columns) == ["PCA_1", "PCA_2", "PCA_3", "target", "prediction"]
    estimator = reported.subject.model.named_steps["model"]
    assert estimator.predict(production.filter(like="PCA").to_numpy()).tolist() == production["prediction"].tolist()
    written = export_records(reported.settings, open_store(reported.settings), reported.subject.version)
    folder = reported.settings.data_dir
    assert written == f"{folder}/ref_data.csv (120 rows), {folder}/prod_data.csv (60 rows)"
    assert pd.read_csv(folder / "prod_data.csv").equals(production)


def test_no_temporary_folder_is_left_in_the_home(reported: Reported) -> None:
    assert not list(reported.settings.home.glob(".report-*"))


def test_without_a_champion_there_is_no_report(settings: Settings, model: str) -> None:
    connect(settings).create_registered_model(model)
    config = CONFIG.model_copy(update={"model": model})
    with pytest.raises(RegistryError, match="nothing is in Production yet: train it, or promote a version"):
        run_reporting(config, settings, RunOptions("test"))


@pytest.mark.slow
def test_evidentlys_pages_have_a_point_in_every_panel_and_the_report(reported: Reported) -> None:
    from playwright.sync_api import sync_playwright

    with pages() as url:
        (project,) = [found for found in ask(f"{url}/api/projects/") if found["name"] == MODEL]
        dashboard = ask(f"{url}/api/v2/dashboards/{project['id']}")
        (tab,) = dashboard["tabs"]
        assert tab["panels"] == [panel["id"] for panel in dashboard["panels"]], "each panel once"
        titles = {panel["title"] for panel in dashboard["panels"]}
        assert {"F1 (macro)", "Balanced accuracy", "Precision (macro)", "Recall (macro)"} <= titles
        assert {"Share of drifted columns", "Predictions in the window", "Predictions by class"} <= titles
        for panel in dashboard["panels"]:
            series = ask(
                f"{url}/api/v2/snapshots/{project['id']}/data_series_batch", {"series_filter": panel["values"]}
            )
            assert series["series"], panel["title"]
            assert all(len(one["values"]) == 1 for one in series["series"]), panel["title"]
        (source,) = series["sources"]
        behind = ask(f"{url}/api/projects/{project['id']}/{source['snapshot_id']}/data")
        assert "sepal_width" in json.dumps(behind["widgets"])
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1600, "height": 1200})
            page.goto(url)
            page.get_by_text(MODEL, exact=True).first.click()
            for title in titles:
                page.get_by_text(title, exact=True).first.wait_for()
            page.goto(f"{url}/projects/{project['id']}/reports/{source['snapshot_id']}")
            page.get_by_text("sepal_width", exact=True).first.wait_for()
            browser.close()


@contextmanager
def pages() -> Iterator[str]:
    """Serve ``run.py ui evidently`` on a free port; it has to end with status 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "run.py"), "ui", "evidently", "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/api/version", process)
        yield url
    finally:
        process.terminate()
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "", f"{url} until Ctrl-C\n")


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            ask(url)
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answered:
        return json.load(answered)


def test_commands_without_a_report_or_with_another_pipeline_end_with_one_line(cli: Cli, tmp_path: Path) -> None:
    home = {"RATCHET_HOME": str(tmp_path / "home")}
    no_report = cli("ui", "evidently", **home)
    assert (no_report.returncode, no_report.stderr.count("\n")) == (2, 1)
    assert "there is no report in" in no_report.stderr
    wrong = cli("report", "--config", "baseline.yaml", **home)
    assert wrong.returncode == 2
    assert wrong.stderr.endswith("pipeline: got 'training', expected 'reporting'\n")
