"""The metrics of continuous training and of the home."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest

from ratchet.errors import StateError
from ratchet.loop import triggers
from ratchet.loop.heartbeat import beat
from ratchet.loop.training_runs import TRIGGER_NAMES, TrainingRuns
from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.label_bias import LabelCheck
from ratchet.monitoring.live_quality import Quality
from ratchet.monitoring.windows import record_drift_window, record_label_check, record_quality
from ratchet.registry.model_version import Version
from ratchet.registry.promotion_ledger import Entry, Ledger
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.store.tables import feedback
from serving.collectors import DiskCollector, LoopCollector
from tests.conftest import new_database
from tests.labels import Stream, statements
from tests.serving.running import Service


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, on either database."""
    url = None
    if request.param == "postgresql":
        name = "l_" + re.sub(r"\W", "_", request.node.name.lower())[:50]
        url = new_database(request.getfixturevalue("postgres"), name)
    opened = open_store(Settings(home=tmp_path, database_url=url))
    yield opened
    opened.engine.dispose()


def text(store: Store, model: str) -> str:
    registry = CollectorRegistry()
    registry.register(LoopCollector(lambda: store, lambda: model))
    return generate_latest(registry).decode()


def series(store: Store, model: str = "iris") -> dict[str, float]:
    """The values of a model by name and further labels."""
    lines = [line.rpartition(" ") for line in text(store, model).splitlines() if not line.startswith("#")]
    return {
        name.replace(f'model="{model}"', "").replace("{,", "{").replace(",}", "}"): float(v) for name, _, v in lines
    }


def test_an_empty_store_has_counts_of_zero_and_no_other_series(store: Store) -> None:
    found = series(store)
    assert set(found.values()) == {0.0}
    assert {name.partition("{")[0] for name in found} == {
        "ratchet_labels_waiting",
        "ratchet_training_runs",
        "ratchet_training_triggers",
        "ratchet_promotions",
        "ratchet_production_moved_outside",
    }
    for state in ("promoted", "refused", "unchanged", "failed", "open"):
        assert found[f'ratchet_training_runs{{state="{state}"}}'] == 0
    for kind in ("promote", "rollback", "repair", "moved", "refused"):
        assert found[f'ratchet_promotions{{kind="{kind}"}}'] == 0


def test_without_a_served_model_there_are_no_series(store: Store) -> None:
    assert text(store, "").strip() == ""


def test_the_newest_windows_and_runs_are_exported(store: Store) -> None:
    report = DriftReport(reference="3", method="psi", figures={"petal_width": 0.5}, share=0.25, n_rows=120)
    record_drift_window(store, "iris", "3", report, "a", "b")
    figures = {"value": 0.8, "low": 0.7, "high": 0.9, "estimate": 0.85}
    found = Quality(version="3", metric="f1_macro", n_rows=50, reason="r", dropped=True, **figures)
    record_quality(store, "iris", found, 7)
    runs = TrainingRuns(store, "iris")
    run = runs.open(0, "x", "r")
    assert run is not None
    runs.end(run, "refused", "not better")
    exported = text(store, "iris")
    assert 'ratchet_drift_share{model="iris",version="3"} 0.25' in exported
    assert 'ratchet_drift_figure{feature="petal_width",model="iris",version="3"} 0.5' in exported
    assert 'ratchet_drift_detected{model="iris",version="3"} 0.0' in exported
    assert 'ratchet_live_quality_dropped{model="iris",version="3"} 1.0' in exported
    for figure, value in figures.items():
        assert f'figure="{figure}",metric="f1_macro",model="iris",version="3"}} {value}' in exported
    assert 'ratchet_training_run_timestamp_seconds{model="iris",state="refused"}' in exported


def test_biased_labels_are_exported_with_the_rows_that_count(store: Store) -> None:
    """The value is 1 too while no row counts without a bias that was found."""
    results: list[tuple[Literal["all", "audit", "none"], bool, float]] = [
        ("none", True, 1.0),
        ("none", False, 1.0),
        ("audit", True, 1.0),
        ("audit", False, 0.0),
        ("all", False, 0.0),
    ]
    for evidence, biased, value in results:
        check = LabelCheck(evidence=evidence, biased=biased, n_rows=200, n_labelled=50, reason="r")
        record_label_check(store, "iris", check, 1)
        found = {name: value for name, value in series(store).items() if "label_bias" in name}
        assert found == {f'ratchet_label_bias{{evidence="{evidence}"}}': value}


def test_every_trigger_has_a_name() -> None:
    assert tuple(triggers.TRIGGERS) == TRIGGER_NAMES


def test_runs_are_counted_by_state_and_by_each_trigger_that_fired(store: Store) -> None:
    runs = TrainingRuns(store, "iris")
    for mark, (names, state) in enumerate(
        [(["drift"], "promoted"), (["drift", "cron"], "refused"), ([], "failed"), (["every_k_labels"], None)]
    ):
        run = runs.open(mark, "x", "r", triggers=names)
        assert run is not None
        if state:
            runs.end(run, state, "the reason")  # type: ignore[arg-type]
    assert TrainingRuns(store, "wine").open(0, "x", "r", triggers=["drift"])
    found = series(store)
    states = {"promoted": 1, "refused": 1, "failed": 1, "open": 1, "unchanged": 0}
    assert {state: found[f'ratchet_training_runs{{state="{state}"}}'] for state in states} == states
    fired = {"drift": 2, "cron": 1, "every_k_labels": 1, "quality_drop": 0, "person": 1}
    assert {name: found[f'ratchet_training_triggers{{trigger="{name}"}}'] for name in fired} == fired


