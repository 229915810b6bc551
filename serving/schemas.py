"""Request and response bodies of the service, and their JSON Schemas for the model that is loaded.

The handlers return these typed dictionaries. Request bodies are validated by ``ratchet.model.record_schema`` and
``ratchet.feedback.requests``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from ratchet.feedback.ground_truth import Label, Source, Status
from ratchet.feedback.requests import LONGEST_ID
from ratchet.inference.runtime import Runtime
from ratchet.model.record_schema import LARGEST

Schema = dict[str, Any]
Schemas = dict[str, Schema]

# Classes whose probabilities the documentation names; more of them would hide the rest of an answer.
_MOST_NAMED_CLASSES = 20
_EXAMPLE_ID = "01a1fcb8-6a25-715a-ad2f-2a367b0863ac"
_ID = r"^[0-9a-f-]{36}(#[0-9]{5})?$"
_closed = with_config(ConfigDict(extra="forbid"))
_GivenId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]*$")]
_Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_Probabilities = Annotated[dict[str, float], Field(description="By class.")]


class ModelVersion(TypedDict):
    """The model version that made the prediction."""

    name: str
    version: str


class Prediction(TypedDict):
    """A prediction and its id."""

    prediction_id: Annotated[
        str, Field(pattern=_ID, description="A UUID; for a row of a batch, that of the batch, # and the row's number.")
    ]
    prediction: Label
    probabilities: NotRequired[_Probabilities]
    label_wanted: NotRequired[
        Annotated[Literal[True], Field(description="Send the label of this prediction: it is in the audit sample.")]
    ]


class Answer(Prediction):
    """The prediction for one record."""

    model: ModelVersion


class BatchAnswer(TypedDict):
    """The predictions for many records, in their order."""

    predictions: list[Prediction]
    model: ModelVersion


class ColumnAnswer(TypedDict):
    """The predictions for many records that were sent as columns, in their order."""

    batch_id: Annotated[str, Field(description="Row i has the prediction id batch_id#i, with i as five digits.")]
    count: int
    predictions: list[Label]
    probabilities: NotRequired[Annotated[dict[str, list[float]], Field(description="By class.")]]
    label_wanted: NotRequired[Annotated[list[int], Field(description="Rows in the audit sample: send their labels.")]]
    model: ModelVersion


class Explanation(TypedDict):
    """A prediction and the contribution of each feature to it."""

    prediction: Label
    probabilities: NotRequired[_Probabilities]
    output: Annotated[float, Field(description="The probability of the predicted class, or the predicted number.")]
    base: Annotated[float, Field(description="The mean output over the background rows.")]
    contributions: Annotated[dict[str, float], Field(description="By feature; their sum plus base is output.")]
    method: Literal["exact", "sampled"]
    model: ModelVersion


@with_config(
    ConfigDict(extra="forbid", json_schema_extra={"anyOf": [{"required": ["target"]}, {"required": ["correct"]}]})
)
class Feedback(TypedDict):
    """Feedback on a prediction; target and correct have to agree."""

    prediction_id: _GivenId
    target: NotRequired[Label]
    correct: NotRequired[Annotated[bool, Field(description="Whether the prediction is right.")]]
    correction: NotRequired[Annotated[bool, Field(description="Whether to replace an answer that it contradicts.")]]


@_closed
class FeedbackBatch(TypedDict):
    """Feedback on many predictions; an invalid item has its own result and does not affect the others."""

    feedback: Annotated[list[Any], Field(min_length=1, description="Items as for /feedback.")]


@_closed
class LinkRequest(TypedDict):
    """The prediction to create a link for."""

    prediction_id: _GivenId


class Link(TypedDict):
    """A link to the feedback form."""

    url: str
    expires_at: _Time


class FormFields(TypedDict):
    """The fields that the feedback form sends; only the revision that the page showed is replaced, 0 for none."""

    token: str
    target: str
    revision: NotRequired[Annotated[int, Field(ge=0, le=999_999_999)]]


class _StoredAnswer(TypedDict):
    prediction_id: str
    target: Label | None
    correct: bool | None
    revision: Annotated[int, Field(ge=1)]


class Recorded(_StoredAnswer):
    """The current feedback of a prediction, and how the request changed it."""

    model: ModelVersion
    status: Status


class Standing(_StoredAnswer):
    """The current feedback of a prediction."""

    source: Source
    created_at: _Time


class Detail(TypedDict):
    """A field that is wrong."""

    field: str
    message: str


class ErrorBody(TypedDict):
    """The reason why a request was refused, and each field that is wrong."""

    error: str
    details: NotRequired[list[Detail]]


class Contradiction(ErrorBody):
    """Feedback that contradicts the current feedback, and is not a correction."""

    standing: Standing


class ItemResult(TypedDict):
    """The result of an item of a batch: the body that /feedback responds with, and its status as code."""

    code: int


class FeedbackResults(TypedDict):
    """The result of each item in their order, and the number of items by outcome."""

    results: list[ItemResult]
    counts: dict[str, int]


_BODIES: tuple[Any, ...] = (
    *(
        Answer,
        BatchAnswer,
        ColumnAnswer,
        Explanation,
        Feedback,
        FeedbackBatch,
        FeedbackResults,
        LinkRequest,
        Link,
        FormFields,
    ),
    *(Recorded, Contradiction, ErrorBody),
)


def body_schemas(runtime: Runtime | None, max_batch_rows: int, ref_template: str = "#/$defs/{model}") -> Schemas:
    """Return the JSON Schemas of all bodies by name, with the labels and features of a model.

    Parameters
    ----------
    runtime: the model; None while none is loaded.
    max_batch_rows: the longest batch of feedback.
    ref_template: the reference to a schema, which contains ``{model}``.
    """
    adapters: list[Any] = [(body.__name__, "validation", TypeAdapter(body)) for body in _BODIES]
    schemas: Schemas = TypeAdapter.json_schemas(adapters, ref_template=ref_template)[1]["$defs"]
    schemas["FeedbackBatch"]["properties"]["feedback"]["maxItems"] = max_batch_rows
    _set_labels_and_features(schemas, runtime)
    return schemas | {name: _with_single_precision(schema) for name, schema in _record_schemas(runtime).items()}


def _with_single_precision(schema: Any) -> Any:
    """Return a schema with ``format: float`` in place of the limits of single precision, which no person reads."""
    if isinstance(schema, list):
        return [_with_single_precision(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    limits = {"minimum": -LARGEST, "maximum": LARGEST}
    kept = {name: _with_single_precision(part) for name, part in schema.items() if limits.get(name) != part}
    return kept if len(kept) == len(schema) else kept | {"format": "float"}


def _set_labels_and_features(schemas: Schemas, runtime: Runtime | None) -> None:
    properties = {name: schema["properties"] for name, schema in schemas.items()}
    labels = list(runtime.schema.labels or ()) if runtime else []
    label: Schema = {"type": "number"}
    if labels:
        label = {"type": "integer" if isinstance(labels[0], int) else "string", "enum": labels}
    gives_probabilities = labels and runtime and (runtime.golden is None or runtime.golden.probabilities is not None)
    for name in ("Prediction", "Answer", "Explanation"):
        properties[name]["prediction"] = label
        if not gives_probabilities:
            del properties[name]["probabilities"]
        elif len(labels) <= _MOST_NAMED_CLASSES:
            by_class = {str(label): {"type": "number"} for label in labels}
            properties[name]["probabilities"] |= {"properties": by_class, "additionalProperties": False}
    properties["ColumnAnswer"]["predictions"]["items"] = label
    if not gives_probabilities:
        del properties["ColumnAnswer"]["probabilities"]
    for name in ("Recorded", "Standing"):
        properties[name]["target"] = {"anyOf": [{"type": label["type"]}, {"type": "null"}]}
    properties["Feedback"]["target"] = label | {"description": "The true class or number."}
    features = runtime.schema.feature_names if runtime else []
    properties["Explanation"]["contributions"]["properties"] = {name: {"type": "number"} for name in features}
    feedback = {"prediction_id": _EXAMPLE_ID, "target": labels[-1] if labels else 1.5}
    schemas["Feedback"]["example"] = feedback
    schemas["FeedbackBatch"]["example"] = {"feedback": [feedback]}
    schemas["LinkRequest"]["example"] = {"prediction_id": _EXAMPLE_ID}


def _record_schemas(runtime: Runtime | None) -> Schemas:
    if runtime:
        return {"Record": runtime.reader.json_schema(), "Records": runtime.reader.batch_schema()} | {
            "Columns": runtime.batch_reader.json_schema()
        }
    record: Schema = {"type": "object", "properties": {}, "title": "Record"}
    rows: Schema = {"rows": {"type": "array", "items": record}}
    columns: Schema = {"columns": {"type": "object"}}
    return {
        "Record": record,
        "Records": {"type": "object", "properties": rows},
        "Columns": {"type": "object", "properties": columns},
    }
