"""Access to the pages in a browser, which sends no key by itself: a page asks for one, and sends it as a form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ratchet.errors import InputError, Problem
from serving.json_endpoint import CLIENT_CLOSED_REQUEST
from serving.page_templates import render
from serving.request_body import FORM, read_body
from serving.responses import reply_to_error
from serving.worker import Worker

_LONGEST_FORM = 4096
_MOST_FIELDS = 10
Page = Callable[[], Awaitable[Response]]


async def page_or_key_form(worker: Worker, request: Request, page: Page) -> Response:
    """Return a page to a request with a valid key, in a header or a form, and else the page that asks for a key.

    A valid key is never part of a page or of an address.
    """
    headers = list(request.headers.raw)
    try:
        if request.method == "POST":
            headers.append((b"x-api-key", await _sent_key(worker, request)))
        worker.keys.authenticate(headers, request.scope.get("client"))
    except ClientDisconnect:
        worker.metrics.count_error("client_left")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except (HTTPException, InputError) as error:
        reply = reply_to_error(error)
        worker.metrics.count_error(reply.kind)
        if reply.status != HTTPStatus.UNAUTHORIZED:
            return reply.as_response()
        values = {"title": "Prediction service", "was_refused": request.method == "POST"}
        return render("key.html", values, reply.status, reply.headers, scripts=True)
    return await page()


async def _sent_key(worker: Worker, request: Request) -> bytes:
    """Return the key of a form; without one, an empty text.

    Raises
    ------
    HTTPException, InputError: the body is no form, or too large.
    ClientDisconnect: the client closed the connection.
    """
    limits = min(_LONGEST_FORM, worker.settings.max_body_bytes), worker.settings.request_timeout
    body = await read_body(request.headers.raw, request.receive, *limits, (FORM,))
    try:
        fields = parse_qs(body.decode("latin-1"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InputError([Problem("body", f"expected a form of at most {_MOST_FIELDS} fields")]) from None
    return fields.get("key", [""])[-1].encode()
