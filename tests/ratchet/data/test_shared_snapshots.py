"""Snapshots on a DVC remote: one home pushes, another fetches by the hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ratchet.data import snapshots
from ratchet.data.snapshots import fetch_snapshot, push_snapshot, snapshot_path
from ratchet.errors import ConfigError, DataError
from ratchet.settings import Settings

CONTENT = b"the rows of a run"
VERSION = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a remote in a folder."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"local\"']\n    url = ../remote\n")
    monkeypatch.setattr(snapshots, "CHECKOUT", tmp_path)
    return tmp_path


def home(root: Path, name: str, remote: str | None = "local") -> Settings:
    return Settings(home=root / name, dvc_remote=remote)


@pytest.fixture
def first(root: Path) -> Settings:
    """A home with a snapshot."""
    settings = home(root, "first")
    path = snapshot_path(settings, VERSION)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return settings


def test_a_pushed_snapshot_is_fetched_into_another_home(root: Path, first: Settings) -> None:
    push_snapshot(first, VERSION)
    second = home(root, "second")
    path = fetch_snapshot(second, VERSION)
    assert path == snapshot_path(second, VERSION)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o077 == 0, "only the owner may read rows of production"


def test_without_a_remote_nothing_is_pushed(root: Path, first: Settings) -> None:
    push_snapshot(first.model_copy(update={"dvc_remote": None}), VERSION)
    assert not (root / "remote").exists()


def test_a_snapshot_in_the_home_is_not_fetched(root: Path, first: Settings) -> None:
    assert fetch_snapshot(first.model_copy(update={"dvc_remote": "nowhere"}), VERSION).read_bytes() == CONTENT


def test_a_missing_snapshot_names_the_setting(root: Path) -> None:
    with pytest.raises(DataError, match=f"the snapshot {VERSION} .* is not in this home .* set RATCHET_DVC_REMOTE"):
        fetch_snapshot(home(root, "second", None), VERSION)
    with pytest.raises(DataError, match=f"the DVC remote 'local' has no file with the hash {VERSION}"):
        fetch_snapshot(home(root, "second"), VERSION)
    with pytest.raises(ConfigError, match="has no remote 's3'; known are: local"):
        fetch_snapshot(home(root, "second", "s3"), VERSION)
    assert not list((root / "second" / "snapshots").glob("*"))
