from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import PackageError, RegistryError, StateError
from ratchet.inference import package_cache
from ratchet.inference.package_cache import PackageCache
from ratchet.registry.fetch_package import fetch_package, production_pointer
from ratchet.registry.model_version import Version, from_mlflow
from ratchet.settings import Settings
from ratchet.tracking import connect, ensure_experiment, register
from ratchet.tracking.log_run import log_package
from tests import artifacts
from tests.fitted import Trained

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def published(mlflow_settings: Settings, iris: Trained) -> Version:
    """A registered version of the baseline."""
    client = connect(mlflow_settings)
    model = "m_package_cache"
    run = client.create_run(ensure_experiment(mlflow_settings, model)).info.run_id
    client.log_text(run, "model: iris\n", "config.yaml")
    client.log_metric(run, "f1_macro", 0.9)
    client.log_metric(run, "drift_share", 0.1)
    client.log_metric(run, "gate.floor", 0.1)
    package = log_package(mlflow_settings, run, model, iris.model, iris.train, iris.schema, "x")
    tags = {"ratchet.git_commit": "abc", "ratchet.version.numpy": "2.0"}
    return from_mlflow(client.get_model_version(model, str(register(client, model, package, tags).version)))


@pytest.fixture
def here(mlflow_settings: Settings, tmp_path: Path) -> Settings:
    """A machine with an empty cache, from which the registry can be reached."""
    return mlflow_settings.model_copy(update={"home": tmp_path / "home", "mlflow_uri": mlflow_settings.tracking_uri})


