"""A clock that was 30 days ahead and is right again: nothing waits until real time has caught up."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pandas as pd
import pytest

from ratchet.feedback.signed_links import Links
from ratchet.loop import triggers
from ratchet.loop.decisions import Decider
from ratchet.loop.heartbeat import beat
from ratchet.loop.training_runs import TrainingRuns
from ratchet.loop.triggers import TriggerInput, blocking_reason, cron_due, drift_detected
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.monitoring.production_rows import newest_predictions
from ratchet.monitoring.windows import drift_windows
from ratchet.registry.doctor import examine
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.clock import TOLERANCE, clock_difference, is_future, rows_from_the_future
from ratchet.store.database import Store
from ratchet.tracking import DIGEST_TAG, connect
from tests.conftest import ROOT
from tests.fitted import Trained, loop_config
from tests.labels import Stream, records
from tests.store_rows import url_of

AHEAD = 30 * 86400.0
WINDOW = 60
CONFIG = loop_config(
    f"triggers={{cooldown: 300, minimum_labels: 5, cron: '* * * * *', drift: {{window: {WINDOW}, k: 1, n: 3}}}}"
)


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "SETTLED_AFTER", -TOLERANCE)


@pytest.fixture
def jumped(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A block in which all clocks are 30 days ahead."""
    real_time, real_now = time.time, Store.now

    @contextmanager
    def ahead() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: real_time() + AHEAD)
            # The clock of SQLite is that of this machine.
            patch.setattr(Store, "now", lambda self, c: real_now(self, c) + (0.0 if self.is_sqlite else AHEAD))
            yield

    return ahead


@pytest.fixture
def stream(store: Store) -> Stream:
    return Stream(store)


@pytest.fixture(scope="module")
def champion(iris_package: tuple[Path, str]) -> Package:
    return load_package(*iris_package)


def view(stream: Stream, champion: Package, since: float | None = None) -> TriggerInput:
    last = TrainingRuns(stream.store, stream.model).last()
    since = time.time() - 7200 if since is None else since
    return TriggerInput(stream.store, CONFIG, "1", since, last, lambda: champion, dict)


def answered(
    stream: Stream, champion: Package, iris: Trained, shift: float = 3.0, at: float | None = None
) -> list[str]:
    rows = records(iris.train.drop(columns="species").sample(WINDOW, random_state=0) + shift)
    answers = champion.model.predict(champion.schema.select(pd.DataFrame(rows))).tolist()
    return stream.answer(rows, answers, at=at)


def test_after_a_run_ahead_of_time_the_next_one_begins(
    stream: Stream, champion: Package, iris: Trained, jumped: Callable[[], AbstractContextManager[None]]
) -> None:
    stream.label(answered(stream, champion, iris, at=time.time() - 3600), "setosa")
    runs = TrainingRuns(stream.store, stream.model)
    with jumped():
        stream.label(answered(stream, champion, iris), "setosa")
        assert drift_detected(view(stream, champion, since=time.time() - 60)).fires
        runs.end(runs.open(1, "config", "a run ahead of time"), "promoted", "better")
        since = time.time()
        ahead = view(stream, champion, since)
        assert blocking_reason(ahead).startswith("cooling down until ")
    for promoted_at in (since, time.time() - 7200):
        now = view(stream, champion, promoted_at)
        assert blocking_reason(now) is None, "the cool-down is void"
        assert cron_due(now).fires
    answered(stream, champion, iris, at=time.time() - 5)
    assert drift_detected(view(stream, champion, since)).fires, "the windows of now are judged"
    newest, *_ = drift_windows(stream.store, stream.model, "1", 3)
    assert newest["created_at"] == pytest.approx(time.time(), abs=60)


def test_the_cool_down_of_a_run_by_the_right_clock_holds(stream: Stream, champion: Package, iris: Trained) -> None:
    stream.label(answered(stream, champion, iris), "setosa")
    runs = TrainingRuns(stream.store, stream.model)
    runs.end(runs.open(1, "config", "r"), "refused", "r")
    assert blocking_reason(view(stream, champion)).startswith("cooling down until ")


def test_predictions_from_the_future_do_not_hide_those_of_now(stream: Stream, champion: Package, iris: Trained) -> None:
    answered(stream, champion, iris, at=time.time() + AHEAD)
    ids = answered(stream, champion, iris)
    found = newest_predictions(stream.store, stream.model, "1", 2 * WINDOW)
    assert [row.prediction_id for row in found] == ids[::-1]


def test_a_lease_that_was_granted_ahead_of_time_is_free(
    store: Store, jumped: Callable[[], AbstractContextManager[None]]
) -> None:
    with jumped():
        ahead = leases.acquire(store, "x", ttl=20.0)
        assert leases.holder(store, "x") == ahead.holder
    assert leases.holder(store, "x") is None
    assert leases.expired(store, "x") == ahead.holder
    assert leases.acquire(store, "x", wait=0.0).token == ahead.token + 1
    assert not leases.renew(store, ahead, 20.0)


