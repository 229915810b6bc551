"""The gate in front of every route of BentoML's: who may come in, what every reply carries, and a count of both."""

from __future__ import annotations

import time
from typing import Any

from ratchet.feedback.signed_links import Links
from serving.keys import Keys
from serving.replies import RefusalError, refuse, send_reply, with_security
from serving.requests import JSON, require_type
from serving.worker import this_worker

# Probes say whether the process lives and can answer, and nothing else.
_PROBES = frozenset({"/livez", "/readyz", "/healthz"})
# The form's token is its key.
_OPEN = _PROBES | {"/feedback/form"}
# Routes of which a POST is counted where it is answered.
_POSTS = frozenset({"/predict", "/predict_batch", "/explain", "/feedback", "/feedback_batch", "/feedback/links"})
_PAGES = frozenset({"/", "/docs", "/docs.json", "/health", "/metrics", "/model", "/schema.json"})
_KNOWN = _PAGES | _OPEN | _POSTS


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
        Links(worker.settings)  # refuses a secret that is none
        self._telemetry = worker.telemetry

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path, status, refused = time.perf_counter(), scope["path"], 500, False

        async def send_on(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = with_security(message.get("headers", ()))
            await send(message)

        try:
            self._inspect(scope)
            await self._app(scope, receive, send_on)
        except RefusalError as error:
            reply, kind = refuse(error)
            status, refused = reply.status, True
            self._telemetry.error(kind)
            await send_reply(reply, send)
        finally:
            if refused or not (path in _POSTS and scope["method"] == "POST"):
                self._telemetry.request(path if path in _KNOWN else "other", status, time.perf_counter() - started)

    def _inspect(self, scope: Any) -> None:
        """Refuse who may not come in, and what says that it is no JSON: BentoML knows more media types than we want."""
        if scope["path"] not in _OPEN:
            self._keys.require(scope["headers"])
        if scope["path"] in _POSTS and scope["method"] == "POST":
            for name, value in scope["headers"]:
                if name == b"content-type":
                    require_type(value, JSON)
