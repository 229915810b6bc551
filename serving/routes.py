"""The routes of the service besides BentoML's own."""

from __future__ import annotations

import asyncio
import functools

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ratchet.errors import UnavailableError
from serving.feedback import FORM_PATH, FeedbackHandlers
from serving.feedback_form import FeedbackForm
from serving.json_endpoint import BatchEndpoint, JsonEndpoint
from serving.landing_page import landing_page
from serving.metrics import exposition
from serving.openapi import document
from serving.page_access import page_or_key_form
from serving.page_files import PAGE_FILES, send_page_file
from serving.page_templates import render
from serving.predictions import PredictionHandlers, describe_model
from serving.responses import JsonResponse, reply_to_error
from serving.worker import this_worker

BATCH_PATH = "/predict_batch"
FEEDBACK_PATHS = ("/feedback", "/feedback_batch", "/feedback/links")

_DOCS_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


@functools.cache
def json_endpoints() -> dict[str, JsonEndpoint]:
    """Return the endpoints of this process that take JSON, by path."""
    worker = this_worker()
    predictions, feedback = PredictionHandlers(worker), FeedbackHandlers(worker)
    handlers = {
        "/predict": predictions.predict,
        "/explain": predictions.explain,
        "/feedback": feedback.record,
        "/feedback_batch": feedback.record_batch,
        "/feedback/links": feedback.create_link,
    }
    without_task = {"/predict": predictions.begin_predict}
    endpoints = {
        path: JsonEndpoint(worker, path, handler, without_task.get(path)) for path, handler in handlers.items()
    }
    return {**endpoints, BATCH_PATH: BatchEndpoint(worker, BATCH_PATH, predictions.predict_batch)}


async def take_feedback(request: Request) -> Response:
    """Respond to feedback that is sent as JSON."""
    return await json_endpoints()[request.scope["path"]].respond(request.headers.raw, request.receive)


async def show_model(_: Request) -> Response:
    """Describe the served model."""
    try:
        return JsonResponse(describe_model(this_worker().runtime))
    except UnavailableError as error:
        return reply_to_error(error).as_response()


async def show_health(_: Request) -> Response:
    """Report the state of the service."""
    health = this_worker().health()
    return JsonResponse(health, 503 if health["status"] == "starting" else 200)


async def show_metrics(_: Request) -> Response:
    """Export the metrics of all workers to Prometheus."""
    worker = this_worker()
    worker.metrics.flush()
    text = await asyncio.to_thread(exposition, worker.loop_metrics, worker.disk_metrics)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def show_openapi(_: Request) -> Response:
    """Return the OpenAPI document of the served model."""
    return JsonResponse(document(this_worker()))


async def show_docs(request: Request) -> Response:
    """Return the page of Swagger UI."""
    worker = this_worker()

    async def page() -> Response:
        values = {"title": f"{worker.model}: API" if worker.model else "API"}
        return render("docs.html", values, headers={"content-security-policy": _DOCS_POLICY})

    return await page_or_key_form(worker, request, page)


async def show_landing(request: Request) -> Response:
    """Return the landing page."""
    worker = this_worker()
    return await page_or_key_form(worker, request, functools.partial(landing_page, worker))


async def feedback_form(request: Request) -> Response:
    """Show the feedback form, or record what it sends."""
    form = FeedbackForm(this_worker())
    return await (form.submit(request) if request.method == "POST" else form.show(request))


routes = Starlette(
    routes=[
        Route("/model", show_model),
        Route("/health", show_health),
        Route("/metrics", show_metrics),
        Route("/docs.json", show_openapi),
        Route("/docs", show_docs, methods=["GET", "POST"]),
        *(Route(path, take_feedback, methods=["POST"]) for path in FEEDBACK_PATHS),
        Route(FORM_PATH, feedback_form, methods=["GET", "POST"]),
        *(Route(path, send_page_file) for path in PAGE_FILES),
        Route("/", show_landing, methods=["GET", "POST"]),
    ]
)
