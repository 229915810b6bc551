"""Middleware around BentoML's application: authentication, media types, security headers and request metrics."""

from __future__ import annotations

import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.feedback import FORM_PATH
from serving.metrics import PREDICTION_PATHS
from serving.request_body import JSON, require_media_type
from serving.responses import reply_to_error, with_security_headers
from serving.routes import FEEDBACK_PATHS
from serving.worker import this_worker

# Probes disclose nothing, and the form is authenticated by its token.
_WITHOUT_KEY = frozenset({"/livez", "/readyz", "/healthz", FORM_PATH})
# JsonEndpoint counts POST requests to these.
_JSON_PATHS = frozenset({*PREDICTION_PATHS, *FEEDBACK_PATHS})
_PAGES = frozenset({"/", "/docs", "/docs.json", "/health", "/metrics", "/model", "/schema.json"})
_KNOWN_PATHS = _PAGES | _WITHOUT_KEY | _JSON_PATHS


class ServiceMiddleware:
    """ASGI middleware for all requests that reach BentoML's application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        worker = this_worker()
        self._keys = worker.keys
        self._metrics = worker.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path, status = time.perf_counter(), scope["path"], 500
        app, counted = self._app, not (path in _JSON_PATHS and scope["method"] == "POST")

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = with_security_headers(message.get("headers", ()))
            await send(message)

        try:
            self._check(scope)
        except HTTPException as error:
            reply = reply_to_error(error)
            self._metrics.count_error(reply.kind)
            app, counted = reply.as_response(), True
        try:
            await app(scope, receive, send_with_headers)
        finally:
            if counted:
                route = path if path in _KNOWN_PATHS else "other"
                self._metrics.count_request(route, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        """Check the API key, and the media type before BentoML does: it would accept a pickle."""
        if scope["path"] not in _WITHOUT_KEY:
            self._keys.authenticate(scope["headers"])
        if scope["path"] in _JSON_PATHS and scope["method"] == "POST":
            for name, value in scope["headers"]:
                if name == b"content-type":
                    require_media_type(value, JSON)
