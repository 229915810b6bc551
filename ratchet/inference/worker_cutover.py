"""The board: where the workers of one machine that serve one model agree on when to cut over.

It is a folder. Each worker holds a lock file for as long as it lives, and posts beside it what it serves and what it
has ready. A version becomes the next one when every living worker has it ready; whoever sees that first writes down the
instant, on the machine's monotonic clock, at which all of them swap.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# From agreement to cut-over, in seconds: time for every worker to see the agreement.
NOTICE = 0.25
# A worker whose event loop has not posted for so long is not waited for.
SILENCE = 15.0


@dataclass(frozen=True)
class Release:
    """A version as the workers name it to each other."""

    version: str
    digest: str


@dataclass(frozen=True)
class Cutover:
    """An agreement: from this instant (``time.monotonic()``) on, all workers serve this release."""

    release: Release
    at: float


@dataclass
class Post:
    """What a worker says of itself.

    Attributes
    ----------
    serving: what it answers with, or will from the agreed instant on; None before it is ready.
    answering: the version that it answers with now.
    staged: what it has loaded and proved aside.
    facts: what ``/health`` merges over workers.
    beat: when it said so, by ``time.monotonic()``.
    """

    pid: int
    serving: Release | None = None
    answering: str | None = None
    staged: Release | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    beat: float = 0.0


class Board:
    """One worker's place on the board of a model.

    Parameters
    ----------
    folder: the board; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        self.mine = Post(os.getpid())
        self._posting = threading.Lock()
        self._life = self._take(self._folder / f"{self._name}.life")
        self.post()

    def post(self) -> None:
        """Say what this worker serves and has ready, and that it is alive."""
        with self._posting:
            self.mine.beat = time.monotonic()
            _write(self._folder / f"{self._name}.json", asdict(self.mine))

    def leave(self) -> None:
        """Take this worker off the board."""
        for kind in ("json", "life"):
            (self._folder / f"{self._name}.{kind}").unlink(missing_ok=True)
        os.close(self._life)

    def posts(self) -> list[Post]:
        """What the living workers say, this one among them; what dead ones left is removed."""
        found = []
        for life in self._folder.glob("*.life"):
            if life.stem != self._name and not _lives(life):
                for path in (life, life.with_suffix(".json")):
                    path.unlink(missing_ok=True)
                continue
            post = _read_post(life.with_suffix(".json"))
            if post and (life.stem == self._name or time.monotonic() - post.beat < SILENCE):
                found.append(post)
        return found

    def enter(self, release: Release) -> Release:
        """Begin to serve a release, unless the others serve another one.

        Returns
        -------
        The release that this worker has to serve to be in step; ``cutover`` says from when on.
        """
        with self._alone():
            others = [post for post in self.posts() if post.serving and post.pid != self.mine.pid]
            agreed = self.cutover()
            if others and agreed and agreed.release != release:
                return agreed.release
            if not others or agreed is None:
                self._agree(Cutover(release, time.monotonic()))
            self.mine.serving, self.mine.staged = release, None
            self.post()
            return release

    def served(self) -> Release | None:
        """What the other workers serve; None where there are none."""
        if any(post.serving for post in self.posts() if post.pid != self.mine.pid):
            agreed = self.cutover()
            return agreed.release if agreed else None
        return None

    def propose(self) -> Cutover | None:
        """Agree on a cut-over to what this worker has staged, if every living worker has it ready too.

        Returns
        -------
        The agreement, made now or by another worker before; None while somebody is not ready.
        """
        staged = self.mine.staged
        with self._alone():
            agreed = self.cutover()
            if agreed and agreed.release == staged:
                return agreed
            if staged is None or not all(_ready(post, staged, agreed) for post in self.posts()):
                return None
            agreed = Cutover(staged, time.monotonic() + NOTICE)
            self._agree(agreed)
            return agreed

    def serve(self, release: Release) -> None:
        """Say that this worker will have cut over by the agreed instant."""
        self.mine.serving = release
        if self.mine.staged == release:
            self.mine.staged = None
        self.post()

    def withdraw(self) -> Cutover | None:
        """Take back what this worker has staged, unless it was agreed on already.

        Returns
        -------
        The agreement that has to be kept; None where there is none.
        """
        with self._alone():
            agreed = self.cutover()
            if agreed and agreed.release == self.mine.staged:
                return agreed
            self.mine.staged = None
            self.post()
            return None

    def cutover(self) -> Cutover | None:
        """The last agreement."""
        try:
            found = json.loads((self._folder / "cutover.json").read_text())
        except (OSError, ValueError):
            return None
        return Cutover(Release(**found["release"]), found["at"])

    def _agree(self, cutover: Cutover) -> None:
        _write(self._folder / "cutover.json", asdict(cutover))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self._folder / "board.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _take(self, path: Path) -> int:
        # Locked before it can be seen, or somebody would take it for a dead worker's.
        unseen = path.with_suffix(".new")
        life = os.open(unseen, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(life, fcntl.LOCK_EX)
        unseen.rename(path)
        return life


def _ready(post: Post, release: Release, agreed: Cutover | None) -> bool:
    """Whether a worker can serve a release from now on."""
    if agreed and post.staged == agreed.release:
        return False  # it has not seen yet that it is bound to that one
    return release in (post.staged, post.serving)


def _lives(path: Path) -> bool:
    """Whether a worker holds its lock, which the kernel lets go of when it dies."""
    try:
        life = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(life)
    return False


def _read_post(path: Path) -> Post | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    for key in ("serving", "staged"):
        found[key] = Release(**found[key]) if found[key] else None
    return Post(**found)


def _write(path: Path, value: dict[str, Any]) -> None:
    """Write whole or not at all; two writers of one file take turns by the lock or by owning it."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(value))
    partial.replace(path)
