"""The feedback form behind a signed link.

The token of the link authenticates its bearer for one prediction. A GET request records nothing, since mail scanners
and chat previews open links too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from itsdangerous import BadSignature, SignatureExpired
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ratchet.errors import InputError, Problem
from ratchet.feedback.ground_truth import Feedback, label_from_text
from ratchet.feedback.table import ContradictionError, GonePredictionError, PredictionForReview, Recorded
from serving.feedback import served_model
from serving.json_endpoint import CLIENT_CLOSED_REQUEST
from serving.page_templates import render
from serving.request_body import FORM, read_body
from serving.responses import reply_to_error
from serving.worker import Worker

_MAX_FIELDS = 10
_MAX_SHOWN_CHARACTERS = 300
_TITLES = {
    403: "This link is not valid",
    404: "Prediction not found",
    410: "This link has expired",
    503: "Temporarily unavailable",
}


class FeedbackForm:
    """Shows the form and records what it sends."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def show(self, request: Request) -> Response:
        """Show the form of a prediction; records nothing."""
        return await self._page_or_error(self._form(request.query_params.get("token", "")))

    async def submit(self, request: Request) -> Response:
        """Record the answer that the form sends; it replaces the answer that the form showed, and no other."""
        return await self._page_or_error(self._record(request))

    async def _page_or_error(self, page: Awaitable[Response]) -> Response:
        try:
            return await page
        except ClientDisconnect:
            self._worker.metrics.count_error("client_left")
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:
            reply = reply_to_error(error)
            self._worker.metrics.count_error(reply.kind)
            status = 404 if isinstance(error, GonePredictionError) else reply.status
            title = _TITLES.get(status, "The answer was not recorded")
            return render(
                "page.html",
                {"title": title, "sentence": reply.body["error"], "root": "../"},
                reply.status,
                reply.headers,
            )

    async def _form(self, token: str, status: int = 200, problem: str | None = None) -> Response:
        prediction_id, found = await self._find(token)
        predicted, current = found.predicted, found.current
        chosen = predicted.prediction if current is None or current.target is None else current.target
        shown = None if current is None else "the prediction is wrong" if current.target is None else current.target
        values = {
            "token": token,
            "choices": None if predicted.labels is None else [str(label) for label in predicted.labels],
            "chosen": str(chosen),
            "features": [(name, str(value)[:_MAX_SHOWN_CHARACTERS]) for name, value in found.features.items()],
            "standing": shown,
            "revision": current.revision if current else 0,
            "changed": status == HTTPStatus.CONFLICT,
            "problem": problem,
        }
        return render("form.html", values | self._prediction(prediction_id, found), status)

    async def _record(self, request: Request) -> Response:
        settings = self._worker.settings
        limits = settings.max_body_bytes, settings.request_timeout
        fields = _parse_fields(await read_body(request.headers.raw, request.receive, *limits, (FORM,)))
        token = fields.get("token", "")
        prediction_id, found = await self._find(token)
        if "target" not in fields:
            raise InputError([Problem("target", "Field required")])
        try:
            target = label_from_text(fields["target"], found.predicted)
        except InputError as error:
            self._worker.metrics.count_error(reply_to_error(error).kind)
            return await self._form(token, HTTPStatus.UNPROCESSABLE_ENTITY, error.problems[0].message)
        feedback = Feedback(prediction_id, target, correction=True, expected_revision=_revision(fields), source="link")
        (result,) = await self._worker.feedback.record([feedback], served_model(self._worker))
        if isinstance(result, ContradictionError):
            self._worker.metrics.count_error(reply_to_error(result).kind)
            return await self._form(token, HTTPStatus.CONFLICT)
        if not isinstance(result, Recorded):
            raise result
        return render("thanks.html", {"standing": result.current.target} | self._prediction(prediction_id, found))

    async def _find(self, token: str) -> tuple[str, PredictionForReview]:
        try:
            prediction_id = self._worker.links.prediction_id(token)
        except SignatureExpired:
            raise HTTPException(410, "links are valid for a limited time: request a new one") from None
        except BadSignature:
            raise HTTPException(403, "it is incomplete or was changed: open it exactly as it was sent") from None
        return prediction_id, await self._worker.feedback.find(prediction_id, served_model(self._worker))

    def _prediction(self, prediction_id: str, found: PredictionForReview) -> dict[str, Any]:
        return {
            "title": "Was this prediction right?",
            "prediction_id": prediction_id,
            "model": found.predicted.model,
            "version": found.predicted.version,
            "prediction": str(found.predicted.prediction),
            "target": self._worker.runtime.schema.target,
        }


def _revision(fields: dict[str, str]) -> int:
    """Return the revision of the answer that the form showed; 0 for none."""
    text = fields.get("revision", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        got = repr(text[:_MAX_SHOWN_CHARACTERS])
        raise InputError([Problem("revision", f"got {got}, expected the number that the page contains")])
    return int(text)


def _parse_fields(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InputError([Problem("body", f"expected a form of at most {_MAX_FIELDS} fields")]) from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InputError([Problem("body", "a field is given more than once")])
    return fields
