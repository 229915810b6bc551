"""The relay's process beside the workers: started with them, started again when it dies, ended after them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ratchet.settings import load_settings, quiet_environment

# Seconds before a relay that died is started again; the workers write for themselves meanwhile.
_PAUSE = 1.0


@contextmanager
def relaying(path: Path) -> Iterator[None]:
    """Keep a relay on a socket for the time of a block, and tell the workers of it.

    Parameters
    ----------
    path: the socket's; short, since the system allows a hundred characters.
    """
    os.environ["RATCHET_RELAY"] = str(path)
    keeper = _Keeper(path)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


class _Keeper(threading.Thread):
    """Starts the relay, and starts it again."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="relay-keeper", daemon=True)
        self._path = path
        self._stopped = threading.Event()
        self._process: multiprocessing.process.BaseProcess | None = None

    def run(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        while not self._stopped.is_set():
            self._process = spawn.Process(target=relay, args=(str(self._path),), daemon=True)
            self._process.start()
            self._process.join()
            self._stopped.wait(_PAUSE)

    def stop(self) -> None:
        self._stopped.set()
        if self._process and self._process.is_alive():
            self._process.terminate()
            self._process.join(5)


def relay(path: str) -> None:
    """Run a relay; the main function of its process."""
    import uvloop

    from ratchet.relay import RelayServer
    from ratchet.store import open_store
    from serving.logs import log_as_json

    # Ctrl-C goes to all processes; the workers have rows to write when they get it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_environment()
    settings = load_settings()
    log_as_json(settings.log_level)
    server = RelayServer(lambda: open_store(settings, settings.log_patience))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.run(Path(path)))
