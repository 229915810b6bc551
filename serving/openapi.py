"""The OpenAPI document of the service, generated for the model that is loaded."""

from __future__ import annotations

from typing import Any

from serving.feedback import FORM_PATH
from serving.media_types import ARROW
from serving.schemas import body_schemas
from serving.worker import Worker

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_DESCRIPTIONS = {
    200: "The request succeeded.",
    201: "The first feedback on this prediction was recorded.",
    401: "The API key is missing or wrong.",
    403: "The token of the link is not valid.",
    404: "The served model has not made this prediction.",
    405: "The path takes another method, which `Allow` names.",
    408: "The headers or the body did not arrive in time.",
    409: "The feedback contradicts the current feedback, and is not a correction.",
    410: "The link has expired.",
    413: "The body is too large.",
    415: "The content type is not supported, or the body is compressed.",
    422: "The body is not valid; `details` names each field.",
    431: "The headers are too large or too many.",
    503: "No model is loaded, the store is not available, or there are too many connections; `Retry-After` gives the"
    " seconds to wait.",
}
# Of every operation, and JSON also where the other errors are pages.
_COMMON_ERRORS = (405, 408, 431, 503)
_BODY_ERRORS = (401, 408, 413, 415, 422, 503)
_PAGE_ERRORS = (403, 404, 410, 503)
_RECORDED = {200: "Recorded", 201: "Recorded", 409: "Contradiction"}
# Path, method, summary, body, bodies of responses by status, and statuses of further errors.
_OPERATIONS: tuple[tuple[str, str, str, str | None, dict[int, str], tuple[int, ...]], ...] = (
    ("/predict", "post", "Predict one record", "Record", {200: "Answer"}, _BODY_ERRORS),
    ("/predict_batch", "post", "Predict many records", "Records", {200: "BatchAnswer"}, _BODY_ERRORS),
    ("/explain", "post", "Explain the prediction of one record", "Record", {200: "Explanation"}, _BODY_ERRORS),
    ("/feedback", "post", "Record feedback on one prediction", "Feedback", _RECORDED, (*_BODY_ERRORS, 404)),
    ("/feedback_batch", "post", "Record many feedbacks", "FeedbackBatch", {200: "FeedbackResults"}, _BODY_ERRORS),
    ("/feedback/links", "post", "Create a link to the form", "LinkRequest", {200: "Link"}, (*_BODY_ERRORS, 404)),
    (FORM_PATH, "get", "Show the feedback form; records nothing", None, {200: "Page"}, _PAGE_ERRORS),
    (
        FORM_PATH,
        "post",
        "Record the form",
        "FormFields",
        {200: "Page", 409: "Page"},
        (*_PAGE_ERRORS, *_BODY_ERRORS[1:5]),
    ),
    ("/model", "get", "Version, signature, lineage and metrics of the model", None, {200: "Model"}, (401, 503)),
    (
        "/health",
        "get",
        "Status, workers, and latency of the last minutes",
        None,
        {200: "Health", 503: "Health"},
        (401,),
    ),
    ("/metrics", "get", "Prometheus metrics of all workers", None, {200: "Text"}, (401,)),
    ("/livez", "get", "Whether the process is alive", None, {200: "Text"}, ()),
    ("/readyz", "get", "Whether a model is loaded", None, {200: "Text"}, (503,)),
)
# Schemas of responses that are not described in detail.
_PLAIN = {"Model": "object", "Health": "object", "Page": "string", "Text": "string"}
# Bodies of batches: as rows, as columns, and as Arrow streams.
_ALTERNATIVES = {"Records": ("Records", "Columns"), "BatchAnswer": ("BatchAnswer", "ColumnAnswer")}
_MEDIA_TYPES = {"Page": "text/html", "Text": "text/plain", "FormFields": "application/x-www-form-urlencoded"}


def document(worker: Worker) -> Json:
    """Return the OpenAPI document for the model that a worker has loaded."""
    runtime, settings = worker.loaded, worker.settings
    schemas = body_schemas(runtime, settings.max_batch_rows, _SCHEMAS + "{model}")
    paths: dict[str, Json] = {}
    for path, method, summary, body, responses, errors in _OPERATIONS:
        operation: Json = {"summary": summary, "responses": _responses(responses, errors)}
        if body:
            content = _content(body)
            example = {key: schemas[body][key] for key in ("example",) if key in schemas[body]}
            content[_media_type(body)] |= example
            if body in _ALTERNATIVES:  # a reference has the example of its schema
                content[_media_type(body)]["schema"] |= example
            operation["requestBody"] = {"required": True, "content": content}
        paths.setdefault(path, {})[method] = operation
    paths[FORM_PATH]["get"]["parameters"] = [
        {"name": "token", "in": "query", "required": True, "schema": {"type": "string"}}
    ]
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Ratchet: {worker.model or 'no model yet'}",
            "version": runtime.version if runtime else "none",
        },
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }
    if settings.api_keys:
        document["security"] = [{"key": []}, {"bearer": []}]
        for path in ("/livez", "/readyz", FORM_PATH):
            for operation in paths[path].values():
                operation["security"] = []
    return document


def _responses(bodies: dict[int, str], errors: tuple[int, ...]) -> Json:
    # The errors of a page are pages, all others are JSON.
    error = "Page" if bodies[200] == "Page" else "ErrorBody"
    names = {status: {name} for status, name in (bodies | dict.fromkeys(errors, error)).items()}
    for status in _COMMON_ERRORS:
        names.setdefault(status, set()).add("ErrorBody")
    return {
        str(status): {
            "description": _DESCRIPTIONS[status],
            "content": {kind: content for name in sorted(names[status]) for kind, content in _content(name).items()},
        }
        for status in sorted(names)
    }


def _content(body: str) -> Json:
    """Return the media types of a body, each with its schema."""
    if body not in _ALTERNATIVES:
        return {_media_type(body): {"schema": _schema(body)}}
    stream = {"type": "string", "format": "binary", "description": "An Arrow IPC stream."}
    return {
        _media_type(body): {"schema": {"anyOf": [_schema(name) for name in _ALTERNATIVES[body]]}},
        ARROW.decode(): {"schema": stream},
    }


def _schema(name: str) -> Json:
    return {"type": _PLAIN[name]} if name in _PLAIN else {"$ref": _SCHEMAS + name}


def _media_type(name: str) -> str:
    return _MEDIA_TYPES.get(name, "application/json")