def test_a_lease_outlasts_a_small_correction_of_the_clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    held = leases.acquire(store, "x", ttl=20.0)
    real = Store.now
    monkeypatch.setattr(Store, "now", lambda self, connection: real(self, connection) - TOLERANCE / 2)
    assert leases.holder(store, "x") == held.holder


def test_a_link_that_was_issued_ahead_of_time_is_valid(jumped: Callable[[], AbstractContextManager[None]]) -> None:
    links = Links(Settings(home=Path("nowhere"), env="production", link_secret="a-secret-of-the-tests"))
    with jumped():
        token, _ = links.token("01a1")
    assert links.prediction_id(token) == "01a1"


def test_a_heartbeat_from_the_future_is_exported_as_none(
    any_store: Store, jumped: Callable[[], AbstractContextManager[None]]
) -> None:
    from serving.collectors import LoopCollector

    def checked_at() -> float:
        families = {family.name: family for family in LoopCollector(lambda: any_store, lambda: "iris").collect()}
        (sample,) = families["ratchet_watch_timestamp_seconds"].samples
        return float(sample.value)

    with jumped():
        beat(any_store, "iris", 10.0)
    assert checked_at() == 0.0
    beat(any_store, "iris", 10.0)
    assert checked_at() == pytest.approx(time.time(), abs=60)


@pytest.fixture
def settings(mlflow_settings: Settings, any_store: Store) -> Settings:
    return mlflow_settings.model_copy(update={"database_url": url_of(any_store)})


def test_doctor_and_watch_name_a_clock_that_was_off(
    settings: Settings,
    model_name: str,
    jumped: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = connect(settings)
    client.create_registered_model(model_name)
    client.create_model_version(model_name, (settings.home / "nothing").as_uri(), tags={DIGEST_TAG: "d"})
    pointer = ProductionPointer(settings, model_name)
    with jumped():
        pointer.promote("1", "r", "a")
        beat(pointer.store, model_name, 10.0)
        assert examine(pointer) == []
    (finding,) = examine(pointer)
    assert (finding.code, finding.is_note, finding.repair) == ("rows_from_the_future", True, "")
    assert "a change of Production at 20" in finding.explanation
    assert "a watcher's check at 20" in finding.explanation
    looking = Decider(loop_config().model_copy(update={"model": model_name}), settings)
    for _ in range(3):
        looking.decide()
    assert caplog.text.count("a clock is or was off") == 1


def test_a_clock_that_differs_from_the_stores_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock_difference(store) is None
    assert rows_from_the_future(store) == []
    real = Store.now
    monkeypatch.setattr(Store, "now", lambda self, connection: real(self, connection) - 600)
    assert clock_difference(store) == pytest.approx(600, abs=5)


def test_a_time_within_the_tolerance_is_not_in_the_future() -> None:
    assert not is_future(1000.0 + TOLERANCE, 1000.0)
    assert is_future(1001.0 + TOLERANCE, 1000.0)


# The modules that read this machine's clock, and what for. All others compare times by the store's.
CLOCKS = {
    "commands/console/formats.py": "the time since an event, which is shown",
    "commands/console/watch.py": "the time before a line, which is shown",
    "ratchet/feedback/feedback_log.py": "the comparison with a move of the journal on the same machine",
    "ratchet/inference/journal.py": "the name of a segment, and the comparison with a move on the same machine",
    "ratchet/inference/journal_mover.py": "the time of a move, which the same machine compares",
    "ratchet/config/cron.py": "the default of a check of an expression",
    "ratchet/data/atomic_write.py": "the age of a file on this machine",
    "ratchet/experiments/tuning/study.py": "the end of a trial, which is shown",
    "ratchet/feedback/signed_links.py": "the issue of a link; one from the future counts as issued now",
    "ratchet/feedback/table.py": "the time of feedback, which is shown; feedback is ordered by its number",
    "ratchet/loop/forget/journal_rows.py": "the comparison with a move of the journal on the same machine",
    "ratchet/registry/polled_pointer.py": "the age of a file on this machine",
    "ratchet/monitoring/reports/rows.py": "the time of a report, which is shown",
    "ratchet/registry/follow_ups.py": "the time in metrics.json, which is shown",
    "ratchet/store/clock.py": "the comparison with the store's clock",
    "ratchet/store/database.py": "the store's clock on SQLite",
    "ratchet/store/predictions.py": "the store's clock on SQLite",
    "ratchet/tracking/log_run.py": "the time of a logged model, which is shown",
    "ratchet/tracking/runs.py": "the time of a metric in MLflow, which is shown",
    "pipelines/runner.py": "the name of a run",
    "pipelines/watch.py": "the time before a line, which is shown",
    "serving/predictions.py": "the time and the id of a prediction; ids from the future are void",
    "serving/worker.py": "the time since which a version is served, which is shown",
}
_CALLS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "uuid_utils.uuid7"}


def test_only_known_modules_read_the_clock_of_this_machine() -> None:
    found = set()
    for folder in ("ratchet", "pipelines", "steps", "commands", "serving"):
        for path in (ROOT / folder).rglob("*.py"):
            calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
            if any(ast.unparse(call) in _CALLS for call in calls):
                found.add(str(path.relative_to(ROOT)))
    assert found == set(CLOCKS)
