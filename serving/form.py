"""The page behind a signed link, on which a person says what a prediction should have been.

The link's token is its key, and is for one prediction. To open the page records nothing, since mail scanners and chat
previews do so too; to send it does.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Awaitable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from ratchet.errors import InputError, Problem
from ratchet.feedback.signed_links import ExpiredLinkError, LinkError, Links
from ratchet.feedback.table import Case, ContradictionError, Recorded
from ratchet.feedback.truth import Feedback, label_from_text
from serving.feedback import served_by
from serving.replies import RefusalError, refusal
from serving.requests import FORM, ClientLeftError, read_body
from serving.worker import Worker

_PAGES = Path(__file__).parent / "pages"
_MOST_FIELDS = 10
# Of a text that was asked, so much is shown.
_LONGEST = 300
_TITLES = {403: "This link is not valid", 404: "Nothing to answer", 410: "This link has expired", 503: "Not just now"}


class FeedbackForm:
    """The page and what is sent from it.

    Parameters
    ----------
    worker: the process's worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._links = Links(worker.settings)

    async def show(self, request: Request) -> Response:
        """What was asked and predicted, with a choice; nothing is recorded."""
        return await self._told(self._show(request.query_params.get("token", "")))

    async def take(self, request: Request) -> Response:
        """Record what a person has chosen; it takes the place of what the page has shown, and of nothing else."""
        return await self._told(self._take(request))

    async def _told(self, page: Awaitable[Response]) -> Response:
        """A page, or one line on why there is none."""
        try:
            return await page
        except ClientLeftError:
            self._worker.telemetry.error("client_left")
            return Response(status_code=499)
        except Exception as error:
            refused = refusal(error)
            self._worker.telemetry.error(refused.kind)
            title = _TITLES.get(refused.status, "This could not be recorded")
            values = {"title": title, "sentence": refused.value["error"]}
            return _page("page.html", values, refused.status, refused.headers)

    async def _show(self, token: str, status: int = 200) -> Response:
        prediction_id, case = await self._case(token)
        predicted, standing = case.predicted, case.standing
        chosen = predicted.prediction if standing is None or standing.target is None else standing.target
        said = None if standing is None else "the prediction is wrong" if standing.target is None else standing.target
        values = {
            "token": token,
            "choices": None if predicted.labels is None else [str(label) for label in predicted.labels],
            "chosen": str(chosen),
            "features": [(name, str(value)[:_LONGEST]) for name, value in case.features.items()],
            "standing": said,
            "revision": standing.revision if standing else 0,
            "changed": status == HTTPStatus.CONFLICT,
        }
        return _page("form.html", values | self._about(prediction_id, case), status)

    async def _take(self, request: Request) -> Response:
        settings = self._worker.settings
        limits = settings.max_body_bytes, settings.request_timeout
        fields = _read_form(await read_body(request.headers.raw, request.receive, *limits, FORM))
        token = fields.get("token", "")
        prediction_id, case = await self._case(token)
        if "target" not in fields:
            raise InputError([Problem("target", "Field required")])
        target = label_from_text(fields["target"], case.predicted)
        said = Feedback(prediction_id, target, correction=True, seen=_revision(fields), source="link")
        (result,) = await self._worker.desk.record([said], served_by(self._worker))
        if isinstance(result, ContradictionError):
            self._worker.telemetry.error(refusal(result).kind)
            return await self._show(token, HTTPStatus.CONFLICT)
        if not isinstance(result, Recorded):
            raise result
        return _page("thanks.html", {"standing": result.standing.target} | self._about(prediction_id, case))

    async def _case(self, token: str) -> tuple[str, Case]:
        prediction_id = self._prediction_id(token)
        return prediction_id, await self._worker.desk.find(prediction_id, served_by(self._worker))

    def _prediction_id(self, token: str) -> str:
        try:
            return self._links.prediction_id(token)
        except ExpiredLinkError:
            raise RefusalError(410, "links are good for a while only: ask for a new one") from None
        except LinkError:
            raise RefusalError(403, "it was changed on its way, or is cut off: open it just as it was sent") from None

    def _about(self, prediction_id: str, case: Case) -> dict[str, Any]:
        return {
            "title": "Was this prediction right?",
            "prediction_id": prediction_id,
            "model": case.predicted.model,
            "version": case.predicted.version,
            "prediction": str(case.predicted.prediction),
            "target": self._worker.runtime.schema.target,
        }


def _revision(fields: dict[str, str]) -> int:
    """The answer that the page has shown; 0 for none."""
    text = fields.get("revision", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError([Problem("revision", f"got {text[:_LONGEST]!r}, expected the number that the page had")])
    return int(text)


def _read_form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InputError([Problem("body", f"a form of at most {_MOST_FIELDS} fields is expected")]) from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InputError([Problem("body", "a field is given more than once")])
    return fields


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGES), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )


@functools.cache
def _policy() -> str:
    """Lets the style sheet in and nothing else."""
    style = _templates().get_template("style.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    style_source = f"style-src 'sha256-{digest}'"
    return f"default-src 'none'; {style_source}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def _page(
    template: str, values: dict[str, Any], status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Response:
    content = _templates().get_template(template).render(values)
    response = Response(content, status, {"content-security-policy": _policy()}, "text/html")
    response.raw_headers.extend(headers)
    return response
