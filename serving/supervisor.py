"""The parent process of the workers: starts them, restarts those that die, and stops them.

They are forked from a server process that has imported everything, so that the imports are paid once and a worker
that was killed restarts at once.
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

# A process that dies within this time after its start, in seconds, is restarted only after a pause.
_EARLY_EXIT = 5.0
_PAUSE = 1.0
# The exit code of uvicorn when the application cannot start.
_STARTUP_FAILURE = 3

Check = Callable[..., Exception | None]
Role = tuple[Callable[..., None], tuple[object, ...]]


class Supervisor:
    """Keeps processes running until it is stopped.

    Parameters
    ----------
    roles: a main function and its arguments for each process.
    grace: seconds that processes have to stop before they are killed.
    preload: modules that are imported before the fork; importing them must not start threads or open connections.
    last: like ``roles``, for processes that are stopped when the others have ended.
    """

    def __init__(
        self, roles: Sequence[Role], grace: float, preload: Sequence[str], *, last: Sequence[Role] = ()
    ) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._roles = [*roles, *last]
        self._first_of_last = len(roles)
        self._grace = grace
        self._running: dict[BaseProcess, int] = {}
        self._started_at: dict[int, float] = {}
        self._wake_reader, self._wake_writer = os.pipe()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or a failed check.

        Raises
        ------
        StateError: a process could not start; its log has the reason.
        Exception: the result of a failed check.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._wake())
        for role in range(len(self._roles)):
            self._start(role)
        try:
            while self._failure is None:
                ended = wait([self._wake_reader, *(process.sentinel for process in self._running)])
                if self._wake_reader in ended:
                    break
                self._restart_ended()
        finally:
            self._stop()
        if self._failure:
            raise self._failure

    def check(self, main: Check, arguments: tuple[object, ...], passed: Callable[[], None]) -> None:
        """Run a check, which returns an error or None, in its own process while the others start.

        An error stops all processes; without one, ``passed`` is called.
        """
        threading.Thread(target=self._check, args=(main, arguments, passed), daemon=True).start()

    def _check(self, main: Check, arguments: tuple[object, ...], passed: Callable[[], None]) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_run_check, args=(sender, main, arguments), daemon=True)
        process.start()
        sender.close()
        with contextlib.suppress(EOFError):
            self._failure = receiver.recv()
        if self._failure:
            self._wake()
        else:
            passed()

    def _wake(self) -> None:
        os.write(self._wake_writer, b"x")

    def _start(self, role: int) -> None:
        main, arguments = self._roles[role]
        process = self._context.Process(target=main, args=arguments, daemon=True)
        process.start()
        self._running[process] = role
        self._started_at[role] = time.monotonic()

    def _restart_ended(self) -> None:
        for process in [process for process in self._running if process.exitcode is not None]:
            role = self._running.pop(process)
            if process.exitcode == _STARTUP_FAILURE:
                self._failure = StateError("a worker could not start; see the log above")
                return
            logger.error("process %s exited with status %s; restarting it", process.pid, process.exitcode)
            if time.monotonic() - self._started_at[role] < _EARLY_EXIT:
                time.sleep(_PAUSE)
            self._start(role)

    def _stop(self) -> None:
        last = [process for process, role in self._running.items() if role >= self._first_of_last]
        self._stop_all([process for process in self._running if process not in last])
        self._stop_all(last)

    def _stop_all(self, processes: Sequence[BaseProcess]) -> None:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self._grace
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()


def _run_check(sender: Connection, main: Check, arguments: tuple[object, ...]) -> None:
    exit_with_parent()
    sender.send(main(*arguments))


def exit_with_parent() -> None:
    """Stop this process when its parent dies, even by ``kill -9``."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for_parent, args=(parent,), name="parent-watch", daemon=True).start()


def _wait_for_parent(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
