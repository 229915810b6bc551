"""The BentoML service, which ``bentoml serve serving.service:Ratchet`` runs and ``serving.app`` extends."""

from __future__ import annotations

from typing import Any, ClassVar

import bentoml
from bentoml import IODescriptor
from starlette.requests import Request
from starlette.responses import Response

from ratchet.settings import load_settings
from serving.middleware import ServiceMiddleware
from serving.routes import json_endpoints, routes
from serving.schemas import body_schemas
from serving.worker import this_worker


class _RequestBody(IODescriptor):
    """An unread request: the endpoints read the body themselves, here and on the hot path."""

    media_type: ClassVar[str | None] = "application/json"
    request: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> _RequestBody:
        """Keep the request."""
        body: _RequestBody = cls.model_construct(request=request)
        return body


class _ResponseBody(IODescriptor):
    """A response that an endpoint has made."""

    media_type: ClassVar[str | None] = "application/json"


def _body_class(base: type[IODescriptor], name: str) -> type[IODescriptor]:
    """Return a body class whose JSON Schema depends on the model that is loaded."""

    def schema(cls: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        worker = this_worker()
        schemas = body_schemas(worker.loaded, worker.settings.max_batch_rows)
        return schemas[name] if base is _RequestBody else {**schemas[name], "$defs": schemas}

    return type(name, (base,), {"model_json_schema": classmethod(schema), "__module__": __name__})


RECORD, RECORDS = (_body_class(_RequestBody, name) for name in ("Record", "Records"))
ANSWER, ANSWERS, EXPLANATION = (_body_class(_ResponseBody, name) for name in ("Answer", "BatchAnswer", "Explanation"))


@bentoml.service(
    name="ratchet",
    workers=2,
    # The endpoints enforce the request timeout themselves. BentoML keeps the objects of a request for this time.
    traffic={"timeout": load_settings().request_timeout + 5},
    http={"host": "127.0.0.1", "port": 8000},
    # BentoML's metrics and access log take most of the time of a request, and the service has its own (ADR 11).
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Ratchet:
    """Predictions of the version in Production; each prediction is stored before the response is sent."""

    def __init__(self) -> None:
        self._worker = this_worker()
        self._endpoints = json_endpoints()

    @bentoml.on_startup
    async def start(self) -> None:
        """Start the worker."""
        await self._worker.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Store what is queued, and stop the worker."""
        await self._worker.stop()

    async def __is_ready__(self) -> bool:
        return self._worker.is_ready

    @bentoml.api(input_spec=RECORD, output_spec=ANSWER)
    async def predict(self, request: Any) -> Any:
        """Predict one record."""
        return await self._respond("/predict", request)

    @bentoml.api(input_spec=RECORDS, output_spec=ANSWERS)
    async def predict_batch(self, request: Any) -> Any:
        """Predict many records."""
        return await self._respond("/predict_batch", request)

    @bentoml.api(input_spec=RECORD, output_spec=EXPLANATION)
    async def explain(self, request: Any) -> Any:
        """Explain the prediction of one record."""
        return await self._respond("/explain", request)

    async def _respond(self, path: str, request: Request) -> Response:
        return await self._endpoints[path].respond(request.headers.raw, request.receive)


Ratchet.mount_asgi_app(routes, path="/")
Ratchet.add_asgi_middleware(ServiceMiddleware)
