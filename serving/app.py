"""The application that ``python run.py serve`` runs: BentoML's, with the hot routes answered in front of it.

POST /predict and POST /feedback do not pass through BentoML's middleware, which costs several times what the answer
does (docs/decisions). They call the very functions that are called behind it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette import datastructures
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from serving.exchange import Exchange, Headers
from serving.keys import Keys
from serving.replies import RefusalError, Reply, send_reply, with_security
from serving.requests import Receive

# Seconds; Python's own 5 ms is longer than a request and its transaction together.
_SWITCH = 0.0005


Endpoint = Callable[[Headers, Receive], Awaitable[Reply | None]]


class HotPath:
    """ASGI application: a POST to one of some paths is answered here, everything else behind.

    Parameters
    ----------
    app: BentoML's application.
    hot: what answers, by path.
    keys: who may ask.
    exchange: refuses who may not.
    """

    def __init__(self, app: Any, hot: Mapping[str, Endpoint], keys: Keys, exchange: Exchange) -> None:
        self._app = app
        self._hot = hot
        self._keys = keys
        self._exchange = exchange

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        endpoint = self._hot.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        reply: Reply | None
        try:
            self._keys.require(headers)
        except RefusalError as error:
            reply = self._exchange.refuse(scope["path"], error)
        else:
            reply = await endpoint(headers, receive)
        if reply is not None:
            await send_reply(reply, send)


class Cors(CORSMiddleware):
    """Starlette's, whose own answers carry the security headers too."""

    def preflight_response(self, request_headers: datastructures.Headers) -> Response:
        """The answer to a browser that asks whether it may ask."""
        response = super().preflight_response(request_headers)
        response.raw_headers = with_security(response.raw_headers)
        return response


def create() -> Any:
    """Make the application of one worker process."""
    from serving.endpoints import Endpoints
    from serving.feedback import FeedbackEndpoints
    from serving.service import Ratchet
    from serving.worker import this_worker

    worker = this_worker()
    # The thread that writes predictions holds up other workers while it waits for the interpreter's lock.
    sys.setswitchinterval(_SWITCH)
    hot = {"/predict": Endpoints(worker).predict, "/feedback": FeedbackEndpoints(worker).feedback}
    app: Any = HotPath(Ratchet.to_asgi(), hot, Keys(worker.settings), Exchange(worker))
    if worker.settings.cors_origins:
        origins = list(worker.settings.cors_origins)
        app = Cors(app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    return app
