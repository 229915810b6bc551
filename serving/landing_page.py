"""The landing page: the state of the model for a person, and a form that predicts."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import Response

from ratchet.errors import RatchetError
from ratchet.experiments.comparison.link import LOCAL_PAGES, pages_of
from ratchet.inference.runtime import Runtime
from ratchet.model.tasks import task_of
from ratchet.settings import Settings
from ratchet.store.timestamps import iso_utc
from serving.page_templates import render
from serving.production_summary import ProductionSummary, read_summary
from serving.record_form import controls_of
from serving.worker import NO_MODEL, Worker

logger = logging.getLogger(__name__)

_LINEAGE = {"Data version": "data_version", "Commit": "git_commit", "Config": "config_hash"}
# Hosts that a browser outside a network of containers cannot resolve: a name without a dot.
_SERVICE_NAME = re.compile(r"[a-z0-9_-]+", re.IGNORECASE)


async def landing_page(worker: Worker) -> Response:
    """Return the landing page of the version that a worker serves."""
    runtime, health = worker.loaded, worker.health()
    if runtime is None:
        no_model = {"title": worker.model or "Prediction service", "sentence": NO_MODEL}
        return render("page.html", no_model, 503, {"retry-after": "1"})
    summary = None if worker.settings.model_path else await asyncio.to_thread(_summary, worker, runtime)
    lineage = runtime.details.get("lineage", {})
    primary, others = _holdout(runtime.details.get("metrics", {}))
    values: dict[str, Any] = {
        "title": f"{runtime.model}: predictions",
        "model": runtime.model,
        "version": runtime.version,
        "target": runtime.schema.target,
        "labels": runtime.schema.labels,
        "task": task_of(runtime.schema).name.replace("_", " "),
        "health": health,
        "is_file": worker.settings.model_path is not None,
        "summary": summary,
        "since": summary.since if summary and summary.since else worker.since,
        "primary": primary,
        "metrics": others,
        "lineage": {name: lineage[key][:12] for name, key in _LINEAGE.items() if key in lineage},
        "controls": controls_of(runtime.schema.features, runtime.reader.example()),
        "needs_key": bool(worker.settings.api_keys),
        "mlflow": None if worker.settings.model_path else _mlflow_page(worker.settings, runtime),
        "is_local_mlflow": pages_of(worker.settings) == LOCAL_PAGES,
        "iso": iso_utc,
        "number": _shown,
    }
    return render("landing.html", values, scripts=True)


def _summary(worker: Worker, runtime: Runtime) -> ProductionSummary | None:
    """Return what the store says about the version; None while it cannot be read."""
    try:
        return read_summary(worker.store(), runtime.model, runtime.version)
    except RatchetError as error:
        logger.warning("the landing page is shown without quality, drift and promotions: %s", error)
        return None


def _holdout(metrics: dict[str, float]) -> tuple[tuple[str, float, float, float] | None, list[tuple[str, float]]]:
    """Return the metric that has an interval, with its interval, and the other metrics."""
    primary = next((name for name in metrics if {f"{name}_low", f"{name}_high"} <= metrics.keys()), None)
    hidden = {primary, f"{primary}_low", f"{primary}_high"} if primary else set()
    others = [(_words(name), value) for name, value in metrics.items() if name not in hidden]
    if primary is None:
        return None, others
    return (_words(primary), metrics[primary], metrics[f"{primary}_low"], metrics[f"{primary}_high"]), others


def _shown(value: float) -> str:
    """Return a figure with about three significant digits."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _mlflow_page(settings: Settings, runtime: Runtime) -> str:
    """Return the address of the version's page in MLflow, as a browser on this machine reaches it."""
    pages = pages_of(settings)
    host, port = urlsplit(pages).hostname or "", urlsplit(pages).port
    if host != "localhost" and _SERVICE_NAME.fullmatch(host):
        pages = f"http://localhost{f':{port}' if port else ''}"
    return f"{pages}/#/models/{quote(runtime.model, safe='')}/versions/{quote(runtime.version, safe='')}"
