"""Following the production pointer: a new version is loaded and verified, then all workers cut over to it.

Any failure on the way leaves the old version in place, and is reported.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ratchet.errors import PackageError, RatchetError, RegistryError
from ratchet.inference.package_cache import PackageCache
from ratchet.inference.runtime import Runtime
from ratchet.inference.worker_cutover import Agreement, ServedVersion, WorkerCutover
from ratchet.registry.audit_share import audit_share_of
from ratchet.registry.model_version import Version

if TYPE_CHECKING:
    from ratchet.registry.polled_pointer import PolledPointer

logger = logging.getLogger(__name__)

# Seconds between two checks of the other workers, at rest and while a cut-over is near.
_AT_REST = 0.1
_NEAR_CUTOVER = 0.02
# Seconds between two polls of the registry, at least.
_SHORTEST_POLL = 0.25
_LONGEST_RETRY = 30.0


class PointerFollower:
    """Keeps one worker in step with the pointer and with the other workers.

    Parameters
    ----------
    pointer: the version in Production.
    cache: downloads and loads packages.
    cutover: this worker's part in the cut-overs.
    on_cutover: receives a runtime and the instant (``time.monotonic()``) from which on it answers.
    on_failure: receives the kind of each failure: ``registry`` (the pointer cannot be read), ``package`` or
        ``unexpected``.
    interval: seconds within which a change of the pointer is followed; it is polled two to three times as often.

    Attributes
    ----------
    audit_share: the share of predictions that a label is asked for, as of the last poll; None for none.
    """

    def __init__(
        self,
        pointer: PolledPointer,
        cache: PackageCache,
        cutover: WorkerCutover,
        on_cutover: Callable[[Runtime, float], None],
        on_failure: Callable[[str], None],
        interval: float,
    ) -> None:
        self._pointer = pointer
        self._cache = cache
        self._cutover = cutover
        self._on_cutover = on_cutover
        self._on_failure = on_failure
        self._interval = interval
        self.audit_share: float | None = None
        self._wanted: Version | None = None
        self._serving: ServedVersion | None = None
        self._staged: Runtime | None = None
        self._last_poll = self._next_poll = self._retry_at = 0.0
        self._failures = 0
        self._polled = False
        self._stopped = threading.Event()
        self._poll_now = threading.Event()
        # Two threads: a registry that hangs must not delay a cut-over that the workers have agreed on.
        self._threads = [
            threading.Thread(target=self._poll_until_stopped, name="pointer-poll", daemon=True),
            threading.Thread(target=self._act_until_stopped, name="pointer-follower", daemon=True),
        ]

    @property
    def has_nothing_to_serve(self) -> bool:
        """Whether neither the pointer nor another worker is known to have a version that can be loaded."""
        has_none = self._polled and (self._wanted is None or self._failures > 0)
        return has_none and self._cutover.served_by_peers() is None

    @property
    def _wanted_version(self) -> ServedVersion | None:
        return _identity(self._wanted) if self._wanted else None

    def start(self) -> None:
        """Start to follow the pointer."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop following; a package that is being loaded is dropped."""
        self._stopped.set()
        self._poll_now.set()

    def act(self) -> None:
        """Load, stage, withdraw or serve a version, as the pointer and the other workers require."""
        if self._serving is None:
            self._serve_first()
            return
        wanted = self._wanted_version
        if self._staged and wanted != _identity(self._staged):
            self._cut_over(self._cutover.withdraw())
            self._staged = None
        if wanted and wanted != self._serving:
            self._stage_and_propose()

    def _poll_until_stopped(self) -> None:
        while not self._stopped.is_set():
            self._guarded(self._poll)
            self._poll_now.wait(max(0.0, self._next_poll - time.monotonic()))
            self._poll_now.clear()

    def _act_until_stopped(self) -> None:
        while not self._stopped.wait(_NEAR_CUTOVER if self._staged or self._serving is None else _AT_REST):
            self._guarded(self._request_poll_and_act)

    def _request_poll_and_act(self) -> None:
        if self._peer_is_ahead():
            self._poll_now.set()
        self.act()

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception:
            self._on_failure("unexpected")
            logger.exception("following the production pointer failed; it is retried")

    def _poll(self) -> None:
        now = self._last_poll = time.monotonic()
        # Less than half of the interval, so that a load fits into it; random, so that workers do not poll in step.
        self._next_poll = now + self._interval * random.uniform(0.3, 0.5)  # noqa: S311 - jitter, no secret
        try:
            found = self._pointer.current()
        except RatchetError as error:
            self._on_failure("registry")
            logger.error("the production pointer cannot be read, the served version stays: %s", error)
            return
        finally:
            self._polled = True
        if found != self._wanted:
            self._failures, self._retry_at = 0, 0.0
        self.audit_share = audit_share_of(found)
        # An empty pointer does not stop the service.
        self._wanted = found or self._wanted

    def _peer_is_ahead(self) -> bool:
        if time.monotonic() - self._last_poll < _SHORTEST_POLL:
            return False
        known = (None, self._serving, self._wanted_version)
        return any(state.staged not in known for state in self._cutover.states())

    def _serve_first(self) -> None:
        """Serve the version of the other workers, or else the one in Production."""
        version = self._cutover.served_by_peers() or self._wanted_version
        while version and time.monotonic() >= self._retry_at:
            try:
                runtime = self._load(version)
            except Exception as error:
                self._failed(version, error)
                return
            joined = self._cutover.join(version)
            if joined == version:
                self._serving, agreement = version, self._cutover.agreement()
                self._on_cutover(runtime, max(agreement.at if agreement else 0.0, time.monotonic()))
                logger.info("serving version %s", version.version)
                return
            version = joined

    def _stage_and_propose(self) -> None:
        """Load the wanted version, and cut over when every worker has staged it."""
        if self._staged is None and self._wanted is not None and time.monotonic() >= self._retry_at:
            try:
                self._staged = self._cache.load(self._wanted)
            except Exception as error:
                self._failed(_identity(self._wanted), error)
                return
            self._failures = 0
            self._cutover.stage(_identity(self._staged))
        if self._staged:
            self._cut_over(self._cutover.propose())

    def _cut_over(self, agreement: Agreement | None) -> None:
        if agreement and self._staged:
            self._cutover.serve(agreement.version)
            self._on_cutover(self._staged, agreement.at)
            before = self._serving.version if self._serving else "none"
            logger.info("cut-over from version %s to version %s", before, agreement.version.version)
            self._serving, self._staged = agreement.version, None

    def _load(self, version: ServedVersion) -> Runtime:
        try:
            return self._cache.load_cached(self._pointer.model, version.version, version.digest)
        except (PackageError, OSError):
            found = self._pointer.get(version.version)
            if found.digest != version.digest:
                raise RegistryError(f"version {version.version}: its digest differs from the other workers'") from None
            return self._cache.load(found)

    def _failed(self, version: ServedVersion, error: Exception) -> None:
        self._failures += 1
        self._retry_at = time.monotonic() + min(self._interval * 2 ** (self._failures - 1) / 2, _LONGEST_RETRY)
        self._on_failure("package")
        unexpected = not isinstance(error, RatchetError | OSError)
        logger.error("version %s cannot be served: %s", version.version, error, exc_info=unexpected)


def _identity(version: Version | Runtime) -> ServedVersion:
    return ServedVersion(version.version, version.digest)
