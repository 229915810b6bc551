"""What the service's OpenAPI document says of feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratchet.feedback.requests import LONGEST_ID

Json = dict[str, Any]

_EXAMPLE_ID = "01a1fcb8-6a25-715a-ad2f-2a367b0863ac"
_ID: Json = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": "^[^\\x00]*$"}
_MODEL: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
    "required": ["name", "version"],
}


def feedback_schema(labels: Sequence[str | int] | None) -> Json:
    """What somebody says of a prediction.

    Parameters
    ----------
    labels: the model's classes; None for a regression.
    """
    correction = "Whether it may take the place of an answer that it contradicts."
    return {
        "type": "object",
        "title": "Feedback",
        "properties": {
            "prediction_id": _ID,
            "target": {**_target(labels), "description": "What would have been right."},
            "correct": {"type": "boolean", "description": "Whether the prediction is right; agrees with target."},
            "correction": {"type": "boolean", "default": False, "description": correction},
        },
        "required": ["prediction_id"],
        "anyOf": [{"required": ["target"]}, {"required": ["correct"]}],
        "additionalProperties": False,
        "example": {"prediction_id": _EXAMPLE_ID, "target": labels[-1] if labels else 1.5},
    }


def recorded_schema(labels: Sequence[str | int] | None) -> Json:
    """What stands for a prediction, and how it came to stand."""
    properties: Json = {
        "prediction_id": {"type": "string"},
        "target": {"anyOf": [{"type": _target(labels)["type"]}, {"type": "null"}]},
        "correct": {"type": ["boolean", "null"]},
        "revision": {"type": "integer", "minimum": 1},
        "model": {**_MODEL, "description": "The version that predicted."},
        "status": {"type": "string", "enum": ["recorded", "repeated", "completed", "corrected"]},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def contradiction_schema(labels: Sequence[str | int] | None) -> Json:
    """What stands and is contradicted."""
    standing: Json = dict(recorded_schema(labels)["properties"])
    del standing["model"], standing["status"]
    standing |= {"source": {"enum": ["user", "link", "batch"]}, "created_at": {"type": "string", "format": "date-time"}}
    return {
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "What is wrong, for a person."},
            "standing": {"type": "object", "properties": standing, "required": list(standing)},
        },
        "required": ["error", "standing"],
    }


def feedback_batch_schema(labels: Sequence[str | int] | None, most: int) -> Json:
    """What is said of many predictions; an item that is none has a result of its own, so that any is allowed here."""
    items = {"description": "As for /feedback."}
    return {
        "type": "object",
        "title": "Many feedbacks",
        "properties": {"feedback": {"type": "array", "minItems": 1, "maxItems": most, "items": items}},
        "required": ["feedback"],
        "additionalProperties": False,
        "example": {"feedback": [feedback_schema(labels)["example"]]},
    }


def feedback_results_schema() -> Json:
    """What came of each item, in their order, and how many came to what."""
    code = {"type": "integer", "description": "The status that /feedback would have answered with."}
    result = {"type": "object", "properties": {"code": code}, "required": ["code"]}
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    return {
        "type": "object",
        "properties": {"results": {"type": "array", "items": result}, "counts": counts},
        "required": ["results", "counts"],
    }


def link_request_schema() -> Json:
    """Which prediction a link is asked for."""
    return {
        "type": "object",
        "title": "Link",
        "properties": {"prediction_id": _ID},
        "required": ["prediction_id"],
        "additionalProperties": False,
        "example": {"prediction_id": _EXAMPLE_ID},
    }


def link_schema() -> Json:
    """A link, and until when it is good."""
    properties = {"url": {"type": "string"}, "expires_at": {"type": "string", "format": "date-time"}}
    return {"type": "object", "properties": properties, "required": list(properties)}


def form_schema() -> Json:
    """What the page sends."""
    text: Json = {"type": "string"}
    seen = "The revision of the answer that the page has shown, 0 for none; no other is replaced."
    revision = {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0, "description": seen}
    properties = {"token": text, "target": text, "revision": revision}
    return {"type": "object", "properties": properties, "required": ["token", "target"]}


def _target(labels: Sequence[str | int] | None) -> Json:
    if labels is None:
        return {"type": "number"}
    return {"type": "integer" if isinstance(labels[0], int) else "string", "enum": list(labels)}
