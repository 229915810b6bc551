"""The parent of the workers and of the relay: starts them, starts again who dies, and ends them in order.

They are forked from a server process that has imported everything once, so that two workers do not pay twice, and one
that was killed is back in a moment.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from ratchet.errors import StateError

logger = logging.getLogger(__name__)

# Imported by the server process; whatever starts threads or opens connections at import must not be here.
PRELOADED = ("serving.app", "serving.service", "ratchet.registry", "ratchet.package_cache", "onnxruntime", "uvloop")
# A process that dies so soon after its start, in seconds, is started again only after a pause.
_SOON = 5.0
_PAUSE = 1.0
# What uvicorn exits with when the application could not start.
_STARTUP_FAILURE = 3

Main = Callable[..., None]


class Supervisor:
    """Keeps processes running until it is told to stop.

    Parameters
    ----------
    roles: a main function and its arguments for each process; the last one is ended after the others.
    grace: seconds that they have to end by themselves.
    """

    def __init__(self, roles: Sequence[tuple[Main, tuple[object, ...]]], grace: float) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        self._roles = roles
        self._grace = grace
        self._running: dict[BaseProcess, int] = {}
        self._begun: dict[int, float] = {}
        self._stop_reading, self._stop_writing = os.pipe()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or ``fail``.

        Raises
        ------
        StateError: a process could not start; its log says why.
        Exception: what ``fail`` was given.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._wake())
        for role in range(len(self._roles)):
            self._start(role)
        try:
            while self._failure is None:
                ended = wait([self._stop_reading, *(process.sentinel for process in self._running)])
                if self._stop_reading in ended:
                    break
                self._restart()
        finally:
            self._end()
        if self._failure:
            raise self._failure

    def fail(self, error: Exception) -> None:
        """End everything for a reason; may be called from another thread."""
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        os.write(self._stop_writing, b"x")

    def _start(self, role: int) -> None:
        main, arguments = self._roles[role]
        process = self._context.Process(target=main, args=arguments, daemon=True)
        process.start()
        self._running[process] = role
        self._begun[role] = time.monotonic()

    def _restart(self) -> None:
        for process in [process for process in self._running if process.exitcode is not None]:
            role = self._running.pop(process)
            if process.exitcode == _STARTUP_FAILURE:
                self._failure = StateError("a worker could not start; the lines above say why")
                return
            logger.error("process %s ended with status %s; it is started again", process.pid, process.exitcode)
            if time.monotonic() - self._begun[role] < _SOON:
                time.sleep(_PAUSE)
            self._start(role)

    def _end(self) -> None:
        """Ask all but the last role to end, wait for them, then the last one, which they need until then."""
        last = len(self._roles) - 1
        for turn in (lambda role: role < last, lambda role: role == last):
            chosen = [process for process, role in self._running.items() if turn(role)]
            for process in chosen:
                process.terminate()
            deadline = time.monotonic() + self._grace
            for process in chosen:
                process.join(max(0.0, deadline - time.monotonic()))
                if process.exitcode is None:
                    process.kill()


def exit_with_parent() -> None:
    """End this process when its parent is gone, as after ``kill -9``; Linux alone can do that."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
