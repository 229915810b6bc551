"""Triggers of continuous training, what blocks a run, and the decision."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from ratchet.config import Feedback as FeedbackConfig
from ratchet.config import config_hash
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.loop import triggers
from ratchet.loop.decisions import Decider
from ratchet.loop.training_runs import TrainingRun, TrainingRuns
from ratchet.loop.triggers import (
    TriggerInput,
    TriggerResult,
    blocking_reason,
    cron_due,
    drift_detected,
    every_k_labels,
    quality_dropped,
    target_watermark,
)
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.live_quality import Quality
from ratchet.monitoring.production_rows import watermark
from ratchet.monitoring.windows import (
    drift_windows,
    quality_windows,
    record_drift_of_training,
    record_drift_window,
    record_quality,
)
from ratchet.registry.audit_share import audit_share_of
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.clock import TOLERANCE
from ratchet.store.database import Store
from ratchet.store.tables import drift_results, quality_results
from ratchet.tracking import DIGEST_TAG, connect
from tests.fitted import Trained, loop_config, registered
from tests.labels import Stream, records
from tests.store_rows import url_of

FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}


@pytest.fixture
def stream(store: Store) -> Stream:
    return Stream(store)


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "SETTLED_AFTER", -TOLERANCE)


@pytest.fixture(scope="session")
def champion(iris_package: tuple[Path, str]) -> Package:
    return load_package(*iris_package)


def only(**triggers: Any) -> ContinuousTrainingConfig:
    """Return a config with these triggers only."""
    return loop_config(f"triggers={triggers!r}".replace("'", '"'))


def never() -> Any:
    raise AssertionError("the package must not be loaded")


def given(
    stream: Stream,
    config: ContinuousTrainingConfig,
    since: float | None = None,
    package: Callable[[], Package] = never,
    metrics: dict[str, float] | None = None,
    version: str = "1",
) -> TriggerInput:
    """Return the triggers' input, half an hour after the champion's promotion."""
    since = time.time() - 1800 if since is None else since
    last = TrainingRuns(stream.store, stream.model).last()
    return TriggerInput(stream.store, config, version, since, last, package, lambda: metrics or {})


def labels(
    stream: Stream, count: int, prediction: str = "setosa", truth: str = "setosa", version: str = "1"
) -> list[int]:
    shares = {"setosa": 0.8, "versicolor": 0.15, "virginica": 0.05}
    return stream.label(stream.answer([FLOWER] * count, prediction, version=version, probabilities=shares), truth)


def ran(stream: Stream, mark: int, digest: str = "config") -> TrainingRun:
    """Store a run on the labels up to a watermark that has just ended."""
    runs = TrainingRuns(stream.store, stream.model)
    run = runs.open(mark, digest, "a test")
    return runs.end(run, "refused", "no better")


@pytest.mark.parametrize("trigger", [every_k_labels, drift_detected, quality_dropped, cron_due])
def test_a_trigger_that_is_not_configured_reads_nothing(trigger: Any, stream: Stream) -> None:
    labels(stream, 300)
    assert trigger(given(stream, only())) is None


def test_labels_fire_at_every_multiple_of_k_and_the_run_uses_that_many(stream: Stream) -> None:
    view = given(stream, only(every_k_labels=10))
    seqs = labels(stream, 9)
    assert every_k_labels(view) == TriggerResult(False, "9 of 10 labels", "9/10 labels")
    seqs += labels(stream, 1)
    fired = every_k_labels(view)
    assert fired == TriggerResult(True, "10 or more new labels", "10 new labels", 10)
    assert target_watermark(view, [fired]) == seqs[9]
    seqs += labels(stream, 15)
    assert every_k_labels(view) == fired, "it counts no further than it has to"
    assert target_watermark(view, [fired]) == seqs[19], "at the last multiple, whenever one looks"


def test_labels_of_an_earlier_run_do_not_fire_again(stream: Stream) -> None:
    config = only(every_k_labels=10)
    seqs = labels(stream, 15)
    ran(stream, seqs[9])
    assert every_k_labels(given(stream, config)) == TriggerResult(False, "5 of 10 labels", "5/10 labels")
    seqs += labels(stream, 5)
    view = given(stream, config)
    again = every_k_labels(view)
    assert (again.fires, target_watermark(view, [again])) == (True, seqs[19])


def test_corrections_and_feedback_without_a_target_do_not_count_for_the_trigger(stream: Stream) -> None:
    ids = stream.answer([FLOWER] * 10, "setosa")
    stream.label(ids[:5], "setosa")
    stream.label(ids[:5], "virginica")
    stream.label(ids[5:], None, correct=False)
    finding = every_k_labels(given(stream, only(every_k_labels=6)))
    assert (finding.fires, finding.line) == (False, "5 of 6 labels")


WINDOW = 60
DRIFT = {"window": WINDOW, "k": 2, "n": 3}


def usual(iris: Trained, seed: int = 0) -> list[Any]:
    """Return a window of training rows."""
    return records(iris.train.drop(columns="species").sample(WINDOW, random_state=seed))


def unusual(iris: Trained, seed: int = 0) -> list[Any]:
    """Return a window of shifted rows."""
    return records(iris.train.drop(columns="species").sample(WINDOW, random_state=seed) + 3.0)


def sent(stream: Stream, champion: Package, rows: list[Any], **options: Any) -> list[str]:
    """Store the champion's predictions of rows; return their ids."""
    answers = champion.model.predict(champion.schema.select(pd.DataFrame(rows))).tolist()
    return stream.answer(rows, answers, **options)


