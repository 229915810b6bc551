"""The use cases whose data are downloaded, read from a local server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ratchet.config.files import load_config
from ratchet.data import dataset_version, load_dataset, open_source
from ratchet.data.located import located, needed_variables
from tests.originals import CONFIGS, FETCHED, served
from tests.web_server import Site, serving

CASES = [path.relative_to(CONFIGS) for case in FETCHED for path in sorted((CONFIGS / case).glob("*.yaml"))]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.mark.parametrize("path", CASES, ids=str)
def test_a_use_case_reads_its_data_from_a_server(
    site: Site, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_DOWNLOADS_DIR", str(tmp_path))
    config = served(site, path)
    data = load_dataset(config.dataset, config.task)
    assert data.schema.task == config.task
    assert len(data.frame) == len(whole(config.dataset)) if config.dataset.window else 600
    assert data.data_version == dataset_version(config.dataset)


def whole(dataset: Any) -> set[pd.Timestamp]:
    """The times of a series for which the file has a row at each lag."""
    times = set(pd.to_datetime(open_source(dataset).read()[dataset.time]))
    step = {"http": pd.Timedelta(hours=1), "nab": pd.Timedelta(minutes=5)}[dataset.source]
    lags = {lag for lags in dataset.window.lags.values() for lag in lags}
    return {time for time in times if all(time - lag * step in times for lag in lags)}


@pytest.mark.parametrize("case", FETCHED)
def test_a_use_case_has_a_baseline_and_two_variations_at_least_on_the_same_data(case: str) -> None:
    configs = {path.stem: load_config(path) for path in (CONFIGS / case).glob("*.yaml")}
    training = {name: config for name, config in configs.items() if config.pipeline == "training"}
    assert "baseline" in training
    assert len(training) >= 3
    baseline = training["baseline"]
    for config in training.values():
        assert config.dataset == baseline.dataset
        assert (config.model, config.task, config.evaluate) == (case, baseline.task, baseline.evaluate)


def test_a_forecast_has_past_values_alone(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_DOWNLOADS_DIR", str(tmp_path))
    config = served(site, Path("bike_sharing/baseline.yaml"))
    frame = load_dataset(config.dataset, config.task).frame
    assert not {"casual", "registered", "instant", "dteday", "hr"} & set(frame.columns)
    raw = open_source(config.dataset).read()
    raw.index = pd.DatetimeIndex(pd.to_datetime(raw["time"]))
    for row in frame.to_dict("records"):
        time = pd.Timestamp(row["time"])
        before = {lag: raw.loc[time - pd.Timedelta(hours=lag)] for lag in (1, 24, 168)}
        assert {lag: row[f"cnt_lag_{lag}"] for lag in before} == {lag: past["cnt"] for lag, past in before.items()}
        assert row["temp"] == before[1]["temp"]
        assert (row["cnt"], row["workingday"]) == tuple(raw.loc[time, ["cnt", "workingday"]])


def test_relative_paths_become_absolute() -> None:
    root = Path("/project")
    assert located({"source": "csv", "path": "data/a.csv"}, root)["path"] == "/project/data/a.csv"
    nab = {"source": "nab", "values": {"path": "v.csv"}, "labels": {"url": "https://a/b.json"}, "drop": ["path"]}
    assert located(nab, root) == nab | {"values": {"path": "/project/v.csv"}}
    assert located({"url": "sqlite:///a.db"}, root) == {"url": "sqlite:////project/a.db"}
    for url in ("sqlite:////elsewhere/a.db", "sqlite:///:memory:", "postgresql://host/a", "https://a/b.csv"):
        assert located({"url": url}, root) == {"url": url}


def test_a_process_in_another_home_has_the_variables_of_downloads_and_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_THINGS", "postgresql://host/things")
    assert needed_variables({"url_env": "RATCHET_THINGS"}, tmp_path) == {
        "RATCHET_DOWNLOADS_DIR": str(tmp_path),
        "RATCHET_THINGS": "postgresql://host/things",
    }
