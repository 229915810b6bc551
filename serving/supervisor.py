"""The parent of the workers and of the relay: starts them, starts again who dies, and ends them in order.

They are forked from a server process that has imported everything once, so that two workers do not pay twice, and one
that was killed is back in a moment.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ratchet.errors import StateError

logger = logging.getLogger(__name__)

# A process that dies so soon after its start, in seconds, is started again only after a pause.
_SOON = 5.0
_PAUSE = 1.0
# What uvicorn exits with when the application could not start.
_STARTUP_FAILURE = 3

Check = Callable[..., Exception | None]
Role = tuple[Callable[..., None], tuple[object, ...]]


class Supervisor:
    """Keeps processes running until it is told to stop.

    Parameters
    ----------
    roles: a main function and its arguments for each process; the last one is ended after the others.
    grace: seconds that they have to end by themselves.
    preload: modules that they are forked with; none may start threads or open connections when it is imported.
    """

    def __init__(self, roles: Sequence[Role], grace: float, preload: Sequence[str]) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._roles = roles
        self._grace = grace
        self._running: dict[BaseProcess, int] = {}
        self._begun: dict[int, float] = {}
        self._stop_reading, self._stop_writing = os.pipe()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or a check that fails.

        Raises
        ------
        StateError: a process could not start; its log says why.
        Exception: what the check has found.
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

    def check(self, main: Check, arguments: tuple[object, ...], passed: Callable[[], None]) -> None:
        """Run a check in a process of its own as the others start; what it returns ends everything.

        Parameters
        ----------
        main, arguments: a function, which returns what is wrong or None, and what it is given.
        passed: called when nothing is wrong.
        """
        threading.Thread(target=self._check, args=(main, arguments, passed), daemon=True).start()

    def _check(self, main: Check, arguments: tuple[object, ...], passed: Callable[[], None]) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_report, args=(sender, main, arguments), daemon=True)
        process.start()
        sender.close()
        with contextlib.suppress(EOFError):
            self._failure = receiver.recv()
        if self._failure:
            self._wake()
        else:
            passed()

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


def _report(sender: Connection, main: Check, arguments: tuple[object, ...]) -> None:
    exit_with_parent()
    sender.send(main(*arguments))


def exit_with_parent() -> None:
    """End this process when its parent is gone, as after ``kill -9``."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
