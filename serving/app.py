"""The ASGI application of ``python run.py serve``: BentoML's application behind a hot path.

POST requests to /predict and /feedback bypass BentoML's middleware, which costs several times as much as the rest of
the request (ADR 11). The same endpoints serve both ways.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from starlette import datastructures
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.json_endpoint import JsonEndpoint
from serving.responses import reply_to_error, with_security_headers
from serving.worker import Worker

# In seconds. Python's default of 5 ms is longer than a request with its transaction.
_SWITCH_INTERVAL = 0.0005


class HotPath:
    """ASGI application that serves POST requests to the paths of ``endpoints``, and passes all others to BentoML's."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, JsonEndpoint], worker: Worker) -> None:
        self._app = app
        self._endpoints = endpoints
        self._keys = worker.keys
        self._metrics = worker.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            self._keys.authenticate(scope["headers"])
        except HTTPException as error:
            await self._refuse(scope["path"], error)(scope, receive, send)
        else:
            await endpoint(scope, receive, send)

    def _refuse(self, path: str, error: HTTPException) -> Response:
        reply = reply_to_error(error)
        self._metrics.count_error(reply.kind)
        # Without a time: many of these would hide that the other requests are slow.
        self._metrics.count_request(path, reply.status, None)
        return reply.as_response()


class SecureCORSMiddleware(CORSMiddleware):
    """CORS middleware whose preflight responses carry the security headers."""

    def preflight_response(self, request_headers: datastructures.Headers) -> Response:
        """Return the response to a preflight request."""
        response = super().preflight_response(request_headers)
        response.raw_headers = with_security_headers(response.raw_headers)
        return response


def create() -> ASGIApp:
    """Create the application of one worker process."""
    from serving.routes import json_endpoints
    from serving.service import Ratchet
    from serving.worker import this_worker

    worker = this_worker()
    # Without this, the thread that writes predictions waits for the interpreter's lock and delays the other workers.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    endpoints = json_endpoints()
    hot = {path: endpoints[path] for path in ("/predict", "/feedback")}
    app: ASGIApp = HotPath(Ratchet.to_asgi(), hot, worker)
    if worker.settings.cors_origins:
        origins = list(worker.settings.cors_origins)
        app = SecureCORSMiddleware(app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    return app
