"""Retention that is killed at any place is continued: each row is in the store or the archive, and no row is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.prediction_batches import row_id
from tests.conftest import ROOT
from tests.ratchet.loop.retention.aged import archived, inserted, inserted_batch, keep, labelled, left
from tests.store_rows import url_of

PLACES = ("archive_before_rename", "retention_after_archive", "retention_after_delete", "retention_during_vacuum")
_RETAIN = """
from ratchet.loop.retention import mover
from ratchet.loop.retention.retain import retain
from ratchet.settings import load_settings
from ratchet.store.database import open_store
mover._FEWEST = mover._MOST = 100
settings = load_settings()
retain(settings, open_store(settings))
"""


def killed_at(place: str, settings: Settings, store: Store) -> int:
    """Run retention in a process that is killed at a place; return its exit status."""
    places = {"RATCHET_HOME": str(settings.home), "RATCHET_DATABASE_URL": url_of(store), "RATCHET_RETENTION_DAYS": "10"}
    env = os.environ | places | {"RATCHET_FAILPOINT": place, "PYTHONPATH": str(ROOT)}
    settings.home.mkdir(exist_ok=True)
    return subprocess.run([sys.executable, "-c", _RETAIN], env=env, cwd=settings.home, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_every_row_is_archived_once_after_a_kill(place: str, store: Store, tmp_path: Path) -> None:
    if place == "retention_during_vacuum" and not store.is_sqlite:
        pytest.skip("SQLite gives pages back")
    settings = Settings(home=tmp_path)
    ids = inserted(store, *[20] * 500)
    batch = inserted_batch(store, 20, 5)
    labels = labelled(store, ids[:10], 20)
    wanted = sorted([*ids, *(row_id(batch.id, row) for row in range(5))])
    ends = []
    for _ in range(3):
        ends.append(killed_at(place, settings, store))
        assert set(_anywhere(settings, store, batch.id)) == set(wanted)
    assert set(ends) <= {-signal.SIGKILL, 0}
    assert ends[0] == -signal.SIGKILL or place == "retention_during_vacuum"
    keep(settings, store)
    assert (archived(settings), left(store)) == (wanted, [])
    assert archived(settings, "feedback", "seq") == labels


def _anywhere(settings: Settings, store: Store, batch: str) -> Sequence[str]:
    stored = [one for found in left(store) for one in (_rows(batch) if found == batch else [found])]
    return [*stored, *archived(settings)]


def _rows(batch: str) -> list[str]:
    return [row_id(batch, row) for row in range(5)]
