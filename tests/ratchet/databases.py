"""A database that a test takes down, or lets hang, while something opens it."""

from __future__ import annotations

import threading

from ratchet.errors import StateError
from ratchet.store.database import Store


class Database:
    """Opens a store while it is up; ``free`` lets calls that hang continue."""

    def __init__(self, url: str, timeout: float = 5.0, *, up: bool = True) -> None:
        self.up = up
        self.free = threading.Event()
        self.free.set()
        self._url, self._timeout = url, timeout
        self._store: Store | None = None

    def open(self) -> Store:
        assert self.free.wait(30)
        if not self.up:
            raise StateError("the store is down")
        if self._store is None:
            self._store = Store(self._url, self._timeout)
        return self._store

    def close(self) -> None:
        self.free.set()
        if self._store:
            self._store.engine.dispose()
