from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands.console import runs
from ratchet.config.files import load_config
from ratchet.model.evaluation import Evaluation
from ratchet.monitoring.drift.report import DriftReport
from ratchet.registry.promote_challenger import Promotion
from tests.conftest import ROOT

BASELINE = ROOT / "configs" / "baseline.yaml"


def summary(outcome: Any = "promoted", version: str = "1") -> Any:
    return SimpleNamespace(
        config=load_config(BASELINE),
        evaluation=Evaluation(
            metrics={"f1_macro": 0.93, "accuracy": 0.92},
            primary_metric="f1_macro",
            low=0.8,
            high=1,
            confidence=0.95,
            n_rows=30,
        ),
        promotion=Promotion(version=version, outcome=outcome, stage="Production", champion="1", reason="because"),
        drift=DriftReport(reference=None, method="psi"),
        steps=(
            SimpleNamespace(name="ingest", status="cached", seconds=0.0),
            SimpleNamespace(name="train", status="completed", seconds=1.5),
        ),
        run_name="baseline-1",
        zenml_run_id="z",
        mlflow_run_id="m",
        tracking_uri="sqlite:///x.db",
        exports=Path("models/iris"),
    )


def test_the_summary_says_what_a_person_wants_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    runs.print_summary(summary())
    said = capsys.readouterr().out
    for part in ("0.9300  (95% interval 0.8000 to 1.0000, 30 held-out rows)", "iris version 1, stage Production"):
        assert part in said
    assert "promoted: because" in said
    assert "ingest cached, train 1.50 s" in said
    assert "python run.py --config variation_svm.yaml" in said


def test_after_the_first_promotion_the_next_thing_is_to_compare(capsys: pytest.CaptureFixture[str]) -> None:
    runs.print_summary(summary(outcome="refused", version="2"))
    assert "mlflow ui --backend-store-uri sqlite:///x.db" in capsys.readouterr().out


def test_runs_on_a_server_are_looked_at_on_its_own_pages(capsys: pytest.CaptureFixture[str]) -> None:
    told = summary(outcome="refused", version="2")
    told.tracking_uri = "http://mlflow:5000"
    runs.print_summary(told)
    assert "open http://mlflow:5000" in capsys.readouterr().out


def test_steps_are_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with runs.live_steps(("ingest", "train")) as listen:
        listen("ingest", "cached")
        listen("train", "started")
        listen("train", "failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "✓ ingest cached"
    assert lines[1].startswith("✗ train failed 0.0")


def test_steps_are_live_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with runs._live_display(("ingest", "train")) as listen:
        for event in ("started", "finished"):
            listen("ingest", event)
        listen("train", "cached")
        listen("unknown", "started")
    said = capsys.readouterr().err
    assert "ingest" in said
    assert "cached" in said


def test_a_plan_is_yaml_with_comments(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    plan = SimpleNamespace(steps=("ingest", "train"), estimator="Ridge()", data_version="abc")
    runs.print_plan(load_config(BASELINE), plan, "configs/baseline.yaml")
    said = capsys.readouterr().out
    assert "# plan: ingest → train" in said
    assert yaml.safe_load(said)["train"]["params"] == {"C": 1.0, "max_iter": 500}


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    runs.print_json({"a": "ä"})
    assert json.loads(capsys.readouterr().out) == {"a": "ä"}
