"""The command of retention, and the lineage of a prediction that it has moved."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from commands.console.retention import in_words, print_outcome
from ratchet.loop.prediction_place import find_anywhere
from ratchet.loop.retention.mover import Moved
from ratchet.loop.retention.retain import Outcome
from ratchet.settings import Settings
from ratchet.store.database import open_store
from tests.conftest import Cli
from tests.ratchet.loop.retention.aged import inserted, inserted_batch, keep, labelled

DAYS = {"RATCHET_RETENTION_DAYS": "10"}


@pytest.fixture
def at_home(here: Cli, scratch: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with old rows, which the command line uses."""
    monkeypatch.setenv("RATCHET_RETENTION_DAYS", "10")
    store = open_store(scratch)
    labelled(store, inserted(store, 40, 20, 1)[:1], 30)
    inserted_batch(store, 30, 1000)
    store.engine.dispose()
    return scratch


def test_a_dry_run_prints_what_would_leave(at_home: Settings, here: Cli) -> None:
    said = here("retention", "--dry-run")
    assert said.returncode == 0
    lines = said.stdout.splitlines()
    assert lines[0].split() == ["kind", "model", "number", "oldest", "size"]
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["predictions", "iris", "2"],
        ["prediction", "batches", "iris"],
    ]
    assert lines[-1] == f"1,002 rows would be moved into {at_home.home / 'archive'}"
    assert not (at_home.home / "archive").exists()


def test_the_command_moves_rows_and_repeats_to_no_effect(at_home: Settings, here: Cli) -> None:
    said = here("retention", "--json")
    found = json.loads(said.stdout)
    assert {each["kind"]: each["rows"] for each in found["moved"]} == {
        "predictions": 2,
        "prediction_batches": 1000,
        "feedback": 1,
    }
    assert here("retention").stdout.splitlines()[-1].endswith(("nothing is past the limits", "smaller"))
    assert here("retention", "--vacuum").returncode == 0


def test_without_limits_the_command_names_the_settings(here: Cli, scratch: Settings) -> None:
    said = here("retention")
    assert (said.returncode, "RATCHET_RETENTION_DAYS" in said.stdout) == (0, True)


def test_a_dry_run_refuses_to_vacuum(here: Cli, scratch: Settings) -> None:
    assert here("retention", "--dry-run", "--vacuum").returncode == 2


def test_the_table_fits_into_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands.console.retention.wide_console", _console_of_80_columns)
    moved = [
        Moved("prediction_batches", "fraud_forest", 12_345_678, 3_456_789_012, time.time()),
        Moved("snapshots", "", 12, 3_456, None),
    ]
    print_outcome(Outcome("archive", "s3://bucket/archive", moved, given_back=1_500_000), dry_run=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:3])) <= 80
    assert "12,345,678" in lines[1]
    assert lines[3] == (
        "12,345,678 rows moved into s3://bucket/archive; 12 files deleted; the store's file is 1.5 MB smaller"
    )


def test_sizes_have_units() -> None:
    assert [in_words(size) for size in (0, 999, 1500, 2.5e6, 3e12)] == ["0 B", "999 B", "1.5 kB", "2.5 MB", "3000.0 GB"]


def test_an_archived_prediction_is_found_with_its_feedback(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    store = open_store(settings)
    one, other = inserted(store, 40, 1)
    labelled(store, [one], 30)
    labelled(store, [one], 2, revision=2, target="virginica")
    batch = inserted_batch(store, 30, 3)
    before = find_anywhere(settings, one)
    keep(settings, store)
    place = find_anywhere(settings, one)
    assert before is not None
    assert place is not None
    assert (before.archive, place.archive is not None and Path(place.archive).is_file()) == (None, True)
    assert place.prediction | {"created_at": 0.0} == before.prediction | {"created_at": 0.0}
    assert [(row.revision, row.target) for row in place.feedback] == [(1, "setosa"), (2, "virginica")]
    row = find_anywhere(settings, f"{batch.id}#00002")
    assert row is not None
    assert row.prediction["features"]["sepal_length"] == 2.0
    assert find_anywhere(settings, other) is not None
    assert find_anywhere(settings, "f" * 36) is None
    store.engine.dispose()


def _console_of_80_columns() -> object:
    from rich.console import Console

    return Console(highlight=False, markup=False, width=80)
