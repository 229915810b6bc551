"""Rows of data in a home can be read by their owner alone, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.data.snapshots import write_snapshot
from ratchet.inference.journal import Journal
from ratchet.inference.package_cache import PackageCache
from ratchet.private_files import restrict, restrict_tree
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings, prepare_home
from ratchet.store.database import Store, open_store
from ratchet.store.sqlite_write_queue import write_turn
from tests.fitted import Trained, registered
from tests.homes import prepared
from tests.store_rows import prediction


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def readable_by_others(home: Path) -> list[str]:
    """The files and folders of a home that another user can read or list."""
    if not permissions(home) & 0o077:
        return []
    return [path.relative_to(home).as_posix() for path in home.rglob("*") if permissions(path) & 0o044]


@pytest.fixture
def permissive() -> Iterator[None]:
    """A umask that takes no permission away."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("permissive")
def test_all_that_a_home_has_of_rows_is_private_under_a_permissive_umask(tmp_path: Path, iris: Trained) -> None:
    home = prepared(tmp_path / "home")
    settings = Settings(home=home, models_dir=home / "models")
    registered(settings, "m_private", iris)
    version = ProductionPointer(settings, "m_private").current()
    assert version is not None
    PackageCache(settings).load(version)
    write_snapshot(settings, iris.train, "source")
    Journal(home / "journal").append([prediction(1)])
    store = open_store(settings)
    with store.transaction():
        pass

    data = [*home.glob("ratchet.db*"), home / "journal", home / "snapshots", home / "packages"]
    data += [path for folder in data if folder.is_dir() for path in folder.rglob("*")]
    assert {path.name for path in data} >= {"ratchet.db", "ratchet.db-wal", "ratchet.db-shm", "sample.json"}
    locks = {".line", ".turn", ".lock"}
    wide = [path for path in data if permissions(path) & 0o077 and path.suffix not in locks]
    assert wide == []
    assert readable_by_others(home) == []
    store.engine.dispose()


@pytest.mark.usefixtures("permissive")
def test_a_home_of_an_earlier_release_becomes_private_when_it_is_opened(tmp_path: Path, iris: Trained) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home, models_dir=home / "models")
    open_store(settings).engine.dispose()
    write_snapshot(settings, iris.train, "source")
    for path in (home, home / "ratchet.db", home / "snapshots"):
        path.chmod(0o777 if path.is_dir() else 0o666)
    store = open_store(settings)
    write_snapshot(settings, iris.train, "source")
    assert [permissions(path) for path in (home, home / "ratchet.db", home / "snapshots")] == [0o700, 0o600, 0o700]
    store.engine.dispose()


def test_the_log_of_a_store_has_the_permissions_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first = Store(f"sqlite:///{path}")
    for file in tmp_path.glob("store.db*"):
        file.chmod(0o644)
    second = Store(f"sqlite:///{path}")
    with second.transaction():
        pass
    assert [permissions(tmp_path / f"store.db{suffix}") for suffix in ("", "-wal", "-shm")] == [0o600] * 3
    first.engine.dispose()
    second.engine.dispose()


@pytest.mark.usefixtures("permissive")
def test_the_locks_of_a_store_are_private(tmp_path: Path) -> None:
    with write_turn(str(tmp_path / "store.db"), 1.0):
        assert {permissions(path) for path in tmp_path.iterdir()} == {0o600}


def test_a_folder_for_all_users_keeps_its_permissions(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    prepare_home(Settings(home=shared))
    assert permissions(shared) == 0o1777


def test_a_tree_is_restricted_without_following_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o644)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("")
    (folder / "link").symlink_to(outside)
    restrict_tree(folder)
    assert permissions(outside) == 0o644
    assert [permissions(folder / name) for name in ("inner", "inner/file")] == [0o700, 0o600]
    restrict(tmp_path / "missing")
