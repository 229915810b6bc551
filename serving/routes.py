"""The routes beside BentoML's own: what is served, how it is, the metrics, the documentation, and feedback."""

from __future__ import annotations

import asyncio
import functools

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ratchet.errors import UnavailableError
from serving import openapi
from serving.endpoints import describe
from serving.feedback import FeedbackEndpoints
from serving.form import FeedbackForm
from serving.replies import Reply, refuse
from serving.telemetry import exposition
from serving.worker import this_worker

_PAGE_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>Ratchet: API</title>
<link rel="stylesheet" href="static_content/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script src="static_content/swagger-ui-standalone-preset.js"></script>
<script src="static_content/swagger-initializer.js"></script>
</body>
</html>
"""


async def model(_: Request) -> Response:
    """The version that answers: signature, lineage, metrics."""
    try:
        return _json(describe(this_worker().runtime))
    except UnavailableError as error:
        return respond(refuse(error)[0])


async def health(_: Request) -> Response:
    """How the service is."""
    found = this_worker().health()
    return _json(found, 503 if found["status"] == "starting" else 200)


async def metrics(_: Request) -> Response:
    """Prometheus metrics of all workers."""
    worker = this_worker()
    worker.telemetry.move()
    text = await asyncio.to_thread(exposition, worker.loop_metrics, worker.home_metrics)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def docs_json(_: Request) -> Response:
    """OpenAPI of the model that answers now."""
    return _json(openapi.document())


async def docs(_: Request) -> Response:
    """Swagger UI."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _PAGE_POLICY})


async def feedback(request: Request) -> Response:
    """Record what somebody says of a prediction."""
    return respond(await _feedback().feedback(request.headers.raw, request.receive))


async def feedback_batch(request: Request) -> Response:
    """Record what is said of many predictions."""
    return respond(await _feedback().feedback_batch(request.headers.raw, request.receive))


async def feedback_links(request: Request) -> Response:
    """Make a link to the page on which a person answers for a prediction."""
    return respond(await _feedback().links(request.headers.raw, request.receive))


async def feedback_form(request: Request) -> Response:
    """The page on which a person answers for a prediction, and what is sent from it."""
    form = _form()
    return await (form.take(request) if request.method == "POST" else form.show(request))


async def index(_: Request) -> Response:
    """To the documentation."""
    return RedirectResponse("docs")


def respond(reply: Reply | None) -> Response:
    """A reply as a response of Starlette's."""
    if reply is None:  # the client left
        return Response(status_code=499)
    response = Response(reply.body, reply.status)
    response.raw_headers = list(reply.headers)
    return response


routes = Starlette(
    routes=[
        Route("/model", model, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/docs.json", docs_json, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
        Route("/feedback", feedback, methods=["POST"]),
        Route("/feedback_batch", feedback_batch, methods=["POST"]),
        Route("/feedback/links", feedback_links, methods=["POST"]),
        Route("/feedback/form", feedback_form, methods=["GET", "POST"]),
        Route("/", index, methods=["GET"]),
    ]
)


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


@functools.cache
def _feedback() -> FeedbackEndpoints:
    return FeedbackEndpoints(this_worker())


@functools.cache
def _form() -> FeedbackForm:
    return FeedbackForm(this_worker())
