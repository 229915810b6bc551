"""The application that ``python run.py serve`` runs: BentoML's, with one hot route answered in front of it.

POST /predict does not pass through BentoML's middleware, which costs several times what the answer does
(docs/decisions). It calls the very function that BentoML's own API calls.
"""

from __future__ import annotations

import sys
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from serving.keys import Keys
from serving.replies import RefusalError, refuse, send_reply, with_security

# Seconds; Python's own 5 ms is longer than a request and its transaction together.
_SWITCH = 0.0005


class HotPath:
    """ASGI application: POST /predict is answered here, everything else behind.

    Parameters
    ----------
    app: BentoML's application.
    endpoints: what answers.
    keys: who may ask.
    """

    def __init__(self, app: Any, endpoints: Any, keys: Keys) -> None:
        self._app = app
        self._endpoints = endpoints
        self._keys = keys

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        try:
            self._keys.require(headers)
        except RefusalError as error:
            reply, kind = refuse(error)
            self._endpoints.refused("/predict", reply.status, kind)
        else:
            reply = await self._endpoints.predict(headers, receive)
        if reply is not None:
            await send_reply(reply, send)


class Cors(CORSMiddleware):
    """Starlette's, whose own answers carry the security headers too."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether it may ask."""
        response = super().preflight_response(request_headers)
        response.raw_headers = with_security(response.raw_headers)
        return response


def create() -> Any:
    """Make the application of one worker process."""
    from serving.endpoints import Endpoints
    from serving.service import Ratchet
    from serving.worker import this_worker

    worker = this_worker()
    # The thread that writes predictions holds up other workers while it waits for the interpreter's lock.
    sys.setswitchinterval(_SWITCH)
    app: Any = HotPath(Ratchet.to_asgi(), Endpoints(worker), Keys(worker.settings))
    if worker.settings.cors_origins:
        origins = list(worker.settings.cors_origins)
        app = Cors(app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    return app
