"""The OpenAPI document of the service, generated for the model that is loaded."""

from __future__ import annotations

from typing import Any

from ratchet.inference.runtime import Runtime
from serving.feedback import FORM_PATH
from serving.schemas import body_schemas
from serving.worker import Worker, this_worker

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_DESCRIPTIONS = {
    200: "The request succeeded.",
    201: "The first feedback on this prediction was recorded.",
    401: "The API key is missing or wrong.",
    403: "The token of the link is not valid.",
    404: "The served model has not made this prediction.",
    408: "The body did not arrive in time.",
    409: "The feedback contradicts the answer that stands, and is not a correction.",
    410: "The link has expired.",
    413: "The body is too large.",
    415: "The content type is not supported.",
    422: "The body is not valid; `details` names each field.",
    503: "No model is loaded, or the store is not available; `Retry-After` gives the seconds to wait.",
}
_BODY_ERRORS = (401, 408, 413, 415, 422, 503)
_PAGE_ERRORS = (403, 404, 410, 503)
_EXAMPLE_ID = "01a1fcb8-6a25-715a-ad2f-2a367b0863ac"


def record_schema(runtime: Runtime | None) -> Json:
    """Return the JSON Schema of a record, with an example."""
    return runtime.reader.json_schema() if runtime else {"type": "object", "properties": {}, "title": "Record"}


def batch_schema(runtime: Runtime | None) -> Json:
    """Return the JSON Schema of a batch of records, with an example."""
    if runtime:
        return runtime.reader.batch_schema()
    return {"type": "object", "properties": {"rows": {"type": "array", "items": record_schema(None)}}}


def response_schema(worker: Worker, name: str) -> Json:
    """Return the JSON Schema of one of the bodies in ``serving.schemas``."""
    schemas = body_schemas(worker.loaded, worker.settings.max_batch_rows, "#/$defs/{model}")
    return {**schemas[name], "$defs": schemas}


def document() -> Json:
    """Return the OpenAPI document for the model that this process has loaded."""
    worker = this_worker()
    runtime = worker.loaded
    paths = _prediction_paths(runtime) | _feedback_paths(runtime) | _status_paths()
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Ratchet: {worker.model or 'no model yet'}",
            "version": runtime.version if runtime else "none",
        },
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": body_schemas(runtime, worker.settings.max_batch_rows, _SCHEMAS + "{model}"),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }
    if worker.settings.api_keys:
        document["security"] = [{"key": []}, {"bearer": []}]
        for path in ("/livez", "/readyz", FORM_PATH):
            for operation in paths[path].values():
                operation["security"] = []
    return document


def _prediction_paths(runtime: Runtime | None) -> dict[str, Json]:
    record, batch = record_schema(runtime), batch_schema(runtime)
    return {
        "/predict": _post("Predict one record", record, "Answer", example=record.get("example")),
        "/predict_batch": _post("Predict many records", batch, "BatchAnswer", example=batch.get("example")),
        "/explain": _post("Explain the prediction of one record", record, "Explanation", example=record.get("example")),
    }


def _feedback_paths(runtime: Runtime | None) -> dict[str, Json]:
    labels = runtime.schema.labels if runtime else None
    feedback = {"prediction_id": _EXAMPLE_ID, "target": labels[-1] if labels else 1.5}
    errors = (*_BODY_ERRORS, 404)
    one = _post("Record feedback on one prediction", _ref("Feedback"), "Recorded", errors, example=feedback)
    one["post"]["responses"] |= {"201": _response(201, "Recorded"), "409": _response(409, "Contradiction")}
    many = {"feedback": [feedback]}
    link = {"prediction_id": _EXAMPLE_ID}
    return {
        "/feedback": one,
        "/feedback_batch": _post(
            "Record feedback on many predictions", _ref("FeedbackBatch"), "FeedbackResults", example=many
        ),
        "/feedback/links": _post(
            "Create a link to the feedback form", _ref("LinkRequest"), "Link", errors, example=link
        ),
        FORM_PATH: _form_path(),
    }


def _form_path() -> Json:
    token = {"name": "token", "in": "query", "required": True, "schema": {"type": "string"}}
    fields = {"application/x-www-form-urlencoded": {"schema": _ref("FormFields")}}
    errors = (*_PAGE_ERRORS, 408, 409, 413, 415, 422)
    shown = _get("Show the feedback form; records nothing", _PAGE_ERRORS, "text/html")["get"]
    sent = _get("Record what the feedback form sends", errors, "text/html")["get"]
    return {
        "get": shown | {"parameters": [token]},
        "post": sent | {"requestBody": {"required": True, "content": fields}},
    }


def _status_paths() -> dict[str, Json]:
    return {
        "/model": _get("Version, task, signature, lineage and metrics of the served model", (401, 503)),
        "/health": _get("Status, version, workers, and latency of the last minutes", (401, 503)),
        "/metrics": _get("Prometheus metrics of all workers", (401,), "text/plain"),
        "/livez": _get("Whether the process lives", (), "text/plain"),
        "/readyz": _get("Whether a model is loaded", (503,), "text/plain"),
    }


def _post(
    summary: str, body: Json, response: str, errors: tuple[int, ...] = _BODY_ERRORS, *, example: Any = None
) -> Json:
    content = {"schema": body} | ({} if example is None else {"example": example})
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": {"200": _response(200, response), **_errors(errors)},
        }
    }


def _get(summary: str, errors: tuple[int, ...], media_type: str = "application/json") -> Json:
    schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
    content = {media_type: {"schema": schema}}
    responses = {"200": {"description": _DESCRIPTIONS[200], "content": content}, **_errors(errors)}
    if media_type == "text/html":  # the errors are pages too
        responses = {status: response | {"content": content} for status, response in responses.items()}
    return {"get": {"summary": summary, "responses": responses}}


def _errors(statuses: tuple[int, ...]) -> Json:
    return {str(status): _response(status, "ErrorBody") for status in statuses}


def _response(status: int, body: str) -> Json:
    return {"description": _DESCRIPTIONS[status], "content": {"application/json": {"schema": _ref(body)}}}


def _ref(name: str) -> Json:
    return {"$ref": _SCHEMAS + name}
