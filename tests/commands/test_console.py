from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands.console import errors, formats, live_steps, production, runs, watch
from ratchet.config.files import load_config
from ratchet.data.first_rows import CheckedRows
from ratchet.data.suspicion import Suspicion
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
        mlflow_url="http://127.0.0.1:5000/#/runs/m",
        tracking_uri="sqlite:///x.db",
        exports=Path("models/iris"),
        warnings=("column 'a': numbers the rows (0, 1, …): dataset.drop: [a]",),
    )


def test_the_summary_has_metrics_version_decision_and_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    runs.print_summary(summary())
    output = capsys.readouterr().out
    for part in ("0.9300  (95% interval 0.8000 to 1.0000, 30 held-out rows)", "iris version 1, stage Production"):
        assert part in output
    assert "promoted: because" in output
    assert "data warning     column 'a': numbers the rows (0, 1, …): dataset.drop: [a]" in output
    assert "ingest cached, train 1.50 s" in output
    assert "python run.py serve --model iris" in output


def test_the_next_command_names_nothing_but_the_model_that_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    for outcome, version in (("promoted", "1"), ("promoted", "2"), ("refused", "1")):
        trained = summary(outcome, version)
        trained.config = load_config(BASELINE, ["model=late"])
        trained.exports = Path("models/late")
        runs.print_summary(trained)
        output = capsys.readouterr().out
        assert "late" in output.splitlines()[-1]
        assert "iris" not in output
        assert "variation" not in output


def test_more_warnings_than_fit_on_a_terminal_are_counted() -> None:
    *first, last = runs.shown_warnings([f"column {at}" for at in range(64)])
    assert (len(first), last) == (10, "54 more in data_warnings.json of the MLflow run")


def test_after_the_first_promotion_the_next_command_compares(capsys: pytest.CaptureFixture[str]) -> None:
    runs.print_summary(summary(outcome="refused", version="2"))
    assert capsys.readouterr().out.rstrip().endswith("run.py compare --model iris")


@pytest.mark.parametrize("verbose", [True, False])
def test_a_line_of_watch_in_a_pipe_is_whole_and_has_the_date(capsys: pytest.CaptureFixture[str], verbose: bool) -> None:
    watch.print_event("iris: run 1 promoted version 2: " + "x" * 300, verbose=verbose)
    line = capsys.readouterr().out
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d iris: run 1 promoted version 2: x{300}\n", line)


def test_without_a_terminal_each_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with live_steps.live_steps(("ingest", "train")) as listen:
        listen("ingest", "cached")
        listen("train", "started")
        listen("train", "failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "✓ ingest cached"
    assert lines[1].startswith("✗ train failed 0.0")


def test_steps_are_live_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with live_steps._live_display(("ingest", "train")) as listen:
        for event in ("started", "finished"):
            listen("ingest", event)
        listen("train", "cached")
        listen("unknown", "started")
    output = capsys.readouterr().err
    assert "ingest" in output
    assert "cached" in output


def test_an_error_that_ctrl_c_has_caused_is_an_interruption() -> None:
    """As where ZenML cannot write that a run has failed, since the interrupted transaction holds its store."""
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise OSError("database is locked")  # noqa: B904
    except OSError as error:
        caused = error
    assert errors.was_interrupted(caused)
    assert not errors.was_interrupted(OSError("database is locked"))
    assert not errors.was_interrupted(None)


def test_a_plan_is_yaml_with_comments(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    plan = SimpleNamespace(steps=("ingest", "train"), estimator="Ridge()", data_version="abc")
    warning = Suspicion(column="two\nlines", kind="id", found="f", fix='dataset.drop: ["two\\nlines"]')
    runs.print_plan(load_config(BASELINE), plan, "configs/baseline.yaml", CheckedRows(150, True, (warning,)))
    output = capsys.readouterr().out
    assert "# plan: ingest → train" in output
    assert "# data version: abc\n# data: all 150 rows are checked\n" in output
    assert output.endswith("# data warning: column 'two\\nlines': f: dataset.drop: [\"two\\nlines\"]\n")
    assert yaml.safe_load(output)["train"]["params"] == {"C": 1.0, "max_iter": 500}


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    formats.print_json({"a": "ä"})
    assert json.loads(capsys.readouterr().out) == {"a": "ä"}


@pytest.mark.parametrize(
    ("code", "repaired", "expected"),
    [
        ("alias_differs", False, "  repair: set the alias\nrepair it with: python run.py doctor --repair\n"),
        ("alias_differs", True, "  repaired: set the alias\n"),
        ("left", True, "  not repaired: set the alias\n"),
    ],
)
def test_a_finding_has_its_repair_or_the_result(
    capsys: pytest.CaptureFixture[str], code: str, repaired: bool, expected: str
) -> None:
    finding = SimpleNamespace(code=code, explanation="it differs", repair="set the alias", is_note=False)
    production.print_findings([finding], [finding] if code == "left" else [], repaired=repaired)
    assert capsys.readouterr().out == f"{code}: it differs\n{expected}"


def status(**verdict: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    hour, day = (now - timedelta(hours=1)).isoformat(), (now - timedelta(days=1)).isoformat()
    return {
        "model": "iris",
        "in_production": "2",
        "since": day,
        "by": "ana",
        "reason": "complaints",
        "kind": "rollback",
        "metrics": {"f1_macro": 0.93, "f1_macro_low": 0.9, "f1_macro_high": 0.96, "false_low": 0.5},
        "trained": None,
        "loop": {
            "watcher": {"when": hour, "interval": 60.0},
            "labels_waiting": 7,
            "drift": {"version": "2", "when": hour, "rows": 200, "share": 0.25, "detected": False},
            "quality": None,
        },
        "verdict": {"healthy": True, "problems": [], "notes": []} | verdict,
    }


def test_status_has_intervals_windows_and_relative_times(capsys: pytest.CaptureFixture[str]) -> None:
    production.print_status(status())
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "reason rolled back: complaints",
        "f1 macro 0.9300 (0.9000 to 0.9600)",
        "false low 0.5000",
        "watcher interval 60, 1 h ago",
        "drift version 2, rows 200, share 0.25, detected no, 1 h ago",
        "quality -",
        "labels waiting 7",
    ):
        assert line in lines
    assert lines[-1] == "iris is healthy"
    assert any(re.fullmatch(r"since \d{4}-\d\d-\d\d \d\d:\d\d \(1 d ago\)", line) for line in lines)


def test_the_verdict_has_every_problem_and_note_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    problems = ["f1 fell: roll back", "a run failed: fix it"]
    production.print_status(status(healthy=False, problems=problems, notes=["no watcher"]))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "iris is not healthy: f1 fell: roll back; a run failed: fix it; no watcher"


def test_without_a_version_in_production_only_the_verdict_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = {"healthy": False, "problems": ["nothing is in Production: train"], "notes": []}
    production.print_status({"model": "iris", "in_production": None, "verdict": verdict})
    assert capsys.readouterr().out == "iris is not healthy: nothing is in Production: train\n"
