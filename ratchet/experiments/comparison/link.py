"""URLs in MLflow's pages: of a comparison, and of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from ratchet.settings import Settings

# The default of ``run.py ui mlflow``.
LOCAL_PAGES = "http://127.0.0.1:5000"


def compare_link(settings: Settings, experiment: str, run_ids: Iterable[str]) -> str:
    """Return the URL at which MLflow 3 compares runs.

    Its router builds ``#/compare-runs?runs=[…]&experiments=[…]`` with JSON lists (``getCompareRunPageRoute``). They
    are percent-encoded here, so that terminals and Markdown recognize the whole URL.
    """
    query = f"runs={_json(list(run_ids))}&experiments={_json([experiment])}&workflowType=machine_learning"
    return f"{pages_of(settings)}/#/compare-runs?{query}"


def run_link(settings: Settings, run_id: str) -> str:
    """Return the URL of a run, which MLflow's pages resolve without the experiment."""
    return f"{pages_of(settings)}/#/runs/{run_id}"


def pages_of(settings: Settings) -> str:
    """Return the URL of MLflow's pages, without user and password."""
    if not settings.tracking_uri.startswith(("http://", "https://")):
        return LOCAL_PAGES
    parts = urlsplit(settings.tracking_uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _json(values: list[str]) -> str:
    return quote(json.dumps(values, separators=(",", ":")), safe="")
