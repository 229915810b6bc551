"""The gate in front of every route of BentoML's: who may come in, what every reply carries, and a count of both."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from serving.keys import Keys
from serving.replies import CLOSED_POLICY, SECURITY, RefusalError, refuse, send_reply
from serving.worker import this_worker

# Probes say whether the process lives and can answer, and nothing else.
_OPEN = frozenset({"/livez", "/readyz", "/healthz"})
# Routes that count themselves.
_COUNTED = frozenset({"/predict", "/predict_batch", "/explain"})
_KNOWN = frozenset({"/", "/docs", "/docs.json", "/health", "/metrics", "/model", "/schema.json"}) | _OPEN


class Gate:
    """ASGI middleware around BentoML's application.

    Parameters
    ----------
    app: the application behind the gate.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        worker = this_worker()
        self._keys = Keys(worker.settings)
        self._telemetry = worker.telemetry

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path, status = time.perf_counter(), scope["path"], 500

        async def send_on(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_security(message.get("headers", ()))
            await send(message)

        try:
            if path not in _OPEN:
                self._keys.require(scope["headers"])
            await self._app(scope, receive, send_on)
        except RefusalError as error:
            reply, kind = refuse(error)
            status = reply.status
            self._telemetry.error(kind)
            await send_reply(reply, send)
        finally:
            if path not in _COUNTED or status == 401:
                self._telemetry.request(
                    path if path in _KNOWN | _COUNTED else "other", status, time.perf_counter() - started
                )


def _with_security(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = [(name.lower(), value) for name, value in headers if name.lower() != b"server"]
    names = {name for name, _ in present}
    return present + [header for header in (*SECURITY, CLOSED_POLICY) if header[0] not in names]
