"""The address of the same comparison in MLflow's own pages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from ratchet.settings import Settings

# Where ``run.py ui mlflow`` listens when nobody says otherwise.
LOCAL_PAGES = "http://127.0.0.1:5000"


def compare_link(settings: Settings, experiment: str, run_ids: Iterable[str]) -> str:
    """The address at which MLflow 3 compares some runs.

    Its router builds ``#/compare-runs?runs=[…]&experiments=[…]`` with JSON lists (``getCompareRunPageRoute``); they
    are percent-encoded here, so that terminals and Markdown take the address as one word.

    Parameters
    ----------
    settings: where MLflow is; runs that are in a database are looked at through ``run.py ui mlflow``.
    experiment: the id of the experiment.
    run_ids: at least one.
    """
    query = f"runs={_json(list(run_ids))}&experiments={_json([experiment])}"
    return f"{pages_of(settings)}/#/compare-runs?{query}"


def pages_of(settings: Settings) -> str:
    """Where MLflow's pages are, without user and password."""
    if not settings.tracking_uri.startswith(("http://", "https://")):
        return LOCAL_PAGES
    parts = urlsplit(settings.tracking_uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _json(values: list[str]) -> str:
    return quote(json.dumps(values, separators=(",", ":")), safe="")
