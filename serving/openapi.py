"""The service's OpenAPI document, generated from the package that answers now."""

from __future__ import annotations

from typing import Any

from ratchet.errors import UnavailableError
from ratchet.inference.runtime import Runtime
from serving.feedback import FORM_PATH
from serving.feedback_schema import (
    contradiction_schema,
    feedback_batch_schema,
    feedback_results_schema,
    feedback_schema,
    form_schema,
    link_request_schema,
    link_schema,
    recorded_schema,
)
from serving.worker import this_worker

Json = dict[str, Any]

_NAMED: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
    "required": ["name", "version"],
}
_ERROR: Json = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "What is wrong, for a person."},
        "details": {
            "type": "array",
            "description": "Each field that is wrong.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
    },
    "required": ["error"],
}
_REASONS = {
    "401": "An API key is needed, and none that is known came along.",
    "403": "The link was never made here, or was changed.",
    "404": "The model that is served has made no such prediction.",
    "408": "The body did not come in time.",
    "409": "It contradicts what stands, and is not sent as a correction.",
    "410": "The link was good once.",
    "413": "The body is too large.",
    "415": "The body says that it is of another type.",
    "422": "The body is not what the model takes; `details` names each field.",
    "503": "No model is in Production yet, or predictions cannot be written down just now; `Retry-After` says when.",
}

_OF_A_BODY = ("401", "408", "413", "415", "422", "503")
_OF_A_PAGE = ("403", "404", "410", "503")


def record_schema() -> Json:
    """One record, as the model takes it."""
    runtime = _runtime()
    return runtime.reader.json_schema() if runtime else {"type": "object", "properties": {}, "title": "Record"}


def batch_schema() -> Json:
    """Many records."""
    runtime = _runtime()
    rows = {"type": "array", "items": record_schema()}
    return runtime.reader.batch_schema() if runtime else {"type": "object", "properties": {"rows": rows}}


def answer_schema() -> Json:
    """The answer to one record."""
    return _object(_said(), model=_NAMED)


def batch_answer_schema() -> Json:
    """The answer to many records, in their order."""
    return _object({"predictions": {"type": "array", "items": _object(_said())}}, model=_NAMED)


def explanation_schema() -> Json:
    """A prediction and each feature's contribution to it."""
    said = _said()
    del said["prediction_id"]
    number = {"type": "number"}
    runtime = _runtime()
    names = runtime.schema.feature_names if runtime else []
    contributions = {"type": "object", "properties": dict.fromkeys(names, number), "additionalProperties": number}
    return _object(
        said,
        output={**number, "description": "The predicted class's probability, or the predicted number."},
        base={**number, "description": "The mean output over the background rows."},
        contributions=contributions | {"description": "By feature; with base they add up to output."},
        method={"type": "string", "enum": ["exact", "sampled"]},
        model=_NAMED,
    )


def document() -> Json:
    """The whole document."""
    settings = this_worker().settings
    paths: dict[str, Json] = {
        "/predict": _post("Predict one record", record_schema(), answer_schema()),
        "/predict_batch": _post("Predict many records at once", batch_schema(), batch_answer_schema()),
        "/explain": _post("What each feature contributed to one prediction", record_schema(), explanation_schema()),
        **_feedback_paths(),
        "/model": _get("The version that answers: task, signature, lineage, metrics", ("401", "503")),
        "/health": _get("Status, version, workers, latency of the last minutes", ("401", "503")),
        "/metrics": _get("Prometheus metrics of all workers", ("401",), "text/plain"),
        "/livez": _get("Whether the process lives", (), "text/plain"),
        "/readyz": _get("Whether requests can be answered", ("503",), "text/plain"),
    }
    document: Json = {
        "openapi": "3.1.0",
        "info": {"title": f"Ratchet: {this_worker().model or 'no model yet'}", "version": _version()},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
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


def _runtime() -> Runtime | None:
    try:
        return this_worker().runtime
    except UnavailableError:
        return None


def _version() -> str:
    runtime = _runtime()
    return runtime.version if runtime else "none"


def _said() -> Json:
    """The fields of one prediction."""
    runtime = _runtime()
    labels = runtime.schema.labels if runtime else None
    number = {"type": "number"}
    if labels is None:
        return {"prediction_id": {"type": "string", "format": "uuid"}, "prediction": number}
    kind = "integer" if isinstance(labels[0], int) else "string"
    shares = {"type": "object", "additionalProperties": number, "description": "By class."}
    said = {"prediction_id": {"type": "string", "format": "uuid"}, "prediction": {"type": kind, "enum": list(labels)}}
    gives_probabilities = runtime is None or runtime.golden is None or runtime.golden.probabilities is not None
    return said | ({"probabilities": shares} if gives_probabilities else {})


def _object(properties: Json, **more: Json) -> Json:
    everything = {**properties, **more}
    required = [name for name in everything if name != "probabilities"]
    return {"type": "object", "properties": everything, "required": required}


def _feedback_paths() -> dict[str, Json]:
    runtime = _runtime()
    labels = runtime.schema.labels if runtime else None
    most = this_worker().settings.max_batch_rows
    one, many, link = feedback_schema(labels), feedback_batch_schema(labels, most), link_request_schema()
    recorded, unknown = recorded_schema(labels), (*_OF_A_BODY, "404")
    paths = {
        "/feedback": _post("Say what a prediction should have been", one, recorded, unknown),
        "/feedback_batch": _post("Say what many predictions should have been", many, feedback_results_schema()),
        "/feedback/links": _post("A link to a page on which a person says so", link, link_schema(), unknown),
        FORM_PATH: {**_get("The page behind such a link; records nothing", _OF_A_PAGE, "text/html"), **_form()},
    }
    responses = paths["/feedback"]["post"]["responses"]
    responses["201"] = {**responses["200"], "description": "The first answer for this prediction."}
    responses["409"] = {"description": _REASONS["409"], "content": _json(contradiction_schema(labels))}
    token = {"name": "token", "in": "query", "required": True, "schema": {"type": "string"}}
    paths[FORM_PATH]["get"]["parameters"] = [token]
    return paths


def _form() -> Json:
    content = {"application/x-www-form-urlencoded": {"schema": form_schema()}}
    refusals = (*_OF_A_PAGE, "408", "409", "413", "415", "422")
    sent = _get("Record what the page sends", refusals, "text/html")["get"]
    return {"post": {**sent, "requestBody": {"required": True, "content": content}}}


def _post(summary: str, body: Json, found: Json, refusals: tuple[str, ...] = _OF_A_BODY) -> Json:
    content = {"application/json": {"schema": body, **({"example": body["example"]} if "example" in body else {})}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": {"200": {"description": "The answer.", "content": _json(found)}, **_refusals(refusals)},
        }
    }


def _get(summary: str, refusals: tuple[str, ...], media_type: str = "application/json") -> Json:
    schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
    found = {"description": "The answer.", "content": {media_type: {"schema": schema}}}
    # Whoever sees a page sees its refusal as one too.
    pages = {"text/html": {"schema": {"type": "string"}}} if media_type == "text/html" else None
    return {"get": {"summary": summary, "responses": {"200": found, **_refusals(refusals, pages)}}}


def _refusals(statuses: tuple[str, ...], content: Json | None = None) -> Json:
    content = content or _json({"$ref": "#/components/schemas/Error"})
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