@pytest.fixture
def cut_off(here: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same machine when the registry is down."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return here.model_copy(update={"mlflow_uri": NOWHERE})


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions that were downloaded."""
    made: list[str] = []

    def counted(client: Any, model: str, version: str, to: Path) -> Path:
        made.append(version)
        return real(client, model, version, to)

    real = package_cache.download
    monkeypatch.setattr("ratchet.inference.package_cache.download", counted)
    return made


def kept(settings: Settings) -> set[str]:
    """The folders in the cache, partial ones included."""
    return {path.name for path in (settings.home / "packages").iterdir() if path.is_dir()}


def test_a_version_is_loaded_with_its_lineage_and_metrics(here: Settings, published: Version, iris: Trained) -> None:
    runtime = PackageCache(here).load(published)
    assert (runtime.model, runtime.version, runtime.digest) == (published.model, published.version, published.digest)
    assert runtime.predict([runtime.reader.example()])[0].prediction in (iris.schema.labels or ())
    assert runtime.most_rows == here.max_batch_rows
    assert runtime.details["mlflow_run_id"] == published.run_id
    assert runtime.details["lineage"]["git_commit"] == "abc"
    assert runtime.details["libraries"] == {"numpy": "2.0"}
    assert runtime.details["metrics"] == {"f1_macro": 0.9}
    assert kept(here) == {published.digest}


def test_a_version_is_downloaded_once(here: Settings, published: Version, downloads: list[str]) -> None:
    for _ in range(3):
        PackageCache(here).load(published)
    assert downloads == [published.version]


def test_workers_that_start_together_download_once(here: Settings, published: Version, downloads: list[str]) -> None:
    with ThreadPoolExecutor(3) as workers:
        loaded = list(workers.map(lambda _: PackageCache(here).load(published), range(3)))
    assert [runtime.digest for runtime in loaded] == [published.digest] * 3
    assert downloads == [published.version]


def test_a_cached_package_needs_no_registry(here: Settings, cut_off: Settings, published: Version) -> None:
    first = PackageCache(here).load(published)
    cache = PackageCache(cut_off)
    for runtime in (
        cache.load(published),
        cache.load_cached(published.model, published.version, published.digest),
    ):
        assert runtime.digest == first.digest
        assert runtime.details == first.details


def test_a_package_that_is_not_cached_is_an_error(here: Settings, published: Version) -> None:
    with pytest.raises(PackageError, match=r"details\.json: missing; the package is not cached"):
        PackageCache(here).load_cached(published.model, published.version, published.digest)


def changed_details(target: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((target / "details.json").read_text())
    change(content)
    (target / "details.json").write_text(json.dumps(content))


DETAILS: dict[str, Callable[[Path], object]] = {
    "another metric": lambda at: changed_details(at, lambda found: found["details"]["metrics"].update(f1_macro=1.0)),
    "another run": lambda at: changed_details(at, lambda found: found["details"].update(mlflow_run_id="another")),
    "another seal": lambda at: changed_details(at, lambda found: found.update(seal="")),
    "no seal": lambda at: changed_details(at, lambda found: found.pop("seal")),
    "half a file": lambda at: (at / "details.json").write_text('{"seal": '),
    "no object": lambda at: (at / "details.json").write_text("[]"),
    "no file": lambda at: (at / "details.json").unlink(),
    "a link": lambda at: (at / "details.json").rename(at / "x") and (at / "details.json").symlink_to(at / "x"),
    "a file beside": lambda at: (at / "extra.py").write_text("print()"),
    "a folder beside": lambda at: (at / "code").mkdir(),
    "a file in the package": lambda at: (at / "package" / "extra.py").write_text("print()"),
}


@pytest.mark.parametrize("damage", DETAILS)
def test_details_and_additions_are_checked_as_the_package_is(
    here: Settings, published: Version, downloads: list[str], damage: str
) -> None:
    cache = PackageCache(here)
    details = cache.load(published).details
    DETAILS[damage](here.home / "packages" / published.digest)
    with pytest.raises(PackageError, match=r"details\.json: |is no part of|is not in the manifest"):
        cache.load_cached(published.model, published.version, published.digest)
    assert cache.load(published).details == details
    assert downloads == [published.version] * 2
    assert cache.load_cached(published.model, published.version, published.digest).details == details


def test_a_cache_of_an_earlier_release_is_used(here: Settings, published: Version, downloads: list[str]) -> None:
    """Earlier releases wrote the details without a seal, in folders that all users can read."""
    cache, packages = PackageCache(here), here.home / "packages"
    details = cache.load(published).details
    target = packages / published.digest
    (target / "details.json").write_text(json.dumps(details))
    packages.chmod(0o755)
    assert cache.load(published).details == details
    assert cache.load_cached(published.model, published.version, published.digest).details == details
    assert downloads == [published.version]
    assert stat.S_IMODE(packages.stat().st_mode) == 0o700


@pytest.mark.parametrize("target", ["file", "link"])
def test_whatever_has_the_name_of_a_package_is_replaced(here: Settings, published: Version, target: str) -> None:
    packages = here.home / "packages"
    packages.mkdir(parents=True)
    place = packages / published.digest
    place.write_text("") if target == "file" else place.symlink_to("/")
    assert PackageCache(here).load(published).digest == published.digest
    assert not place.is_symlink()


@pytest.mark.parametrize("damage", ["changed", "missing", "gone"])
def test_a_damaged_copy_is_refused_and_downloaded_again(
    here: Settings, published: Version, downloads: list[str], damage: str
) -> None:
    cache = PackageCache(here)
    cache.load(published)
    folder = here.home / "packages" / published.digest / "package"
    if damage == "changed":
        (folder / "model.onnx").write_bytes(b"another model")
    elif damage == "missing":
        (folder / "golden.json").unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(PackageError, match=r"package/(model\.onnx|golden\.json|manifest\.json): "):
        cache.load_cached(published.model, published.version, published.digest)
    assert cache.load(published).digest == published.digest
    assert downloads == [published.version] * 2
    assert cache.load_cached(published.model, published.version, published.digest).digest == published.digest


def test_a_damaged_copy_stays_refused_while_the_registry_is_down(
    here: Settings, cut_off: Settings, published: Version
) -> None:
    PackageCache(here).load(published)
    (here.home / "packages" / published.digest / "package" / "model.onnx").write_bytes(b"another model")
    with pytest.raises((RegistryError, PackageError)):
        PackageCache(cut_off).load(published)


def test_a_package_whose_digest_is_not_the_registered_one_is_not_cached(here: Settings, published: Version) -> None:
    forged = Version(**{**vars(published), "digest": "0" * 64})
    with pytest.raises(PackageError, match=r"manifest\.json: differs from the digest recorded at registration"):
        PackageCache(here).load(forged)
    assert kept(here) == set()


def test_a_file_that_is_added_in_the_registry_is_neither_cached_nor_loaded(
    here: Settings, published: Version, mlflow_settings: Settings
) -> None:
    model_id = connect(mlflow_settings).get_model_version(published.model, published.version).source.split("/")[-1]
    place = artifacts.of_model(mlflow_settings, model_id)
    artifacts.overwrite(place, "extra.py", "print()")
    try:
        with pytest.raises(PackageError, match=r"extra\.py: is not in the manifest"):
            PackageCache(here).load(published)
        assert kept(here) == set()
        with pytest.raises(PackageError, match=r"extra\.py: is not in the manifest"):
            fetch_package(mlflow_settings, published)
        pointer = production_pointer(mlflow_settings, published.model)
        with pytest.raises(PackageError, match=r"extra\.py: is not in the manifest"):
            pointer.promote(published.version, "a test", "tester")
    finally:
        place.delete_artifacts("extra.py")
    assert PackageCache(here).load(published).digest == published.digest


def test_a_registry_that_cannot_be_reached_is_an_error(cut_off: Settings, published: Version) -> None:
    with pytest.raises(RegistryError):
        PackageCache(cut_off).load(published)
    assert kept(cut_off) == set()


def test_missing_artifacts_are_an_error(here: Settings, published: Version, mlflow_settings: Settings) -> None:
    model_id = connect(mlflow_settings).get_model_version(published.model, published.version).source.split("/")[-1]
    with (
        artifacts.gone(artifacts.of_model(mlflow_settings, model_id)),
        pytest.raises((RegistryError, PackageError)),
    ):
        PackageCache(here).load(published)
    assert kept(here) == set()
    assert PackageCache(here).load(published).digest == published.digest


def test_a_home_that_cannot_be_written_is_an_error(here: Settings, published: Version) -> None:
    here.home.write_text("a file where the home would be")
    with pytest.raises(StateError, match="cannot write to"):
        PackageCache(here).load(published)


def test_a_cache_that_cannot_be_written_is_an_error(here: Settings, published: Version) -> None:
    here.home.mkdir()
    (here.home / "packages").write_text("a file where the cache would be")
    with pytest.raises((StateError, PackageError)):
        PackageCache(here).load(published)


def test_the_newest_versions_stay_in_the_cache(here: Settings, published: Version) -> None:
    PackageCache(here).load(published)
    packages = here.home / "packages"
    for age in range(1, 8):
        (packages / f"older-{age}").mkdir()
        os.utime(packages / f"older-{age}", (1000 - age, 1000 - age))
    os.utime(packages / published.digest, (1, 1))
    PackageCache(here).load(published)
    assert kept(here) == {published.digest, "older-1", "older-2", "older-3", "older-4"}


def test_what_a_killed_download_has_left_is_removed(here: Settings, published: Version) -> None:
    """Downloads hold a lock, so that no other one is under way."""
    partial = here.home / "packages" / ".partial-of-another"
    (partial / "package").mkdir(parents=True)
    PackageCache(here).load(published)
    assert kept(here) == {published.digest}
    assert not partial.exists()
