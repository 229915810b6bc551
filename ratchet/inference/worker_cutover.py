"""The cut-over of all workers of one machine to a new version at one instant.

The workers that serve one model share a folder. Each holds a lock file while it lives, and publishes the version that
it serves and the version that it has staged. When every living worker has staged the same version, the first worker
that finds this out writes down the instant, on the machine's monotonic clock, at which all of them cut over.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ratchet.inference.locked_files import create_locked, lock_abandoned

# Seconds from the agreement to the cut-over: time for every worker to read the agreement.
CUTOVER_DELAY = 0.25
# Seconds without a heartbeat after which the others no longer wait for a worker.
HEARTBEAT_TIMEOUT = 15.0


@dataclass(frozen=True)
class ServedVersion:
    """A version, identified by its number and the digest of its package."""

    version: str
    digest: str


@dataclass(frozen=True)
class Agreement:
    """All workers serve this version from an instant on (``time.monotonic()``)."""

    version: ServedVersion
    at: float


@dataclass
class WorkerState:
    """What a worker publishes.

    Attributes
    ----------
    serving: the version that it serves, or will serve from the agreed instant on; None before it is ready.
    answering: the version that answers now.
    staged: the version that it has loaded and verified, to serve it next.
    facts: what ``/health`` merges over the workers.
    beat: time of the last heartbeat (``time.monotonic()``).
    """

    pid: int
    serving: ServedVersion | None = None
    answering: str | None = None
    staged: ServedVersion | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    beat: float = 0.0


class WorkerCutover:
    """One worker's part in the cut-overs of a model, in a folder that the workers share."""

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        self._folder = folder
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        self._exclusive = FileLock(folder / "board.lock")
        self._publishing = threading.Lock()
        self.state = WorkerState(os.getpid())
        self._life = create_locked(folder / f"{self._name}.life")
        self.publish()

    def publish(self) -> None:
        """Publish the state of this worker, with a heartbeat."""
        with self._publishing:
            self.state.beat = time.monotonic()
            _write(self._folder / f"{self._name}.json", asdict(self.state))

    def leave(self) -> None:
        """Remove this worker from the group."""
        for kind in ("json", "life"):
            (self._folder / f"{self._name}.{kind}").unlink(missing_ok=True)
        os.close(self._life)

    def states(self) -> list[WorkerState]:
        """Return the states of the living workers, this one included, and remove the files of dead ones."""
        found = []
        for life in self._folder.glob("*.life"):
            published = life.with_suffix(".json")
            with lock_abandoned(life) as abandoned:
                if abandoned:
                    life.unlink()
                    published.unlink(missing_ok=True)
                    continue
            state = _read_state(published)
            if state and (life.stem == self._name or time.monotonic() - state.beat < HEARTBEAT_TIMEOUT):
                found.append(state)
        return found

    def join(self, version: ServedVersion) -> ServedVersion:
        """Start to serve a version, unless the peers serve another one.

        Returns
        -------
        The version that this worker has to serve like its peers; ``agreement`` holds the instant from which on.
        """
        with self._exclusive:
            peers = [state for state in self._peers() if state.serving]
            agreement = self.agreement()
            if peers and agreement and agreement.version != version:
                return agreement.version
            if not peers or agreement is None:
                self._agree(Agreement(version, time.monotonic()))
            self.state.serving, self.state.staged = version, None
            self.publish()
            return version

    def served_by_peers(self) -> ServedVersion | None:
        """Return the version that the other workers serve; None if no other worker serves one."""
        if any(state.serving for state in self._peers()):
            agreement = self.agreement()
            return agreement.version if agreement else None
        return None

    def propose(self) -> Agreement | None:
        """Agree on the cut-over to the staged version, if every living worker can serve it.

        Returns
        -------
        The agreement, made now or earlier by another worker; None while a worker is not ready.
        """
        staged = self.state.staged
        with self._exclusive:
            agreement = self.agreement()
            if agreement and agreement.version == staged:
                return agreement
            if staged is None or not all(_is_ready(state, staged, agreement) for state in self.states()):
                return None
            agreement = Agreement(staged, time.monotonic() + CUTOVER_DELAY)
            self._agree(agreement)
            return agreement

    def stage(self, version: ServedVersion) -> None:
        """Publish that this worker has loaded and verified a version."""
        self.state.staged = version
        self.publish()

    def serve(self, version: ServedVersion) -> None:
        """Publish that this worker cuts over to a version at the agreed instant."""
        self.state.serving = version
        if self.state.staged == version:
            self.state.staged = None
        self.publish()

    def withdraw(self) -> Agreement | None:
        """Withdraw the staged version, unless it is agreed on already.

        Returns
        -------
        The agreement that has to be kept; None if there is none.
        """
        with self._exclusive:
            agreement = self.agreement()
            if agreement and agreement.version == self.state.staged:
                return agreement
            self.state.staged = None
            self.publish()
            return None

    def agreement(self) -> Agreement | None:
        """Return the last agreement."""
        try:
            found = json.loads((self._folder / "cutover.json").read_text())
        except (OSError, ValueError):
            return None
        return Agreement(ServedVersion(**found["release"]), found["at"])

    def _peers(self) -> list[WorkerState]:
        return [state for state in self.states() if state.pid != self.state.pid]

    def _agree(self, agreement: Agreement) -> None:
        _write(self._folder / "cutover.json", {"release": asdict(agreement.version), "at": agreement.at})


def _is_ready(state: WorkerState, version: ServedVersion, agreement: Agreement | None) -> bool:
    if agreement and state.staged == agreement.version:
        return False  # it has not read yet that it has to cut over to that version
    return version in (state.staged, state.serving)


def _read_state(path: Path) -> WorkerState | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    for key in ("serving", "staged"):
        found[key] = ServedVersion(**found[key]) if found[key] else None
    return WorkerState(**found)


def _write(path: Path, value: dict[str, Any]) -> None:
    """Replace a file at once. It is not synced: after a crash of the machine no worker reads it."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(value))
    partial.replace(path)
