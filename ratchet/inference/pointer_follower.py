"""Following the production pointer: a new version is loaded and proved aside, and swapped in with all workers at once.

Whatever goes wrong on the way leaves the old version in place and raises an alarm.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ratchet.errors import PackageError, RatchetError, RegistryError
from ratchet.inference.package_cache import PackageCache
from ratchet.inference.runtime import Runtime
from ratchet.inference.worker_cutover import Board, Cutover, Release
from ratchet.registry.model_version import Version

logger = logging.getLogger(__name__)

# Seconds between looks at the board, at rest and while a version is about to go in.
_AT_REST = 0.1
_AT_WORK = 0.02
# Two looks at the registry are at least so far apart, whatever the others have staged.
_SOON = 0.25
_LONGEST_RETRY = 30.0


class Pointer(Protocol):
    """What says which version is in Production."""

    model: str

    def current(self) -> Version | None:
        """The version in Production."""
        ...

    def get(self, version: str) -> Version:
        """One version."""
        ...


class Follower:
    """Keeps one worker in step with the pointer and with the other workers.

    Parameters
    ----------
    pointer: says what is in Production.
    cache: brings packages here.
    board: where the workers agree.
    adopt: takes a runtime and the instant (``time.monotonic()``) from which on it answers.
    alarm: told of the kind of each failure: ``registry`` (the pointer cannot be read) or ``package``.
    interval: seconds within which a change of the pointer is followed; it is looked at two to three times as often.
    """

    def __init__(
        self,
        pointer: Pointer,
        cache: PackageCache,
        board: Board,
        adopt: Callable[[Runtime, float], None],
        alarm: Callable[[str], None],
        interval: float,
    ) -> None:
        self._pointer = pointer
        self._cache = cache
        self._board = board
        self._adopt = adopt
        self._alarm = alarm
        self._interval = interval
        self._wanted: Version | None = None
        self._serving: Release | None = None
        self._staged: Runtime | None = None
        self._last_poll = self._next_poll = self._retry_at = 0.0
        self._failures = 0
        self._asked = False
        self._stopped = threading.Event()
        self._ask = threading.Event()
        # Two threads: a registry that hangs must not hold up a cut-over that the workers have agreed on.
        self._threads = [
            threading.Thread(target=self._ask_until_stopped, name="pointer", daemon=True),
            threading.Thread(target=self._act_until_stopped, name="follower", daemon=True),
        ]

    @property
    def has_nothing(self) -> bool:
        """Whether there is nothing to serve, as far as is known."""
        return self._asked and self._wanted is None and self._board.served() is None

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop following; what is being loaded is left."""
        self._stopped.set()
        self._ask.set()

    def step(self) -> None:
        """One look at the pointer where it is time, and whatever has to be done about it."""
        if time.monotonic() >= self._next_poll or self._somebody_is_ahead():
            self._poll()
        self._act()

    def _ask_until_stopped(self) -> None:
        while not self._stopped.is_set():
            self._guarded(self._poll)
            self._ask.wait(max(0.0, self._next_poll - time.monotonic()))
            self._ask.clear()

    def _act_until_stopped(self) -> None:
        while not self._stopped.wait(_AT_WORK if self._staged or self._serving is None else _AT_REST):
            self._guarded(self._look_and_act)

    def _look_and_act(self) -> None:
        if self._somebody_is_ahead():
            self._ask.set()
        self._act()

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception:
            self._alarm("unexpected")
            logger.exception("following the production pointer failed; it is tried again")

    def _act(self) -> None:
        if self._serving is None:
            self._begin()
            return
        wanted = _release(self._wanted)
        if self._staged and wanted != _of(self._staged):
            self._agreed(self._board.withdraw())
            self._staged = None
        if wanted and wanted != self._serving:
            self._advance(time.monotonic())

    def _poll(self) -> None:
        now = self._last_poll = time.monotonic()
        # A third to a half of the interval, so that workers do not ask in step, and a load has time within it.
        self._next_poll = now + self._interval * random.uniform(0.3, 0.5)  # noqa: S311 - jitter, no secret
        try:
            found = self._pointer.current()
        except RatchetError as error:
            self._alarm("registry")
            logger.error("the production pointer cannot be read, version stays: %s", error)
            return
        finally:
            self._asked = True
        if found != self._wanted:
            self._failures, self._retry_at = 0, 0.0
        # Nothing in Production is no reason to stop answering.
        self._wanted = found or self._wanted

    def _somebody_is_ahead(self) -> bool:
        if time.monotonic() - self._last_poll < _SOON:
            return False
        known = (None, self._serving, _release(self._wanted))
        return any(post.staged not in known for post in self._board.posts())

    def _begin(self) -> None:
        """Serve a first version: what the other workers serve, or what is in Production."""
        release = self._board.served() or _release(self._wanted)
        while release and time.monotonic() >= self._retry_at:
            try:
                runtime = self._load(release)
            except Exception as error:
                self._failed(release, error)
                return
            in_step = self._board.enter(release)
            if in_step == release:
                self._serving, agreed = release, self._board.cutover()
                self._adopt(runtime, max(agreed.at if agreed else 0.0, time.monotonic()))
                logger.info("serving version %s", release.version)
                return
            release = in_step

    def _advance(self, now: float) -> None:
        """Load what is wanted aside, and swap when every worker has it."""
        if self._staged is None and self._wanted is not None and now >= self._retry_at:
            try:
                self._staged = self._cache.load(self._wanted)
            except Exception as error:
                self._failed(_release(self._wanted), error)
                return
            self._failures = 0
            self._board.mine.staged = _of(self._staged)
            self._board.post()
        if self._staged:
            self._agreed(self._board.propose())

    def _agreed(self, cutover: Cutover | None) -> None:
        if cutover and self._staged:
            self._board.serve(cutover.release)
            self._adopt(self._staged, cutover.at)
            before = self._serving.version if self._serving else "nothing"
            logger.info("version %s goes in, %s goes out", cutover.release.version, before)
            self._serving, self._staged = cutover.release, None

    def _load(self, release: Release) -> Runtime:
        try:
            return self._cache.load_kept(self._pointer.model, release.version, release.digest)
        except (PackageError, OSError):
            version = self._pointer.get(release.version)
            if version.digest != release.digest:
                raise RegistryError(f"version {release.version} has another digest than the other workers'") from None
            return self._cache.load(version)

    def _failed(self, release: Release | None, error: Exception) -> None:
        self._failures += 1
        self._retry_at = time.monotonic() + min(self._interval * 2 ** (self._failures - 1) / 2, _LONGEST_RETRY)
        self._alarm("package")
        trace = not isinstance(error, RatchetError | OSError)
        logger.error("version %s cannot go in: %s", release.version if release else "?", error, exc_info=trace)


def _release(version: Version | None) -> Release | None:
    return Release(version.version, version.digest) if version else None


def _of(runtime: Runtime) -> Release:
    return Release(runtime.version, runtime.digest)