def count(store: Store, table: sa.Table) -> int:
    with store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_drift_fires_in_k_of_the_last_n_windows(stream: Stream, champion: Package, iris: Trained) -> None:
    view = given(stream, only(drift=DRIFT), package=lambda: champion)
    fired = []
    for window in (usual(iris), unusual(iris), usual(iris, 1), unusual(iris, 1), usual(iris, 2), usual(iris, 3)):
        sent(stream, champion, window)
        fired.append(drift_detected(view).fires)
    assert fired == [False, False, False, True, False, False]
    windows = drift_windows(stream.store, "iris", "1", 10)
    assert [window["detected"] for window in windows] == [False, False, True, False, True, False]


def test_the_line_of_the_drift_trigger_has_its_progress(stream: Stream, champion: Package, iris: Trained) -> None:
    view = given(stream, only(drift=DRIFT), package=lambda: champion)
    sent(stream, champion, unusual(iris))
    line = drift_detected(view).line
    assert line.startswith("drift in 1 of the last 1 windows, 2 of 3 are required (drift against version 1: ")
    assert "\n" not in line
    sent(stream, champion, usual(iris)[:20])
    assert drift_detected(view).line.endswith("(20 of 60 rows to the next window)")


def test_a_drift_window_is_compared_once_when_it_is_full(stream: Stream, champion: Package, iris: Trained) -> None:
    loaded: list[int] = []

    def load() -> Package:
        loaded.append(1)
        return champion

    view = given(stream, only(drift=DRIFT), package=load)
    first = sent(stream, champion, usual(iris)[:-1])
    drift_detected(view)
    assert (count(stream.store, drift_results), loaded) == (0, [])
    first += sent(stream, champion, usual(iris)[-1:])
    for _ in range(3):
        drift_detected(view)
        assert (count(stream.store, drift_results), loaded) == (1, [1])
    second = sent(stream, champion, usual(iris, 1))
    drift_detected(view)
    newest, oldest = drift_windows(stream.store, "iris", "1", 10)
    assert (oldest["first_prediction"], oldest["last_prediction"]) == (first[0], first[-1])
    assert (newest["first_prediction"], newest["last_prediction"]) == (second[0], second[-1])
    assert newest["n_rows"] == WINDOW


def test_predictions_of_another_version_do_not_count_for_drift(
    stream: Stream, champion: Package, iris: Trained
) -> None:
    config = only(drift={**DRIFT, "k": 1})
    sent(stream, champion, unusual(iris), version="2")
    assert not drift_detected(given(stream, config)).fires
    assert drift_detected(given(stream, config, package=lambda: champion, version="2")).fires
    assert not drift_detected(given(stream, config)).fires, "nor are its windows"


def test_predictions_before_the_promotion_do_not_count_for_drift(
    stream: Stream, champion: Package, iris: Trained
) -> None:
    sent(stream, champion, unusual(iris), at=time.time() - 3600)
    finding = drift_detected(given(stream, only(drift={**DRIFT, "k": 1})))
    assert not finding.fires
    assert finding.line.endswith("(0 of 60 rows to the next window)")


