"""The production pointer for a caller that reads it every few seconds."""

from __future__ import annotations

import time
from pathlib import Path

from ratchet.registry.model_version import Version
from ratchet.registry.production_pointer import ProductionPointer

# Seconds for which the times of a changed file may be those of a later change: clocks of file systems are coarse.
_COARSEST_CLOCK = 1.0

_State = tuple[tuple[int, int, int] | None, ...]


class PolledPointer:
    """Reads the pointer only if the registry may have changed: a query takes 10 ms of processor time.

    A registry in an SQLite file has changed if its files have. Any other is read each time.
    """

    def __init__(self, pointer: ProductionPointer) -> None:
        self.model = pointer.model
        self._pointer = pointer
        self._state: _State | None = None
        self._version: Version | None = None

    def current(self) -> Version | None:
        """Return the version in Production, or None before the first promotion.

        Raises
        ------
        RegistryError: as for `ProductionPointer.current`.
        """
        state = self._file_state()
        if state is None or state != self._state:
            self._version = self._pointer.current()
            self._state = state
        return self._version

    def get(self, version: str) -> Version:
        """Return a registered version.

        Raises
        ------
        RegistryError: as for `ProductionPointer.get`.
        """
        return self._pointer.get(version)

    def _file_state(self) -> _State | None:
        """Return what changes with the registry; None if that is not known."""
        kind, _, path = self._pointer.settings.tracking_uri.partition("sqlite:///")
        if kind or not path:
            return None
        found = [_stat(Path(f"{path.partition('?')[0]}{ending}")) for ending in ("", "-wal")]
        newest = max((changed for changed, _, _ in filter(None, found)), default=time.time_ns())
        return tuple(found) if time.time_ns() - newest > _COARSEST_CLOCK * 1e9 else None


def _stat(path: Path) -> tuple[int, int, int] | None:
    """Return time of the last change, size and inode of a file; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
