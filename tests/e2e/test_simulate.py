"""The command simulate, against a real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.data import load_dataset
from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.prediction_rows import PredictionRows, Span
from ratchet.store.tables import feedback
from simulation.run import load_simulation
from simulation.stream import Stream
from tests.conftest import ROOT, Cli
from tests.e2e.test_cli import refused
from tests.fitted import CONFIGS, baseline
from tests.process_groups import kill_group
from tests.serving.conftest import published
from tests.serving.running import Service, serving


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Stores that only these tests use."""
    folder = tmp_path_factory.mktemp("simulated")
    return Settings(home=folder, models_dir=folder / "models")


@pytest.fixture(scope="module")
def model(home: Settings) -> str:
    """The baseline, in Production."""
    return published(home, baseline()).model


@pytest.fixture(scope="module")
def service(home: Settings, model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The baseline behind HTTP."""
    with serving(home, model, tmp_path_factory.mktemp("simulated-service") / "output") as running:
        yield running


@pytest.fixture
def simulate(model: str, here: Cli) -> Cli:
    """The command for the bundled simulation of this test's model."""
    return partial(here, "simulate", *overrides_for(model))


def overrides_for(model: str, *overrides: str) -> list[str]:
    """The bundled simulation of a model, as fast as it goes."""
    return [word for value in (f"model={model}", "stream.rate=0", *overrides) for word in ("--set", value)]


def url(service: Service) -> tuple[str, str]:
    return "--url", f"http://127.0.0.1:{service.port}"


@pytest.mark.slow
def test_the_bundled_stream_lowers_quality_and_all_of_it_is_in_the_store(
    simulate: Cli, service: Service, home: Settings, model: str, tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    result = simulate("--set", "stream.rows=600", *url(service), "--record", str(record), "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    before, after = report["segments"]
    assert (before["first"], before["last"], after["last"]) == (0, 299, 599)
    assert before["figures"]["accuracy"] - after["figures"]["accuracy"] > 0.1
    assert before["figures"]["f1_macro"] - after["figures"]["f1_macro"] > 0.1
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    labelled = {row["prediction_id"]: row["label"] for row in rows if row["label"] is not None}
    assert report["labels"] == len(labelled) > 500
    with open_store(home).reading() as connection:
        labels = sa.select(feedback.c.prediction_id, feedback.c.target).where(feedback.c.model == model)
        assert dict(connection.execute(labels).all()) == labelled  # type: ignore[arg-type]
        stored = PredictionRows(connection, "features").between(Span(), model=model)
        sent = {row["id"]: row["features"] for row in stored}
    config = load_simulation(CONFIGS / "simulate.yaml", ["stream.rows=600"])
    examples = Stream(config, load_dataset(config.dataset, config.task))
    assert [sent[row["prediction_id"]] for row in rows] == [example.record for example in examples]


def test_it_ends_with_a_table(simulate: Cli, service: Service) -> None:
    words = ("stream.rows=100", "stream.batch=20", "drift=[]")
    result = simulate(*[part for word in words for part in ("--set", word)], *url(service))
    lines = result.stdout.splitlines()
    assert lines[0].startswith("row 100: accuracy 0.9")
    assert lines[1].split() == ["phase", "rows", "version", "answers", "labels", "accuracy", "f1_macro", "median", "ms"]
    assert lines[2].split()[:5] == ["before", "0", "to", "99", "1"]
    assert lines[3].startswith("100 rows answered, ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_summary(service: Service, model: str, number: signal.Signals) -> None:
    words = [sys.executable, "run.py", "simulate", *overrides_for(model, "stream.rows=1000000"), *url(service)]
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("row 100:")
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        kill_group(process.pid)
        process.wait(30)
    assert process.returncode == 0, errors
    assert "ended early: " in output
    assert errors == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "model=wine"], "the config simulates 'wine'"),
        (["--set", "dataset={source: sklearn, name: wine, target: kind}", "--set", "drift=[]"], "its features are not"),
        (["--set", "labels.flip={versicolor: rose}"], "labels.flip: the data set has no class 'rose'"),
        (["--set", "stream.rows=200"], "begins at row 300, but the stream ends at row 199"),
        (["--config", "baseline.yaml", "--set", "stream=1"], "unknown key"),
        (["--url", "http://127.0.0.1:9"], "no service at http://127.0.0.1:9"),
        (["--url", "localhost"], "expected such as http://127.0.0.1:8000"),
    ],
)
def test_a_wrong_config_or_service_is_one_line_and_status_2(
    simulate: Cli, service: Service, words: list[str], message: str
) -> None:
    assert message in refused(simulate(*url(service), *words))
