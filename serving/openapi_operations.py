"""The operations of the OpenAPI document: what each path takes, does and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving.feedback import FORM_PATH

PREDICTIONS, FEEDBACK, MODEL, MONITORING = "Predictions", "Feedback", "Model", "Monitoring"
# The groups in the order in which the documentation shows them.
GROUPS = {
    PREDICTIONS: "Predict, and explain a prediction. A prediction is stored before it is answered.",
    FEEDBACK: "Report the true value of a prediction, which live quality and retraining are computed from.",
    MODEL: "The version in Production.",
    MONITORING: "State of the service for people, Prometheus and orchestrators.",
}
_BODY_ERRORS = (401, 408, 413, 415, 422, 503)
_PAGE_ERRORS = (403, 404, 410, 503)
_RECORDED = {200: "Recorded", 201: "Recorded", 409: "Contradiction"}


@dataclass(frozen=True)
class Operation:
    """A method of a path.

    Attributes
    ----------
    name: unique; the name of the method in generated clients.
    group: one of ``GROUPS``.
    description: Markdown, with the placeholders ``{model}``, ``{target}``, ``{rows}`` and ``{size}``.
    responses: the schema of the body by status.
    errors: statuses of further errors.
    body: the schema of the request body; None for none.
    """

    path: str
    method: str
    name: str
    group: str
    summary: str
    description: str
    responses: Mapping[int, str]
    errors: tuple[int, ...]
    body: str | None = None


OPERATIONS = (
    Operation(
        "/predict",
        "post",
        "predict",
        PREDICTIONS,
        "Predict one record",
        "Predicts `{target}` for one record with the version of **{model}** in Production. Keep `prediction_id`:"
        " feedback on the prediction is sent with it.",
        {200: "Answer"},
        _BODY_ERRORS,
        "Record",
    ),
    Operation(
        "/predict_batch",
        "post",
        "predict_batch",
        PREDICTIONS,
        "Predict many records",
        "Predicts `{target}` for up to {rows} records, all with one version. The body is JSON rows, JSON columns, or an"
        " Arrow IPC stream of at most {size}. One invalid row refuses the whole batch.",
        {200: "BatchAnswer"},
        _BODY_ERRORS,
        "Records",
    ),
    Operation(
        "/explain",
        "post",
        "explain",
        PREDICTIONS,
        "Explain the prediction of one record",
        "Computes how much each feature contributes to the prediction (Shapley values). The contributions and `base`"
        " add up to `output`. The prediction is not stored and has no id.",
        {200: "Explanation"},
        _BODY_ERRORS,
        "Record",
    ),
    Operation(
        "/feedback",
        "post",
        "record_feedback",
        FEEDBACK,
        "Record feedback on one prediction",
        "Records the true `{target}` of a prediction, or whether the prediction was right. Feedback that is sent again"
        " changes nothing; feedback that contradicts an earlier one needs `correction`.",
        _RECORDED,
        (*_BODY_ERRORS, 404),
        "Feedback",
    ),
    Operation(
        "/feedback_batch",
        "post",
        "record_feedback_batch",
        FEEDBACK,
        "Record feedback on many predictions",
        "Records up to {rows} feedbacks, each independently of the others: the result of an item has its own `code`.",
        {200: "FeedbackResults"},
        _BODY_ERRORS,
        "FeedbackBatch",
    ),
    Operation(
        "/feedback/links",
        "post",
        "create_feedback_link",
        FEEDBACK,
        "Create a link to the feedback form",
        "Returns a signed link to a page on which a person confirms or corrects one prediction, without an API key.",
        {200: "Link"},
        (*_BODY_ERRORS, 404),
        "LinkRequest",
    ),
    Operation(
        FORM_PATH,
        "get",
        "show_feedback_form",
        FEEDBACK,
        "Show the feedback form",
        "The page behind a signed link. Showing it records nothing.",
        {200: "Page"},
        _PAGE_ERRORS,
    ),
    Operation(
        FORM_PATH,
        "post",
        "submit_feedback_form",
        FEEDBACK,
        "Record the feedback form",
        "Records the answer of the page in place of the answer that the page has shown.",
        {200: "Page", 409: "Page"},
        (*_PAGE_ERRORS, *_BODY_ERRORS[1:5]),
        "FormFields",
    ),
    Operation(
        "/model",
        "get",
        "describe_model",
        MODEL,
        "Describe the model",
        "Version, task, signature, lineage and holdout metrics of **{model}**.",
        {200: "Model"},
        (401, 503),
    ),
    Operation(
        "/health",
        "get",
        "check_health",
        MONITORING,
        "Report the state of the service",
        "Status, served version, workers, and the latency of the last five minutes.",
        {200: "Health", 503: "Health"},
        (401,),
    ),
    Operation(
        "/metrics",
        "get",
        "export_metrics",
        MONITORING,
        "Export metrics to Prometheus",
        "Metrics of all workers in the text format of Prometheus: requests, predictions, live quality and drift.",
        {200: "Text"},
        (401,),
    ),
    Operation(
        "/livez",
        "get",
        "check_liveness",
        MONITORING,
        "Liveness probe",
        "200 while the process is alive. It needs no key.",
        {200: "Text"},
        (),
    ),
    Operation(
        "/readyz",
        "get",
        "check_readiness",
        MONITORING,
        "Readiness probe",
        "200 while a model is loaded. It needs no key.",
        {200: "Text"},
        (503,),
    ),
)