def test_windows_of_drift_before_the_last_run_do_not_count(stream: Stream, champion: Package, iris: Trained) -> None:
    config = only(drift=DRIFT)
    for seed in (0, 1):
        sent(stream, champion, unusual(iris, seed))
        drift_detected(given(stream, config, package=lambda: champion))
    assert drift_detected(given(stream, config)).fires
    ran(stream, 0)
    assert not drift_detected(given(stream, config)).fires
    sent(stream, champion, unusual(iris, 2))
    after = drift_detected(given(stream, config, package=lambda: champion))
    assert not after.fires
    assert after.line.startswith("drift in 1 of the last 1 windows, 2 of 3 are required")


def test_windows_of_drift_before_the_promotion_do_not_count(stream: Stream, champion: Package, iris: Trained) -> None:
    config = only(drift={**DRIFT, "k": 1})
    sent(stream, champion, unusual(iris))
    assert drift_detected(given(stream, config, package=lambda: champion)).fires
    assert not drift_detected(given(stream, config, since=time.time() + 5)).fires


def test_drifted_rows_that_were_sent_at_once_before_a_silence_fire(
    stream: Stream, champion: Package, iris: Trained
) -> None:
    """Two drifted windows are followed by two usual ones before the only check."""
    view = given(stream, only(drift=DRIFT), package=lambda: champion)
    sent(stream, champion, unusual(iris) + unusual(iris, 1) + usual(iris) + usual(iris, 1))
    found = drift_detected(view)
    assert found.fires
    assert found.line.startswith("drift in 2 of the last 2 windows, 2 of 3 are required (drift against version 1: ")


def test_every_full_window_is_judged_in_order_whatever_the_time_of_the_checks(
    stream: Stream, champion: Package, iris: Trained
) -> None:
    blocks = [usual(iris), unusual(iris), usual(iris, 1), usual(iris, 2), unusual(iris, 1), usual(iris, 3)]
    rows = [row for block in blocks for row in block]
    view = given(stream, only(drift=DRIFT), package=lambda: champion)
    ids = []
    for start, end in ((0, 10), (10, 200), (200, 359), (359, 360)):
        ids += sent(stream, champion, rows[start:end])
        assert not drift_detected(view).fires
    windows = drift_windows(stream.store, "iris", "1", 10)[::-1]
    assert [window["detected"] for window in windows] == [False, True, False, False, True, False]
    assert [window["first_prediction"] for window in windows] == ids[::WINDOW]


def test_a_check_judges_a_limited_number_of_windows_and_the_next_one_continues(
    stream: Stream, champion: Package, iris: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "_MOST_ROWS", 3 * WINDOW)
    view = given(stream, only(drift=DRIFT), package=lambda: champion)
    blocks = [usual(iris, seed) for seed in range(5)] + [unusual(iris, seed) for seed in range(2)]
    ids = sent(stream, champion, [row for block in blocks for row in block])
    found = []
    for _ in range(3):
        fires = drift_detected(view).fires
        found.append((fires, count(stream.store, drift_results)))
    assert found == [(False, 3), (False, 6), (True, 7)]
    assert drift_windows(stream.store, "iris", "1", 1)[0]["last_prediction"] == ids[-1]
    assert drift_detected(view).fires, "also at the next check, if something blocks the run"


def test_a_trigger_that_fires_leaves_later_windows_to_the_next_check(
    stream: Stream, champion: Package, iris: Trained
) -> None:
    view = given(stream, only(drift={**DRIFT, "k": 1, "n": 1}), package=lambda: champion)
    sent(stream, champion, unusual(iris) + usual(iris))
    assert [drift_detected(view).fires for _ in range(3)] == [True, False, False]
    assert count(stream.store, drift_results) == 2


def test_predictions_before_the_last_run_began_are_in_no_later_window(
    stream: Stream, champion: Package, iris: Trained
) -> None:
    sent(stream, champion, unusual(iris), at=time.time() - 60)
    ran(stream, 0)
    found = drift_detected(given(stream, only(drift={**DRIFT, "k": 1})))
    assert not found.fires
    assert found.line.endswith("(0 of 60 rows to the next window)")


QUALITY = {"drop": 0.05, "window": 40, "step": 20, "minimum_rows": 30, "metric": "accuracy", "k": 2, "n": 3}
GOOD = {"accuracy": 1.0, "f1_macro": 1.0}


