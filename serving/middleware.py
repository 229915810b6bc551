"""Middleware around BentoML's application: authentication, media types, security headers and request metrics."""

from __future__ import annotations

import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.feedback import FORM_PATH
from serving.framework_errors import paths_of, reply_to_framework_error
from serving.media_types import BATCH
from serving.metrics import PREDICTION_PATHS
from serving.page_files import PAGE_FILES
from serving.request_body import JSON, require_media_type
from serving.responses import JsonResponse, reply_to_error, with_security_headers
from serving.routes import BATCH_PATH, FEEDBACK_PATHS
from serving.worker import this_worker

# Probes and files of pages disclose nothing, the form is authenticated by its token, and the pages for browsers ask
# for a key themselves.
_WITHOUT_KEY = frozenset({"/livez", "/readyz", "/healthz", FORM_PATH, "/", "/docs", *PAGE_FILES})
_SWAGGER_FILES = "/static_content/"
# JsonEndpoint counts POST requests to these.
_JSON_PATHS = frozenset({*PREDICTION_PATHS, *FEEDBACK_PATHS})
_PAGES = frozenset({"/docs.json", "/health", "/metrics", "/model", "/schema.json"})
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
        # A redirect would repeat the scheme and host of the request, which the client chooses.
        scope["app"].router.redirect_slashes = False
        started, path = time.perf_counter(), scope["path"]
        app, counted = self._app, not (path in _JSON_PATHS and scope["method"] == "POST")
        response = _Response(scope, receive, send)
        try:
            self._check(scope)
        except HTTPException as error:
            app, counted = self._reply_to(error), True
        try:
            try:
                await app(scope, receive, response.send)
            except Exception as error:
                if response.has_started:
                    raise
                await self._reply_to(error)(scope, receive, response.send)
        finally:
            if counted:
                route = path if path in _KNOWN_PATHS else "other"
                self._metrics.count_request(route, response.status, time.perf_counter() - started)

    def _reply_to(self, error: Exception) -> JsonResponse:
        reply = reply_to_error(error)
        self._metrics.count_error(reply.kind)
        return reply.as_response()

    def _check(self, scope: Scope) -> None:
        """Check the API key, and the media type before BentoML does: it would accept a pickle."""
        if scope["path"] not in _WITHOUT_KEY and not scope["path"].startswith(_SWAGGER_FILES):
            self._keys.authenticate(scope["headers"], scope.get("client"))
        if scope["path"] in _JSON_PATHS and scope["method"] == "POST":
            for name, value in scope["headers"]:
                if name == b"content-type":
                    require_media_type(value, *(BATCH if scope["path"] == BATCH_PATH else (JSON,)))


class _Response:
    """The messages of one response: adds the security headers, and replaces an error that is a text by JSON."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.status = 500
        self.has_started = False
        self._scope, self._receive, self._send = scope, receive, send
        self._is_replaced = False

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        if message["type"] == "http.response.start":
            self.status, self.has_started = message["status"], True
            headers = Headers(raw=message.get("headers", ()))
            if self.status >= 400 and headers.get("content-type", "").startswith("text/plain"):
                self._is_replaced = True
                paths = paths_of(self._scope["app"].routes)
                reply = reply_to_framework_error(self.status, headers, self._scope["path"], paths)
                await reply.as_response()(self._scope, self._receive, self._send)
                return
            message["headers"] = with_security_headers(message.get("headers", ()))
        if not self._is_replaced:
            await self._send(message)
