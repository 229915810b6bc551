from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from ratchet.errors import RegistryError
from ratchet.inference import pointer_follower
from ratchet.inference.package_cache import PackageCache
from ratchet.inference.pointer_follower import PointerFollower
from ratchet.inference.runtime import Runtime
from ratchet.inference.worker_cutover import CUTOVER_DELAY, ServedVersion, WorkerCutover
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from tests.fitted import baseline, packaged
from tests.ratchet.inference.test_worker_cutover import Peer, peers
from tests.waiting import until

Package = tuple[Path, str]
# As a cache of an earlier release has them, without a seal.
DETAILS = {"mlflow_run_id": "", "lineage": {}, "libraries": {}, "metrics": {}}


@pytest.fixture(scope="session")
def packages(iris_package: Package, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    """Three versions of a model."""
    folder = tmp_path_factory.mktemp("versions")
    others = {
        number: packaged(baseline(f"train.params.C={c}"), folder / number) for number, c in (("2", 0.5), ("3", 2))
    }
    return {"1": iris_package, **others}


class Script:
    """A pointer that the test moves, in a registry that may hang or fail."""

    model = "iris"

    def __init__(self, packages: dict[str, Package]) -> None:
        self.versions = {number: Version("iris", number, "", digest, "") for number, (_, digest) in packages.items()}
        self.at: str | None = None
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.asked = 0
        self.hangs = False

    def current(self) -> Version | None:
        self.asked += 1
        while not self.answers.wait(0.01):
            self.hangs = True
        if self.error:
            raise self.error
        return self.versions[self.at] if self.at else None

    def get(self, version: str) -> Version:
        if self.error:
            raise self.error
        return self.versions[version]


@dataclass
class Scene:
    """One worker that follows a pointer, with its cut-overs and failures."""

    home: Path
    packages: dict[str, Package]
    pointer: Script
    cutover: WorkerCutover
    adopted: list[tuple[Runtime, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    interval: float = 1e-6

    def __post_init__(self) -> None:
        # Nothing can be downloaded: only cached packages can be loaded.
        self.cache = PackageCache(Settings(home=self.home, models_dir=self.home, mlflow_uri="http://127.0.0.1:9"))
        self.follower = PointerFollower(
            self.pointer,
            self.cache,
            self.cutover,
            lambda runtime, at: self.adopted.append((runtime, at)),
            self.failures.append,
            self.interval,
        )

    def folder(self, version: str) -> Path:
        return self.home / "packages" / self.packages[version][1]

    def cache_packages(self, *versions: str) -> None:
        """Put the packages of some versions into the cache."""
        for version in versions:
            shutil.rmtree(self.folder(version), ignore_errors=True)
            shutil.copytree(self.packages[version][0], self.folder(version) / "package")
            (self.folder(version) / "details.json").write_text(json.dumps(DETAILS))

    def promote(self, version: str | None, steps: int = 1) -> None:
        self.pointer.at = version
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """What both threads of the follower do, once."""
        if pointer_follower.time.monotonic() >= self.follower._next_poll or self.follower._peer_is_ahead():
            self.follower._poll()
        self.follower.act()

    @property
    def versions(self) -> list[str]:
        return [runtime.version for runtime, _ in self.adopted]


@pytest.fixture
def scene(packages: dict[str, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    made = Scene(tmp_path / "home", packages, Script(packages), WorkerCutover(tmp_path / "workers"))
    made.cache_packages("1", "2", "3")
    yield made
    made.follower.stop()
    made.pointer.answers.set()
    made.cutover.leave()


@pytest.fixture(scope="module")
def worker() -> Iterator[Peer]:
    with peers(1) as (made,):
        yield made


@pytest.fixture
def peer(worker: Peer, scene: Scene) -> Iterator[Peer]:
    """Another worker, which serves version 1."""
    yield worker.start(scene.cutover._folder, identity(scene, "1"))
    worker.call("leave")


def identity(scene: Scene, version: str) -> ServedVersion:
    return ServedVersion(version, scene.packages[version][1])


def test_a_worker_starts_with_the_version_in_production(scene: Scene) -> None:
    scene.promote("1")
    ((runtime, at),) = scene.adopted
    assert (runtime.model, runtime.version, runtime.digest) == ("iris", "1", scene.packages["1"][1])
    assert at <= time.monotonic()
    assert scene.cutover.state.serving == identity(scene, "1")
    assert scene.failures == []


def test_promotions_and_rollbacks_are_followed(scene: Scene) -> None:
    for version in ("1", "2", "1", "3", "2"):
        scene.promote(version)
    assert scene.versions == ["1", "2", "1", "3", "2"]
    assert scene.cutover.state.serving == identity(scene, "2")
    assert scene.failures == []
    instants = [at for _, at in scene.adopted]
    assert instants == sorted(instants)
    assert instants[-1] - time.monotonic() <= CUTOVER_DELAY


def test_an_unchanged_pointer_loads_nothing(scene: Scene) -> None:
    scene.promote("1", steps=20)
    assert scene.versions == ["1"]
    assert scene.pointer.asked > 10


def test_before_the_first_promotion_there_is_nothing_to_serve(scene: Scene) -> None:
    scene.promote(None, steps=3)
    assert scene.adopted == []
    assert scene.failures == []
    scene.promote("1")
    assert scene.versions == ["1"]


def test_nothing_in_production_keeps_the_old_version(scene: Scene) -> None:
    scene.promote("1")
    scene.promote(None, steps=3)
    assert scene.versions == ["1"]
    assert scene.cutover.state.serving == identity(scene, "1")
    scene.promote("2")
    assert scene.versions == ["1", "2"]


def test_a_pointer_that_cannot_be_read_keeps_the_old_version_and_is_reported(scene: Scene) -> None:
    scene.promote("1")
    scene.pointer.error = RegistryError("MLflow at http://x: no answer")
    scene.promote("2", steps=3)
    assert scene.versions == ["1"]
    assert scene.failures == ["registry"] * 3
    scene.pointer.error = None
    scene.promote("2")
    assert scene.versions == ["1", "2"]
    assert scene.failures == ["registry"] * 3


def test_a_registry_that_is_down_at_the_start_is_polled_again(scene: Scene) -> None:
    scene.pointer.error = RegistryError("MLflow at http://x: no answer")
    scene.promote("1", steps=2)
    assert scene.adopted == []
    assert set(scene.failures) == {"registry"}
    scene.pointer.error = None
    scene.promote("1")
    assert scene.versions == ["1"]


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "manifest.json"])
def test_a_damaged_package_keeps_the_old_version_and_is_reported(scene: Scene, name: str) -> None:
    scene.promote("1")
    (scene.folder("2") / "package" / name).write_bytes(b"damaged")
    scene.promote("2", steps=3)
    assert scene.versions == ["1"]
    assert scene.cutover.state.staged is None
    assert set(scene.failures) == {"package"}
    scene.promote("3")
    assert scene.versions == ["1", "3"], "the next promotion is not held up"


def test_a_package_that_cannot_be_downloaded_is_retried(scene: Scene) -> None:
    scene.promote("1")
    shutil.rmtree(scene.folder("2"))
    scene.promote("2")
    assert scene.versions == ["1"]
    assert scene.failures == ["package"]
    scene.cache_packages("2")
    scene.promote("2", steps=3)
    assert scene.versions == ["1", "2"]
    assert scene.failures == ["package"]


def test_a_rollback_from_a_version_that_was_never_served_changes_nothing(scene: Scene) -> None:
    scene.promote("1")
    shutil.rmtree(scene.folder("2"))
    scene.promote("2")
    scene.promote("1", steps=3)
    assert scene.versions == ["1"]
    assert scene.failures == ["package"]


def test_retries_back_off_and_a_new_promotion_is_loaded_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("ratchet.inference.pointer_follower.time", SimpleNamespace(monotonic=lambda: now[0]))
    scene.follower._interval = 1.0
    scene.promote("1")
    shutil.rmtree(scene.folder("2"))
    scene.pointer.at = "2"
    failures = []
    for _ in range(2000):
        now[0] += 0.1
        before = len(scene.failures)
        scene.step()
        if len(scene.failures) > before:
            failures.append(now[0])
    pauses = [later - earlier for earlier, later in pairwise(failures)]
    assert len(failures) > 5
    assert pauses == sorted(pauses)
    assert pauses[0] < 1
    assert 25 < pauses[-1] <= 31
    scene.pointer.at = "3"
    for _ in range(10):
        now[0] += 0.1
        scene.step()
    assert scene.versions == ["1", "3"]


def test_a_first_version_that_is_damaged_is_retried(scene: Scene) -> None:
    shutil.rmtree(scene.folder("1"))
    scene.promote("1", steps=2)
    assert scene.adopted == []
    assert set(scene.failures) == {"package"}
    scene.cache_packages("1")
    scene.promote("1", steps=3)
    assert scene.versions == ["1"]


def test_no_worker_cuts_over_before_the_other_is_ready(scene: Scene, peer: Peer) -> None:
    scene.promote("1")
    scene.promote("2", steps=3)
    assert scene.versions == ["1"]
    assert scene.cutover.state.staged == identity(scene, "2")
    peer.call("stage", identity(scene, "2"))
    scene.promote("2")
    assert scene.versions == ["1", "2"]
    agreed = peer.call("propose")
    assert scene.adopted[-1][1] == agreed.at > scene.adopted[0][1]


def test_a_promotion_that_is_rolled_back_before_all_workers_are_ready_is_never_served(scene: Scene, peer: Peer) -> None:
    scene.promote("1")
    scene.promote("2")
    scene.promote("1")
    assert scene.cutover.state.staged is None
    peer.call("stage", identity(scene, "2"))
    assert peer.call("propose") is None
    peer.call("withdraw")
    scene.promote("1", steps=3)
    assert scene.versions == ["1"]


def test_a_promotion_that_all_workers_agreed_on_is_served_before_its_rollback(scene: Scene, peer: Peer) -> None:
    scene.promote("1")
    scene.promote("2")
    peer.call("stage", identity(scene, "2"))
    agreed = peer.call("propose")
    peer.call("serve", identity(scene, "2"))
    scene.promote("1")
    assert scene.versions == ["1", "2"]
    assert scene.adopted[-1][1] == agreed.at
    peer.call("stage", identity(scene, "1"))
    scene.promote("1", steps=2)
    assert scene.versions == ["1", "2", "1"]


def test_a_new_worker_serves_the_version_of_its_peers_and_cuts_over_with_them(scene: Scene, peer: Peer) -> None:
    scene.promote("2")
    assert scene.versions == ["1"]
    scene.promote("2", steps=2)
    assert scene.versions == ["1"]
    peer.call("stage", identity(scene, "2"))
    scene.promote("2")
    assert scene.versions == ["1", "2"]
    assert scene.adopted[-1][1] == peer.call("propose").at


def test_a_new_worker_needs_no_registry_for_a_cached_package(scene: Scene, peer: Peer) -> None:
    scene.pointer.error = RegistryError("MLflow at http://x: no answer")
    scene.step()
    assert scene.versions == ["1"]


def test_a_new_worker_does_not_cut_over_before_its_peers(scene: Scene, peer: Peer) -> None:
    scene.cutover.leave()
    peer.call("stage", identity(scene, "2"))
    peer.call("delay", 60.0)
    agreed = peer.call("propose")
    peer.call("delay", CUTOVER_DELAY)
    peer.call("serve", identity(scene, "2"))
    scene.cutover = scene.follower._cutover = WorkerCutover(scene.cutover._folder)
    scene.promote("2", steps=3)
    for runtime, at in scene.adopted:
        assert runtime.version == "1" or at >= agreed.at


def test_a_version_whose_digest_differs_from_the_peers_is_not_served(scene: Scene, peer: Peer) -> None:
    shutil.rmtree(scene.folder("1"))
    forged = scene.pointer.versions["1"]
    scene.pointer.versions["1"] = Version(**{**vars(forged), "digest": scene.packages["2"][1]})
    scene.promote("1")
    assert scene.adopted == []
    assert scene.failures == ["package"]


def test_the_pointer_is_polled_when_a_peer_has_staged_another_version(
    scene: Scene, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("ratchet.inference.pointer_follower.time", SimpleNamespace(monotonic=lambda: now[0]))
    scene.follower._interval = 3600.0
    scene.promote("1")
    now[0] += 1
    scene.promote("2")
    assert scene.pointer.asked == 1
    peer.call("stage", identity(scene, "2"))
    scene.step()
    assert scene.pointer.asked == 2
    assert scene.versions == ["1", "2"]


def test_the_threads_follow_the_pointer_until_they_are_stopped(scene: Scene) -> None:
    scene.pointer.at = "1"
    scene.follower.start()
    until(lambda: scene.versions == ["1"])
    scene.pointer.at = "2"
    until(lambda: scene.versions == ["1", "2"])
    scene.follower.stop()
    for thread in scene.follower._threads:
        thread.join(5)
        assert not thread.is_alive()


def test_an_unexpected_error_is_reported_and_following_continues(scene: Scene) -> None:
    scene.pointer.at = "1"
    scene.pointer.error = ZeroDivisionError("a fault of ours")
    scene.follower.start()
    until(lambda: "unexpected" in scene.failures)
    scene.pointer.error = None
    until(lambda: scene.versions == ["1"])


def test_a_registry_that_hangs_does_not_delay_an_agreed_cut_over(scene: Scene, peer: Peer) -> None:
    scene.pointer.at = "1"
    scene.follower.start()
    until(lambda: scene.versions == ["1"])
    scene.pointer.at = "2"
    until(lambda: scene.cutover.state.staged == identity(scene, "2"))
    scene.pointer.answers.clear()
    until(lambda: scene.pointer.hangs)
    peer.call("stage", identity(scene, "2"))
    agreed = peer.call("propose")
    assert agreed
    until(lambda: scene.versions == ["1", "2"], seconds=20)
    assert scene.adopted[-1][1] == agreed.at
