"""The BentoML service: what ``bentoml serve serving.service:Ratchet`` runs, and what the hot path stands before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import bentoml
from bentoml import IODescriptor
from starlette.requests import Request

from serving import openapi
from serving.endpoints import Endpoints
from serving.gate import Gate
from serving.routes import respond, routes
from serving.worker import this_worker


class _Body(IODescriptor):
    """A request as it came: reading it is the endpoints' own work, so that both paths read alike."""

    media_type: ClassVar[str | None] = "application/json"
    request: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> _Body:
        """Keep the request."""
        body: _Body = cls.model_construct(request=request)
        return body


class _Answer(IODescriptor):
    """A reply as the endpoints made it."""

    media_type: ClassVar[str | None] = "application/json"


def _as(base: type[IODescriptor], name: str, schema: Callable[[], dict[str, Any]]) -> type[IODescriptor]:
    """A kind of body whose JSON Schema is that of the package that answers now."""
    members = {"model_json_schema": classmethod(lambda cls, *args, **kwargs: schema()), "__module__": __name__}
    return type(name, (base,), members)


RECORD = _as(_Body, "Record", openapi.record_schema)
RECORDS = _as(_Body, "Records", openapi.batch_schema)
ANSWER = _as(_Answer, "Answer", openapi.answer_schema)
ANSWERS = _as(_Answer, "Answers", openapi.batch_answer_schema)
EXPLANATION = _as(_Answer, "Explanation", openapi.explanation_schema)


@bentoml.service(
    name="ratchet",
    workers=2,
    # Above every RATCHET_REQUEST_TIMEOUT that makes sense: the endpoints keep the time themselves.
    traffic={"timeout": 3600},
    http={"host": "127.0.0.1", "port": 8000},
    # Ours are the metrics and the log: BentoML's own take most of a request's time (docs/decisions).
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Ratchet:
    """Predictions from the version in Production, each written down before it is answered."""

    def __init__(self) -> None:
        self._worker = this_worker()
        self._endpoints = Endpoints(self._worker)

    @bentoml.on_startup
    async def start(self) -> None:
        """Begin to follow the pointer."""
        await self._worker.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Write what is waiting."""
        await self._worker.stop()

    async def __is_ready__(self) -> bool:
        return self._worker.is_ready

    @bentoml.api(input_spec=RECORD, output_spec=ANSWER)
    async def predict(self, request: Any) -> Any:
        """Predict one record."""
        return respond(await self._endpoints.predict(request.headers.raw, request.receive))

    @bentoml.api(input_spec=RECORDS, output_spec=ANSWERS)
    async def predict_batch(self, request: Any) -> Any:
        """Predict many records at once."""
        return respond(await self._endpoints.predict_batch(request.headers.raw, request.receive))

    @bentoml.api(input_spec=RECORD, output_spec=EXPLANATION)
    async def explain(self, request: Any) -> Any:
        """Say what each feature contributed to one prediction."""
        return respond(await self._endpoints.explain(request.headers.raw, request.receive))


Ratchet.mount_asgi_app(routes, path="/")
Ratchet.add_asgi_middleware(Gate)