def entered(store: Store, kind: str, state: str, version: str, operation: str | None = None) -> Entry:
    """Add an entry to the ledger, as the pointer does."""
    registered = Version("iris", version, "run", "digest", "None")
    return Ledger(store, "iris").record(
        kind,  # type: ignore[arg-type]
        state,  # type: ignore[arg-type]
        registered,
        before=None,
        reason="r",
        actor="a",
        operation_id=operation,
    )


def test_changes_of_production_are_counted_by_kind_and_the_newest_completed_one_is_exported(store: Store) -> None:
    for kind, state, version in [
        ("promote", "completed", "1"),
        ("promote", "completed", "2"),
        ("rollback", "completed", "1"),
        ("promote", "refused", "3"),
        ("promote", "intended", "4"),
        ("promote", "abandoned", "5"),
    ]:
        entered(store, kind, state, version)
    found = series(store)
    kinds = {"promote": 2, "rollback": 1, "repair": 0, "refused": 1}
    assert {kind: found[f'ratchet_promotions{{kind="{kind}"}}'] for kind in kinds} == kinds
    assert found["ratchet_production_version{}"] == 1


def test_a_move_outside_is_exported_until_the_next_change(store: Store) -> None:
    for kind, expected in (("promote", 0), ("moved", 1), ("repair", 0), ("moved", 1), ("rollback", 0)):
        entered(store, kind, "completed", "1")
        assert series(store)["ratchet_production_moved_outside{}"] == expected


def test_the_time_from_the_newest_label_of_a_promoted_run_to_its_promotion_is_exported(store: Store) -> None:
    stream, runs = Stream(store), TrainingRuns(store, "iris")
    *_, mark = stream.label(stream.answer([{"x": 1.0}] * 3, "setosa"), "setosa")
    run = runs.open(mark, "x", "r")
    assert run is not None
    stream.label(stream.answer([{"x": 2.0}], "setosa"), "setosa")  # comes too late for the run
    entry = entered(store, "promote", "completed", "2", run.operation_id)
    assert "ratchet_label_to_version_seconds{}" not in series(store), "the run has not ended"
    runs.end(run, "promoted", "better", version="2")
    with store.transaction() as connection:
        for seq, at in ((mark, entry.ended_at - 90), (mark + 1, entry.ended_at)):  # type: ignore[operator]
            connection.execute(sa.update(feedback).where(feedback.c.seq == seq).values(created_at=at))
    assert series(store)["ratchet_label_to_version_seconds{}"] == pytest.approx(90)


def test_the_newest_check_of_a_watcher_and_its_interval_are_exported(store: Store) -> None:
    beat(store, "iris", 10.0)
    before = time.time()
    beat(store, "iris", 2.5)
    beat(store, "wine", 60.0)
    found = series(store)
    assert found["ratchet_watch_interval_seconds{}"] == 2.5
    assert before <= found["ratchet_watch_timestamp_seconds{}"] <= time.time()


def test_a_scrape_reads_a_limited_number_of_rows(store: Store) -> None:
    with contextlib.contextmanager(statements)(store) as executed:
        text(store, "iris")
    for statement, _ in executed:
        one_row = any(part in statement for part in ("heartbeats", "operation_id = ", "clock_timestamp()"))
        assert one_row or "LIMIT" in statement, statement


def test_while_the_store_is_down_only_its_metrics_are_missing(tmp_path: Path) -> None:
    def down() -> Store:
        raise StateError("down")

    registry = CollectorRegistry()
    registry.register(LoopCollector(down, lambda: "iris"))
    registry.register(DiskCollector(tmp_path))
    exported = generate_latest(registry).decode()
    assert "ratchet_labels_waiting" not in exported
    assert 'ratchet_disk_free_bytes{path="home"}' in exported


def test_the_free_space_of_the_home_is_exported(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(DiskCollector(tmp_path))
    free = registry.get_sample_value("ratchet_disk_free_bytes", {"path": "home"})
    size = registry.get_sample_value("ratchet_disk_size_bytes", {"path": "home"})
    assert free is not None
    assert size is not None
    found = shutil.disk_usage(tmp_path)
    assert size == found.total
    assert abs(free - found.free) < 0.1 * size


def test_a_missing_home_has_no_metrics(tmp_path: Path) -> None:
    assert not list(DiskCollector(tmp_path / "gone").collect())


def exported(service: Service) -> str:
    return service.request("GET", "/metrics")[2].decode()


def test_the_service_exports_them_with_its_own_metrics(service: Service) -> None:
    names = {"ratchet_labels_waiting", "ratchet_requests_total"}
    assert service.request("GET", "/model")[0] == 200
    # The worker that took the request adds it to the shared counts within a second.
    service.until(lambda: names <= set(re.findall(r"^(\w+)\{", exported(service), re.MULTILINE)))


def test_rows_that_a_journal_has_set_aside_are_counted(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(DiskCollector(tmp_path))
    name, labels = "ratchet_journal_bad_rows", {"path": "home"}
    assert registry.get_sample_value(name, labels) == 0
    (tmp_path / "journal").mkdir()
    for number in range(2):
        (tmp_path / "journal" / f"{number}.bad").write_text("a\nb\n")
    assert registry.get_sample_value(name, labels) == 4
