"""The OpenAPI document of the service, generated for the model that is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.feedback import FORM_PATH
from serving.media_types import ARROW
from serving.openapi_operations import GROUPS, OPERATIONS
from serving.schemas import body_schemas
from serving.worker import Worker

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_MOST_LABELS = 10
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
# Schemas of responses that are not described in detail.
_PLAIN = {"Model": "object", "Health": "object", "Page": "string", "Text": "string"}
# Bodies of batches: as rows, as columns, and as Arrow streams.
_ALTERNATIVES = {"Records": ("Records", "Columns"), "BatchAnswer": ("BatchAnswer", "ColumnAnswer")}
_MEDIA_TYPES = {"Page": "text/html", "Text": "text/plain", "FormFields": "application/x-www-form-urlencoded"}


def document(worker: Worker) -> Json:
    """Return the OpenAPI document for the model that a worker has loaded."""
    runtime, settings = worker.loaded, worker.settings
    schemas = body_schemas(runtime, settings.max_batch_rows, _SCHEMAS + "{model}")
    paths = _paths(worker, schemas)
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": f"{worker.model}: prediction service" if worker.model else "Prediction service",
            "version": runtime.version if runtime else "none",
            "description": _description(worker),
        },
        "tags": [{"name": name, "description": text} for name, text in GROUPS.items()],
        "servers": [{"url": ".", "description": "this service"}],
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


def _paths(worker: Worker, schemas: Json) -> dict[str, Json]:
    """Return the operations by path and method."""
    runtime, settings = worker.loaded, worker.settings
    facts = {
        "model": worker.model or "the model",
        "target": runtime.schema.target if runtime else "the target",
        "rows": f"{settings.max_batch_rows:,}",
        "size": readable_size(settings.max_body_bytes),
    }
    paths: dict[str, Json] = {}
    for one in OPERATIONS:
        operation: Json = {
            "tags": [one.group],
            "operationId": one.name,
            "summary": one.summary,
            "description": one.description.format_map(facts),
            "responses": _responses(one.responses, one.errors),
        }
        if one.body:
            operation["requestBody"] = {"required": True, "content": _request_content(one.body, schemas)}
        paths.setdefault(one.path, {})[one.method] = operation
    paths[FORM_PATH]["get"]["parameters"] = [
        {"name": "token", "in": "query", "required": True, "schema": {"type": "string"}}
    ]
    return paths


def _request_content(body: str, schemas: Json) -> Json:
    content = _content(body)
    example = {key: schemas[body][key] for key in ("example",) if key in schemas[body]}
    content[_media_type(body)] |= example
    if body in _ALTERNATIVES:  # a reference has the example of its schema
        content[_media_type(body)]["schema"] |= example
    return content


def _description(worker: Worker) -> str:
    """Return the text at the top of the documentation, in Markdown."""
    runtime, settings = worker.loaded, worker.settings
    if runtime is None:
        return "No version is in Production yet: predictions are refused with 503 until one is."
    labels = runtime.schema.labels
    shown = [f"`{label}`" for label in (labels or ())[:_MOST_LABELS]]
    classes = f" ({', '.join(shown)}{', …' if len(labels or ()) > _MOST_LABELS else ''})" if shown else ""
    lines = [
        f"**{runtime.model}**, version {runtime.version}, predicts `{runtime.schema.target}`{classes} from"
        f" {len(runtime.schema.features)} features. [State of the model, and a form that predicts](.)",
        f"Limits: {readable_size(settings.max_body_bytes)} a body, {settings.max_batch_rows:,} rows a batch,"
        f" {settings.request_timeout:g} s a request. A number outside the range seen in training is accepted; a value"
        " that breaks a rule of the config is refused. Errors are JSON: `error` is the reason, `details` names each"
        " invalid field.",
    ]
    if settings.api_keys:
        lines.append("Requests need an API key, as `X-API-Key` or `Authorization: Bearer`.")
    return "\n\n".join(lines)


def readable_size(size: int) -> str:
    """Return a number of bytes in MiB, KiB or bytes, such as ``4 MiB``."""
    for unit, name in ((2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def _responses(bodies: Mapping[int, str], errors: tuple[int, ...]) -> Json:
    # The errors of a page are pages, all others are JSON.
    error = "Page" if bodies[200] == "Page" else "ErrorBody"
    names = {status: {name} for status, name in {**bodies, **dict.fromkeys(errors, error)}.items()}
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
