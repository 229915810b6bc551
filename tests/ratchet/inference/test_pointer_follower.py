from __future__ import annotations

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
from ratchet.inference.package_cache import PackageCache
from ratchet.inference.pointer_follower import Follower
from ratchet.inference.runtime import Runtime
from ratchet.inference.worker_cutover import NOTICE, Board, Release
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from tests.fitted import baseline, packaged
from tests.ratchet.inference.test_worker_cutover import Fellow, fellows
from tests.waiting import until

Package = tuple[Path, str]


@pytest.fixture(scope="session")
def packages(iris_package: Package, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    """Three versions of a model."""
    folder = tmp_path_factory.mktemp("versions")
    others = {
        number: packaged(baseline(f"train.params.C={c}"), folder / number) for number, c in (("2", 0.5), ("3", 2))
    }
    return {"1": iris_package, **others}


class Script:
    """A pointer that points where the test says, while its registry answers."""

    model = "iris"

    def __init__(self, packages: dict[str, Package]) -> None:
        self.versions = {number: Version("iris", number, "", digest, "") for number, (_, digest) in packages.items()}
        self.at: str | None = None
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.asked = 0

    def current(self) -> Version | None:
        self.asked += 1
        self.answers.wait(60)
        if self.error:
            raise self.error
        return self.versions[self.at] if self.at else None

    def get(self, version: str) -> Version:
        if self.error:
            raise self.error
        return self.versions[version]


@dataclass
class Scene:
    """One worker that follows a pointer, and what became of it."""

    home: Path
    packages: dict[str, Package]
    pointer: Script
    board: Board
    adopted: list[tuple[Runtime, float]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    interval: float = 1e-6

    def __post_init__(self) -> None:
        # Nothing can be downloaded: what is not on this machine cannot be had.
        self.cache = PackageCache(Settings(home=self.home, models_dir=self.home, mlflow_uri="http://127.0.0.1:9"))
        self.follower = Follower(
            self.pointer,
            self.cache,
            self.board,
            lambda runtime, at: self.adopted.append((runtime, at)),
            self.alarms.append,
            self.interval,
        )

    def folder(self, version: str) -> Path:
        return self.home / "packages" / self.packages[version][1]

    def bring(self, *versions: str) -> None:
        """Have the packages of some versions on this machine."""
        for version in versions:
            shutil.rmtree(self.folder(version), ignore_errors=True)
            shutil.copytree(self.packages[version][0], self.folder(version) / "package")

    def promote(self, version: str | None, steps: int = 1) -> None:
        self.pointer.at = version
        for _ in range(steps):
            self.follower.step()

    @property
    def versions(self) -> list[str]:
        return [runtime.version for runtime, _ in self.adopted]


@pytest.fixture
def scene(packages: dict[str, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    made = Scene(tmp_path / "home", packages, Script(packages), Board(tmp_path / "board"))
    made.bring("1", "2", "3")
    yield made
    made.follower.stop()
    made.pointer.answers.set()
    made.board.leave()


@pytest.fixture(scope="module")
def worker() -> Iterator[Fellow]:
    with fellows(1) as (made,):
        yield made


@pytest.fixture
def fellow(worker: Fellow, scene: Scene) -> Iterator[Fellow]:
    """Another worker, which serves version 1."""
    yield worker.join(scene.board._folder, release(scene, "1"))
    worker.ask("leave")


def release(scene: Scene, version: str) -> Release:
    return Release(version, scene.packages[version][1])


def test_a_worker_begins_with_what_is_in_production(scene: Scene) -> None:
    scene.promote("1")
    ((runtime, at),) = scene.adopted
    assert (runtime.model, runtime.version, runtime.digest) == ("iris", "1", scene.packages["1"][1])
    assert at <= time.monotonic()
    assert scene.board.mine.serving == release(scene, "1")
    assert scene.alarms == []


def test_a_promotion_and_a_rollback_are_followed(scene: Scene) -> None:
    for version in ("1", "2", "1", "3", "2"):
        scene.promote(version)
    assert scene.versions == ["1", "2", "1", "3", "2"]
    assert scene.board.mine.serving == release(scene, "2")
    assert scene.alarms == []
    instants = [at for _, at in scene.adopted]
    assert instants == sorted(instants)
    assert instants[-1] - time.monotonic() <= NOTICE


def test_what_does_not_change_is_left_alone(scene: Scene) -> None:
    scene.promote("1", steps=20)
    assert scene.versions == ["1"]
    assert scene.pointer.asked > 10


def test_before_the_first_promotion_there_is_nothing_to_serve(scene: Scene) -> None:
    scene.promote(None, steps=3)
    assert scene.adopted == []
    assert scene.alarms == []
    scene.promote("1")
    assert scene.versions == ["1"]


def test_nothing_in_production_keeps_the_old_version(scene: Scene) -> None:
    scene.promote("1")
    scene.promote(None, steps=3)
    assert scene.versions == ["1"]
    assert scene.board.mine.serving == release(scene, "1")
    scene.promote("2")
    assert scene.versions == ["1", "2"]


def test_a_pointer_that_cannot_be_read_keeps_the_old_version_and_raises_the_alarm(scene: Scene) -> None:
    scene.promote("1")
    scene.pointer.error = RegistryError("MLflow at http://x: no answer")
    scene.promote("2", steps=3)
    assert scene.versions == ["1"]
    assert scene.alarms == ["registry"] * 3
    scene.pointer.error = None
    scene.promote("2")
    assert scene.versions == ["1", "2"]
    assert scene.alarms == ["registry"] * 3


def test_a_registry_that_is_down_at_the_start_is_asked_again(scene: Scene) -> None:
    scene.pointer.error = RegistryError("MLflow at http://x: no answer")
    scene.promote("1", steps=2)
    assert scene.adopted == []
    assert set(scene.alarms) == {"registry"}
    scene.pointer.error = None
    scene.promote("1")
    assert scene.versions == ["1"]


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "manifest.json"])
def test_a_damaged_package_keeps_the_old_version_and_raises_the_alarm(scene: Scene, name: str) -> None:
    scene.promote("1")
    (scene.folder("2") / "package" / name).write_bytes(b"damaged")
    scene.promote("2", steps=3)
    assert scene.versions == ["1"]
    assert scene.board.mine.staged is None
    assert set(scene.alarms) == {"package"}
    scene.promote("3")
    assert scene.versions == ["1", "3"], "the next promotion is not held up"


def test_a_package_that_cannot_be_had_is_tried_again(scene: Scene) -> None:
    scene.promote("1")
    shutil.rmtree(scene.folder("2"))
    scene.promote("2")
    assert scene.versions == ["1"]
    assert scene.alarms == ["package"]
    scene.bring("2")
    scene.promote("2", steps=3)
    assert scene.versions == ["1", "2"]
    assert scene.alarms == ["package"]


def test_a_rollback_away_from_a_damaged_version_is_no_change(scene: Scene) -> None:
    scene.promote("1")
    shutil.rmtree(scene.folder("2"))
    scene.promote("2")
    scene.promote("1", steps=3)
    assert scene.versions == ["1"]
    assert scene.alarms == ["package"]


def test_tries_become_rarer_and_a_new_promotion_is_tried_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("ratchet.inference.pointer_follower.time", SimpleNamespace(monotonic=lambda: now[0]))
    scene.follower._interval = 1.0
    scene.promote("1")
    shutil.rmtree(scene.folder("2"))
    scene.pointer.at = "2"
    failures = []
    for _ in range(2000):
        now[0] += 0.1
        before = len(scene.alarms)
        scene.follower.step()
        if len(scene.alarms) > before:
            failures.append(now[0])
    pauses = [later - earlier for earlier, later in pairwise(failures)]
    assert len(failures) > 5
    assert pauses == sorted(pauses)
    assert pauses[0] < 1
    assert 25 < pauses[-1] <= 31
    scene.pointer.at = "3"
    for _ in range(10):
        now[0] += 0.1
        scene.follower.step()
    assert scene.versions == ["1", "3"]


def test_a_first_version_that_is_damaged_is_tried_again(scene: Scene) -> None:
    shutil.rmtree(scene.folder("1"))
    scene.promote("1", steps=2)
    assert scene.adopted == []
    assert set(scene.alarms) == {"package"}
    scene.bring("1")
    scene.promote("1", steps=3)
    assert scene.versions == ["1"]


def test_nobody_cuts_over_before_the_other_worker_is_ready(scene: Scene, fellow: Fellow) -> None:
    scene.promote("1")
    scene.promote("2", steps=3)
    assert scene.versions == ["1"]
    assert scene.board.mine.staged == release(scene, "2")
    fellow.ask("stage", release(scene, "2"))
    scene.promote("2")
    assert scene.versions == ["1", "2"]
    agreed = fellow.ask("propose")
    assert scene.adopted[-1][1] == agreed.at > scene.adopted[0][1]


def test_a_promotion_that_is_taken_back_before_all_are_ready_never_goes_in(scene: Scene, fellow: Fellow) -> None:
    scene.promote("1")
    scene.promote("2")
    scene.promote("1")
    assert scene.board.mine.staged is None
    fellow.ask("stage", release(scene, "2"))
    assert fellow.ask("propose") is None
    fellow.ask("withdraw")
    scene.promote("1", steps=3)
    assert scene.versions == ["1"]


def test_a_promotion_that_all_agreed_on_goes_in_before_it_is_taken_back(scene: Scene, fellow: Fellow) -> None:
    scene.promote("1")
    scene.promote("2")
    fellow.ask("stage", release(scene, "2"))
    agreed = fellow.ask("propose")
    fellow.ask("serve", release(scene, "2"))
    scene.promote("1")
    assert scene.versions == ["1", "2"]
    assert scene.adopted[-1][1] == agreed.at
    fellow.ask("stage", release(scene, "1"))
    scene.promote("1", steps=2)
    assert scene.versions == ["1", "2", "1"]


def test_a_newcomer_serves_what_the_others_serve_and_goes_on_with_them(scene: Scene, fellow: Fellow) -> None:
    scene.promote("2")
    assert scene.versions == ["1"]
    scene.promote("2", steps=2)
    assert scene.versions == ["1"]
    fellow.ask("stage", release(scene, "2"))
    scene.promote("2")
    assert scene.versions == ["1", "2"]
    assert scene.adopted[-1][1] == fellow.ask("propose").at


def test_a_newcomer_needs_no_registry_when_the_package_is_here(scene: Scene, fellow: Fellow) -> None:
    scene.pointer.error = RegistryError("MLflow at http://x: no answer")
    scene.follower.step()
    assert scene.versions == ["1"]


def test_a_newcomer_does_not_cut_over_before_the_others(scene: Scene, fellow: Fellow) -> None:
    scene.board.leave()
    fellow.ask("stage", release(scene, "2"))
    fellow.ask("notice", 60.0)
    agreed = fellow.ask("propose")
    fellow.ask("notice", NOTICE)
    fellow.ask("serve", release(scene, "2"))
    scene.board = scene.follower._board = Board(scene.board._folder)
    scene.promote("2", steps=3)
    for runtime, at in scene.adopted:
        assert runtime.version == "1" or at >= agreed.at


def test_a_version_that_has_another_digest_here_than_there_is_not_served(scene: Scene, fellow: Fellow) -> None:
    shutil.rmtree(scene.folder("1"))
    forged = scene.pointer.versions["1"]
    scene.pointer.versions["1"] = Version(**{**vars(forged), "digest": scene.packages["2"][1]})
    scene.promote("1")
    assert scene.adopted == []
    assert scene.alarms == ["package"]


def test_another_worker_that_is_ahead_is_a_reason_to_look_at_the_pointer(
    scene: Scene, fellow: Fellow, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("ratchet.inference.pointer_follower.time", SimpleNamespace(monotonic=lambda: now[0]))
    scene.follower._interval = 3600.0
    scene.promote("1")
    now[0] += 1
    scene.promote("2")
    assert scene.pointer.asked == 1
    fellow.ask("stage", release(scene, "2"))
    scene.follower.step()
    assert scene.pointer.asked == 2
    assert scene.versions == ["1", "2"]


def test_a_thread_follows_until_it_is_stopped(scene: Scene) -> None:
    scene.pointer.at = "1"
    scene.follower.start()
    until(lambda: scene.versions == ["1"])
    scene.pointer.at = "2"
    until(lambda: scene.versions == ["1", "2"])
    scene.follower.stop()
    for thread in scene.follower._threads:
        thread.join(5)
        assert not thread.is_alive()


def test_a_fault_that_nobody_thought_of_raises_the_alarm_and_is_survived(scene: Scene) -> None:
    scene.pointer.at = "1"
    scene.pointer.error = ZeroDivisionError("a fault of ours")
    scene.follower.start()
    until(lambda: "unexpected" in scene.alarms)
    scene.pointer.error = None
    until(lambda: scene.versions == ["1"])


def test_a_registry_that_hangs_does_not_hold_up_a_cut_over_that_was_agreed_on(scene: Scene, fellow: Fellow) -> None:
    scene.pointer.at = "1"
    scene.follower.start()
    until(lambda: scene.versions == ["1"])
    scene.pointer.at = "2"
    until(lambda: scene.board.mine.staged == release(scene, "2"))
    asked = scene.pointer.asked
    scene.pointer.answers.clear()
    until(lambda: scene.pointer.asked > asked)
    fellow.ask("stage", release(scene, "2"))
    agreed = fellow.ask("propose")
    assert agreed
    until(lambda: scene.versions == ["1", "2"], seconds=2)
    assert scene.adopted[-1][1] == agreed.at