def test_quality_fires_in_k_of_the_last_n_windows(stream: Stream) -> None:
    view = given(stream, only(quality_drop=QUALITY), metrics=GOOD)
    fired = []
    for truth in ("setosa", "setosa", "virginica", "virginica", "setosa", "setosa", "setosa", "setosa"):
        labels(stream, 20, truth=truth)
        fired.append(quality_dropped(view).fires)
    windows = quality_windows(stream.store, "iris", "1", 10)
    assert [window["dropped"] for window in windows[::-1]] == [False, True, True, True, False, False, False]
    assert fired == [False, False, False, True, True, True, False, False]
    assert [window["n_rows"] for window in windows] == [40] * 7


def test_labels_that_came_at_once_before_a_silence_fire(stream: Stream) -> None:
    """Quality drops in two windows and recovers in three, all between two checks."""
    config = only(quality_drop={**QUALITY, "step": 40})
    labels(stream, 80, truth="virginica")
    labels(stream, 120)
    assert quality_dropped(given(stream, config, metrics=GOOD)).fires
    windows = quality_windows(stream.store, "iris", "1", 10)
    assert [window["value"] for window in windows] == [0.0, 0.0]


def test_every_window_of_labels_is_judged_as_if_checked_at_its_end(stream: Stream) -> None:
    truths = ("setosa", "virginica", "setosa", "setosa", "setosa", "setosa", "setosa", "virginica")
    seqs = [seq for truth in truths for seq in labels(stream, 20, truth=truth)]
    config = only(quality_drop={**QUALITY, "k": 3})
    for _ in range(2):
        assert not quality_dropped(given(stream, config, metrics=GOOD)).fires
    windows = quality_windows(stream.store, "iris", "1", 10)[::-1]
    assert [window["value"] for window in windows] == [0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert [window["last_seq"] for window in windows] == seqs[39::20]


def test_windows_without_a_verdict_do_not_stop_the_quality_trigger(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first windows have fewer rows than a verdict needs, and more of them than one check judges."""
    monkeypatch.setattr(triggers, "_MOST_WINDOWS", 3)
    config = only(quality_drop={**QUALITY, "step": 5, "k": 1})
    labels(stream, 40, truth="virginica")
    fired = [quality_dropped(given(stream, config, metrics=GOOD)).fires for _ in range(2)]
    assert fired == [False, True]
    assert quality_windows(stream.store, "iris", "1", 1)[0]["n_rows"] == 30


def test_labels_of_an_earlier_run_are_in_no_new_window(stream: Stream) -> None:
    seqs = labels(stream, 60, truth="virginica")
    ran(stream, seqs[-1])
    assert not quality_dropped(given(stream, only(quality_drop={**QUALITY, "k": 1}), metrics=GOOD)).fires
    assert count(stream.store, quality_results) == 0


def test_the_line_of_the_quality_trigger_has_the_metric(stream: Stream) -> None:
    view = given(stream, only(quality_drop=QUALITY), metrics=GOOD)
    labels(stream, 10)
    assert quality_dropped(view).line == (
        "quality in 0 of the last 0 windows, 2 of 3 are required (10 of 20 labels of version 1)"
    )
    labels(stream, 10)
    assert quality_dropped(view).line.endswith("(too few rows to tell: 20 labelled, 30 are needed)")
    labels(stream, 20, truth="virginica")
    line = quality_dropped(view).line
    assert line.startswith("quality in 1 of the last 1 windows, 2 of 3 are required (accuracy 0.500 (95 % interval ")
    assert line.endswith("40 rows), 1.000 on the holdout)")


def test_quality_is_not_measured_again_without_enough_new_labels(stream: Stream) -> None:
    config = only(quality_drop=QUALITY)
    seqs = labels(stream, 40)
    quality_dropped(given(stream, config, metrics=GOOD))
    assert quality_windows(stream.store, "iris", "1", 10)[0]["last_seq"] == seqs[-1]
    labels(stream, 19)
    for _ in range(3):
        quality_dropped(given(stream, config, metrics=GOOD))
        assert count(stream.store, quality_results) == 1
    labels(stream, 1)
    quality_dropped(given(stream, config, metrics=GOOD))
    assert count(stream.store, quality_results) == 2


def test_a_quality_window_stores_the_whole_result(stream: Stream) -> None:
    labels(stream, 40, truth="virginica")
    quality_dropped(given(stream, only(quality_drop=QUALITY), metrics=GOOD))
    window = quality_windows(stream.store, "iris", "1", 1)[0]
    assert (window["metric"], window["value"], window["low"], window["high"]) == ("accuracy", 0.0, 0.0, 0.0)
    assert window["estimate"] == pytest.approx(0.8), "expected from the probabilities alone"
    kept = Quality.model_validate(window["report"])
    assert (kept.baseline, kept.dropped, kept.version) == (1.0, True, "1")


def test_rows_marked_as_wrong_count_for_the_quality_trigger(stream: Stream) -> None:
    shares = {"setosa": 0.8, "versicolor": 0.15, "virginica": 0.05}
    stream.label(stream.answer([FLOWER] * 40, "setosa", probabilities=shares), None, correct=False)
    finding = quality_dropped(given(stream, only(quality_drop={**QUALITY, "k": 1}), metrics=GOOD))
    assert finding.fires


def test_corrections_alone_make_no_new_window(stream: Stream) -> None:
    config = only(quality_drop={**QUALITY, "k": 1})
    ids = stream.answer([FLOWER] * 40, "setosa")
    stream.label(ids, "setosa")
    assert not quality_dropped(given(stream, config, metrics=GOOD)).fires
    for truth in ("virginica", "setosa", "virginica"):
        stream.label(ids[:20], truth)
    assert not quality_dropped(given(stream, config, metrics=GOOD)).fires
    assert count(stream.store, quality_results) == 1


def test_windows_do_not_overlap_unless_a_step_is_set(stream: Stream) -> None:
    config = only(quality_drop={key: value for key, value in QUALITY.items() if key != "step"})
    labels(stream, 39)
    quality_dropped(given(stream, config, metrics=GOOD))
    assert count(stream.store, quality_results) == 0
    for _ in range(2):
        labels(stream, 40)
        quality_dropped(given(stream, config, metrics=GOOD))
    assert count(stream.store, quality_results) == 2


def test_without_a_baseline_the_quality_trigger_does_not_fire(stream: Stream) -> None:
    labels(stream, 40, truth="virginica")
    finding = quality_dropped(given(stream, only(quality_drop={**QUALITY, "k": 1})))
    assert not finding.fires
    assert finding.line.endswith(" rows), its value on the holdout is unknown)")


def test_the_primary_metric_decides_by_default(stream: Stream) -> None:
    labels(stream, 40)
    asked = {key: value for key, value in QUALITY.items() if key != "metric"}
    quality_dropped(given(stream, only(quality_drop=asked), metrics=GOOD))
    assert quality_windows(stream.store, "iris", "1", 1)[0]["metric"] == "f1_macro"


def test_windows_by_another_metric_or_of_another_version_do_not_count(stream: Stream) -> None:
    config = only(quality_drop={**QUALITY, "k": 1})
    other = only(quality_drop={**QUALITY, "k": 1, "metric": "f1_macro"})
    labels(stream, 40, truth="virginica")
    assert quality_dropped(given(stream, config, metrics=GOOD)).fires
    assert quality_dropped(given(stream, other, metrics={"f1_macro": 0.0})).fires is False
    assert not quality_dropped(given(stream, config, metrics=GOOD, version="2")).fires


def test_windows_of_quality_before_the_last_run_do_not_count(stream: Stream) -> None:
    config = only(quality_drop={**QUALITY, "k": 1})
    seqs = labels(stream, 40, truth="virginica")
    assert quality_dropped(given(stream, config, metrics=GOOD)).fires
    ran(stream, seqs[-1])
    assert not quality_dropped(given(stream, config, metrics=GOOD)).fires
    labels(stream, 20, truth="virginica")
    assert quality_dropped(given(stream, config, metrics=GOOD)).fires


def test_cron_fires_if_a_time_has_passed_since_the_promotion_or_the_last_run(stream: Stream) -> None:
    hourly = f"{datetime.now(UTC).minute} * * * *"  # it was due when this minute began
    config = only(cron=hourly)
    due = cron_due(given(stream, config, since=time.time() - 1800))
    assert due.fires
    assert due.line.startswith("due at ")
    assert due.line.endswith(f" UTC ({hourly})")
    assert due.every is None
    assert not cron_due(given(stream, config, since=time.time())).fires
    ran(stream, 0)
    assert not cron_due(given(stream, config, since=time.time() - 1800)).fires


def test_a_run_is_blocked_during_the_cool_down(stream: Stream) -> None:
    labels(stream, 30)
    assert blocking_reason(given(stream, only(cooldown=3600))) is None, "there was no run yet"
    ended = ran(stream, 0).ended_at
    until = f"{datetime.fromtimestamp(ended + 3600, UTC):%Y-%m-%d %H:%M:%S} UTC"
    assert blocking_reason(given(stream, only(cooldown=3600))) == f"cooling down until {until}"
    assert blocking_reason(given(stream, only(cooldown=0))) is None


def test_a_run_is_blocked_without_enough_new_labels(stream: Stream) -> None:
    seqs = labels(stream, 30)
    config = only(minimum_labels=20, cooldown=0)
    assert blocking_reason(given(stream, config)) is None
    ran(stream, seqs[14])
    assert blocking_reason(given(stream, config)) == "15 of at least 20 new labels since the last run"
    labels(stream, 5)
    assert blocking_reason(given(stream, config)) is None


def test_a_run_uses_all_labels_unless_every_k_labels_alone_fired(stream: Stream) -> None:
    seqs = labels(stream, 15)
    view = given(stream, only(every_k_labels=10))
    by_labels, by_drift = TriggerResult(True, "", "", 10), TriggerResult(True, "", "")
    assert target_watermark(view, [by_labels]) == seqs[9]
    assert target_watermark(view, [by_drift]) == seqs[-1]
    assert target_watermark(view, [by_labels, by_drift]) == seqs[-1]


def quality_found(**changes: Any) -> Quality:
    values: dict[str, Any] = {"version": "1", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n_rows": 40}
    return Quality(**{**values, "reason": "r", **changes})


def test_a_window_is_stored_once(store: Store) -> None:
    report = DriftReport(reference="1", method="psi", n_rows=60, detected=True)
    assert record_drift_window(store, "iris", "1", report, "a", "b")
    assert not record_drift_window(store, "iris", "1", report, "a", "b")
    assert record_drift_window(store, "iris", "2", report, "a", "b")
    assert record_quality(store, "iris", quality_found(), last_seq=7)
    assert not record_quality(store, "iris", quality_found(), last_seq=7)
    assert record_quality(store, "iris", quality_found(metric="f1_macro"), last_seq=7)
    assert len(drift_windows(store, "iris", None, 10)) == 2
    assert [w["metric"] for w in quality_windows(store, "iris", "1", 10)] == ["f1_macro", "accuracy"]
    assert [w["metric"] for w in quality_windows(store, "iris", None, 10, metric="accuracy")] == ["accuracy"]
    assert quality_windows(store, "wine", None, 10) == []


def test_drift_of_training_rows_is_not_among_the_windows_of_production(store: Store) -> None:
    report = DriftReport(reference="1", method="psi", n_rows=60, detected=True, share=0.75)
    record_drift_of_training(store, "iris", report, "run")
    record_drift_of_training(store, "iris", report, "another run")
    record_drift_of_training(store, "iris", DriftReport(reference=None, method="psi"), "the first run")
    record_drift_of_training(store, "iris", DriftReport(reference="1", method="psi", n_rows=19), "too few rows")
    assert count(store, drift_results) == 2
    assert drift_windows(store, "iris", None, 10) == []


@pytest.fixture
def settings(mlflow_settings: Settings, any_store: Store) -> Settings:
    return mlflow_settings.model_copy(update={"database_url": url_of(any_store)})


@pytest.fixture
def lived(settings: Settings, any_store: Store, model_name: str) -> Stream:
    """The production of a model whose champion, version 1, has no package."""
    client = connect(settings)
    client.create_registered_model(model_name)
    client.create_model_version(model_name, (settings.home / "nothing").as_uri(), tags={DIGEST_TAG: "d"})
    ProductionPointer(settings, model_name).promote("1", "r", "a")
    return Stream(any_store, model_name)


def decider(settings: Settings, stream: Stream, **triggers: Any) -> Decider:
    """Return a new decider, as after a restart."""
    triggers = {"minimum_labels": 5, "cooldown": 0, **triggers}
    config = only(**triggers).model_copy(update={"model": stream.model})
    return Decider(config, settings)


def test_without_a_champion_there_is_nothing_to_watch(settings: Settings, any_store: Store, model_name: str) -> None:
    stream = Stream(any_store, model_name)
    labels(stream, 50)
    decision = decider(settings, stream, every_k_labels=10).decide()
    assert decision.run is None
    assert decision.line == f"{model_name}: no champion yet, so there is nothing to watch: train one first"


def test_without_a_trigger_there_is_nothing_to_do(settings: Settings, lived: Stream) -> None:
    labels(lived, 50)
    decision = decider(settings, lived).decide()
    assert (decision.run, decision.line) == (None, f"{lived.model} version 1: nothing to do: no trigger is set")
    assert decision.brief == "version 1: no trigger is set"


def test_the_brief_line_has_the_progress_of_every_trigger_within_70_characters(
    settings: Settings, lived: Stream
) -> None:
    labels(lived, 150)
    every = {"drift": {"window": 200}, "quality_drop": {"drop": 0.05, "window": 900}, "cron": "0 3 * * *"}
    brief = decider(settings, lived, every_k_labels=200, **every).decide().brief
    assert re.fullmatch(r"version 1: 150/200 labels, drift 0/2, quality 0/2, cron at \S+( \S+ \S+)?", brief)
    assert len(brief) <= 70


@pytest.mark.filterwarnings("ignore:.*deprecated since 2.9.0:FutureWarning")
def test_a_version_moved_in_mlflow_is_noticed_once_and_watched(settings: Settings, lived: Stream) -> None:
    client = connect(settings)
    client.create_model_version(lived.model, (settings.home / "nothing").as_uri(), tags={DIGEST_TAG: "d"})
    looking = decider(settings, lived)
    looking.decide()
    client.transition_model_version_stage(lived.model, "2", "Production", archive_existing_versions=True)
    line = looking.decide().line
    assert line.startswith("version 2 was moved into Production outside Ratchet, in place of 1: the gate did not")
    assert looking.decide().line == f"{lived.model} version 2: nothing to do: no trigger is set"
    kinds = [entry.kind for entry in ProductionPointer(settings, lived.model).ledger.history()]
    assert kinds == ["moved", "promote"]


def test_a_deleted_champion_is_not_taken_for_a_model_without_one(settings: Settings, lived: Stream) -> None:
    connect(settings).delete_model_version(lived.model, "1")
    line = decider(settings, lived).decide().line
    reason = "nothing is in Production, but the ledger has version 1: run python run.py doctor"
    assert line == f"{lived.model}: {reason} --model {lived.model}"


def test_a_trigger_that_fires_opens_one_run_with_its_reason(settings: Settings, lived: Stream) -> None:
    looking = decider(settings, lived, every_k_labels=10)
    labels(lived, 7)
    waiting = looking.decide()
    assert waiting.line == f"{lived.model} version 1: nothing to do: 7 of 10 labels"
    assert waiting.brief == "version 1: 7/10 labels"
    seqs = labels(lived, 6)
    decision = looking.decide()
    assert decision.run.watermark == seqs[2]
    assert decision.run.config_hash == config_hash(looking._config)
    assert decision.run.triggers == "every_k_labels"
    assert decision.line == (
        f"{lived.model} version 1: run {decision.run.id} (watermark {seqs[2]}) starts:"
        " every_k_labels: 10 or more new labels"
    )
    assert decision.brief == f"run {decision.run.id} starts: 10 new labels"
    assert looking.runs.history(10) == [decision.run]


def test_a_check_asks_the_service_for_labels_of_the_audit_sample(settings: Settings, lived: Stream) -> None:
    def share() -> float | None:
        return audit_share_of(ProductionPointer(settings, lived.model).current())

    decider(settings, lived).decide()
    assert share() is None
    config = only().model_copy(update={"model": lived.model, "feedback": FeedbackConfig(audit_share=0.1)})
    Decider(config, settings).decide()
    assert share() == 0.1
    decider(settings, lived).decide()
    assert share() == 0.1, "a config without the key leaves it as it is"


def test_an_open_run_starts_and_a_killed_one_resumes(settings: Settings, lived: Stream) -> None:
    labels(lived, 10)
    run = decider(settings, lived, every_k_labels=10).decide().run
    after_restart = decider(settings, lived, every_k_labels=10)
    again = after_restart.decide()
    assert again.run == run
    assert f"run {run.id} (watermark {run.watermark}) starts: every_k_labels: 10 or more new labels" in again.line
    after_restart.runs.begin(run, run.config_hash)
    picked_up = after_restart.decide()
    assert picked_up.run.attempts == 1
    assert f"run {run.id} (watermark {run.watermark}) resumes: " in picked_up.line


def test_a_run_under_way_is_not_started_again(settings: Settings, lived: Stream) -> None:
    labels(lived, 10)
    looking = decider(settings, lived, every_k_labels=10)
    run = looking.decide().run
    with leases.held(lived.store, looking.runs.lease_name) as lease:
        decision = looking.decide()
        assert decision.run is None
        assert decision.line == (
            f"{lived.model}: run {run.id} (watermark {run.watermark}) is under way by {lease.holder}"
        )
    assert looking.decide().run == run


def test_labels_of_a_run_do_not_fire_again_after_a_restart(settings: Settings, lived: Stream) -> None:
    labels(lived, 10)
    first = decider(settings, lived, every_k_labels=10)
    run = first.decide().run
    first.runs.end(run, "failed", "it broke")
    for _ in range(2):
        assert decider(settings, lived, every_k_labels=10).decide().line.endswith("nothing to do: 0 of 10 labels")
    labels(lived, 10)
    second = decider(settings, lived, every_k_labels=10).decide().run
    assert second.id != run.id


def test_a_trigger_that_fires_is_blocked_until_the_cool_down_ends(settings: Settings, lived: Stream) -> None:
    labels(lived, 10)
    ran(lived, watermark(lived.store, lived.model))
    labels(lived, 10)
    held = decider(settings, lived, every_k_labels=10, cooldown=3600).decide()
    assert held.run is None
    assert ": every_k_labels: 10 or more new labels; but cooling down until " in held.line
    assert decider(settings, lived, every_k_labels=10, cooldown=3600).decide() == held, "the line does not change"
    assert decider(settings, lived, every_k_labels=10, cooldown=0).decide().run is not None


def test_cron_without_new_labels_is_blocked(settings: Settings, lived: Stream) -> None:
    with lived.store.transaction() as connection:  # the champion was promoted an hour ago
        connection.execute(sa.text("UPDATE promotions SET ended_at = ended_at - 3600"))
    looking = decider(settings, lived, cron="* * * * *", minimum_labels=5)
    held = looking.decide()
    assert held.run is None
    assert held.line.startswith(f"{lived.model} version 1: cron: due at ")
    assert held.line.endswith("; but 0 of at least 5 new labels since the last run")
    seqs = labels(lived, 5)
    decision = looking.decide()
    assert decision.run.watermark == seqs[-1]


def test_a_second_run_of_a_watermark_is_not_opened(
    settings: Settings, lived: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process opens and ends the run after this one has read the state."""
    seqs = labels(lived, 10)
    looking = decider(settings, lived, every_k_labels=10)
    ran(lived, seqs[-1], config_hash(looking._config))
    monkeypatch.setattr(looking.runs, "last", lambda: None)
    decision = looking.decide()
    assert decision.run is None
    assert decision.line.endswith(
        f"; but watermark {seqs[-1]} has had its run, or another process opened a run meanwhile"
    )


def test_the_champions_package_and_figures_are_read_once_and_drift_without_labels_is_blocked(
    settings: Settings, any_store: Store, model_name: str, iris: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ratchet.loop import decisions

    version = registered(settings, model_name, iris, {"accuracy": 1.0})
    stream = Stream(any_store, model_name)
    read: list[str] = []
    for name in ("fetch_package", "run_record"):
        real = getattr(decisions, name)
        monkeypatch.setattr(decisions, name, lambda *args, name=name, real=real: (read.append(name), real(*args))[1])
    looking = decider(settings, stream, drift={**DRIFT, "k": 1}, quality_drop={**QUALITY, "k": 1})
    stream.answer(unusual(iris), "virginica", version=version)
    decision = looking.decide()
    assert decision.run is None
    assert (
        f"{model_name} version {version}: drift: drift in 1 of the last 1 windows, 1 of 3 are required" in decision.line
    )
    assert decision.line.endswith("; but 0 of at least 5 new labels since the last run")
    assert decider(settings, stream, drift={**DRIFT, "k": 1}).decide().line.endswith("new labels since the last run")

    ids = stream.answer(unusual(iris, 1), "virginica", version=version)
    stream.label(ids, "setosa")
    decision = looking.decide()
    assert decision.run is not None
    assert "quality_drop: quality in 1 of the last 1 windows" in decision.line
    assert "drift: drift in 2 of the last 2 windows" in decision.line
    looking.runs.end(decision.run, "refused", "no better")
    stream.label(stream.answer(unusual(iris, 2), "virginica", version=version), "setosa")
    assert looking.decide().run is not None
    assert sorted(read) == ["fetch_package", "run_record"]
