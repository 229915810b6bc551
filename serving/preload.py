"""Imports of the process that the workers are forked from, without garbage collections, which take a quarter of them.

Importing this module imports them. It must not start threads or open connections.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

from ratchet.settings import Settings, load_settings

# The last ones are imported by BentoML, when it makes the application, and by run.py, which multiprocessing runs again
# in every process.
_EVERY_WORKER = (
    "serving.app",
    "serving.service",
    "onnxruntime",
    "serving.graceful_server",
    "serving.http_protocol",
    "uvloop",
    "_bentoml_impl.client",
    "_bentoml_impl.server.app",
    "bentoml._internal.server.http.traffic",
    "opentelemetry.instrumentation.asgi",
    "typer",
)
_WITH_REGISTRY = ("ratchet.registry.polled_pointer", "ratchet.inference.package_cache", "filelock")
_WITH_SERVER = ("mlflow",)  # the client, by which the registry of a server is read
# MLflow imports them when it opens a store without a server.
_WITH_STORE = (
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.tracing.processor.otel",
    "alembic.command",
)


def modules(settings: Settings) -> Iterator[str]:
    """Return the modules that every worker imports."""
    yield from _EVERY_WORKER
    if settings.model_path is None:
        yield from _WITH_REGISTRY
        yield from _WITH_SERVER if settings.tracking_uri.startswith("http") else _WITH_STORE


gc.disable()
for name in modules(load_settings()):
    with suppress(ImportError):  # raised again in the worker, which logs it
        import_module(name)
gc.freeze()  # no collection in a worker has to visit the objects of the imports
gc.enable()
