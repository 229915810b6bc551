"""The routes that take no body: what is served, how it is, the metrics and the documentation."""

from __future__ import annotations

import asyncio

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ratchet.errors import UnavailableError
from serving import openapi
from serving.endpoints import describe
from serving.replies import refuse
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
        reply, _kind = refuse(error)
        return Response(reply.body, reply.status, dict(_text(reply.headers)))


async def health(_: Request) -> Response:
    """How the service is."""
    found = this_worker().health()
    return _json(found, 503 if found["status"] == "starting" else 200)


async def metrics(_: Request) -> Response:
    """Prometheus metrics of all workers."""
    this_worker().telemetry.move()
    text = await asyncio.to_thread(exposition)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def docs_json(_: Request) -> Response:
    """OpenAPI of the model that answers now."""
    return _json(openapi.document())


async def docs(_: Request) -> Response:
    """Swagger UI."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _PAGE_POLICY})


async def index(_: Request) -> Response:
    """To the documentation."""
    return RedirectResponse("docs")


routes = Starlette(
    routes=[
        Route("/model", model, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/docs.json", docs_json, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
        Route("/", index, methods=["GET"]),
    ]
)


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _text(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
