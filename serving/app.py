"""The ASGI application of ``python run.py serve``: BentoML's application, with CORS if it is configured.

``serving.http_protocol`` answers most POST requests to /predict and /feedback before they get here.
"""

from __future__ import annotations

import sys
from typing import Any

from starlette import datastructures
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from serving.responses import with_security_headers

# In seconds. Python's default of 5 ms is longer than a request with its transaction.
_SWITCH_INTERVAL = 0.0005


class SecureCORSMiddleware(CORSMiddleware):
    """CORS middleware whose preflight responses carry the security headers."""

    def preflight_response(self, request_headers: datastructures.Headers) -> Response:
        """Return the response to a preflight request."""
        response = super().preflight_response(request_headers)
        response.raw_headers = with_security_headers(response.raw_headers)
        return response


def _without_timeout(app: Any) -> ASGIApp:
    """Remove the time-out of BentoML, since the endpoints have their own.

    It keeps a timer for each request, with the request's objects, until its time has passed.
    """
    from bentoml._internal.server.http.traffic import TimeoutMiddleware

    app.user_middleware = [each for each in app.user_middleware if each.cls is not TimeoutMiddleware]
    without: ASGIApp = app
    return without


def create() -> ASGIApp:
    """Create the application of one worker process."""
    from serving.service import Ratchet
    from serving.worker import this_worker

    worker = this_worker()
    worker.mover = None  # a process of its own moves the rows of the journal
    # Without this, the thread that writes predictions waits for the interpreter's lock and delays the other workers.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    app: ASGIApp = _without_timeout(Ratchet.to_asgi())
    if worker.settings.cors_origins:
        origins = list(worker.settings.cors_origins)
        app = SecureCORSMiddleware(app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    return app
