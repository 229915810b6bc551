"""One request and its reply: the body read, an answer found, and whatever happens told and counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ratchet.errors import UnavailableError
from serving.replies import Reply, refuse
from serving.requests import ClientLeftError, Receive, read_json_body
from serving.worker import Worker

Headers = Iterable[tuple[bytes, bytes]]
# Given the body and the time of its arrival, by ``time.perf_counter()``.
Handler = Callable[[bytes, float], Awaitable[Reply]]


class Exchange:
    """Takes requests for routes that take JSON.

    Parameters
    ----------
    worker: the process's worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._executor = worker.executor
        self._telemetry = worker.telemetry
        self._most = worker.settings.max_body_bytes
        self._timeout = worker.settings.request_timeout

    async def take(self, route: str, handle: Handler, headers: Headers, receive: Receive) -> Reply | None:
        """A handler's reply, or the refusal that its error makes; None where nobody waits for one."""
        started = time.perf_counter()
        self._telemetry.in_flight += 1
        try:
            reply = await handle(await read_json_body(headers, receive, self._most, self._timeout), started)
        except ClientLeftError:
            self._telemetry.error("client_left")
            return None
        except Exception as error:
            reply, kind = refuse(error)
            self._telemetry.error(kind)
        finally:
            self._telemetry.in_flight -= 1
        self._telemetry.request(route, reply.status, time.perf_counter() - started)
        return reply

    async def compute(self, compute: Callable[..., Any], *arguments: Any) -> Any:
        """Run a long computation on the thread for such, in time.

        Raises
        ------
        UnavailableError: others that came before it take too long, or it does itself.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._executor, compute, *arguments)
        except TimeoutError:
            raise UnavailableError(f"this was not computed within {self._timeout:g} s") from None

    def refuse(self, route: str, error: Exception) -> Reply:
        """Refuse a request before it is read; not timed, since many of these would hide that the others are slow."""
        reply, kind = refuse(error)
        self._telemetry.error(kind)
        self._telemetry.request(route, reply.status, None)
        return reply
