"""How the loop stands: labels, the newest windows of drift and quality, and the runs of continuous training."""

from __future__ import annotations

from typing import Any

from ratchet.loop.training_runs import TrainingRun, TrainingRuns
from ratchet.monitoring.production_rows import count_labels
from ratchet.monitoring.windows import drift_windows, quality_windows
from ratchet.store.database import Store
from ratchet.store.timestamps import iso_utc

# Labels are counted no further than this.
_MOST_LABELS = 10_000


def loop_status(store: Store, model: str) -> dict[str, Any]:
    """What is known of a model's production and of what was made of it; None for what there is not yet.

    Returns
    -------
    ``labels_waiting`` (since the newest run), ``drift`` and ``quality`` (the newest windows), ``run`` (the newest run).

    Raises
    ------
    StateError: the store cannot be read.
    """
    run = TrainingRuns(store, model).last()
    drift, quality = drift_windows(store, model, None, 1), quality_windows(store, model, None, 1)
    return {
        "labels_waiting": count_labels(store, model, run.watermark if run else 0, _MOST_LABELS),
        "drift": _window(drift[0], "share", "detected") if drift else None,
        "quality": _window(quality[0], "metric", "value", "low", "high", "estimate", "dropped") if quality else None,
        "run": None if run is None else _run(run),
    }


def _window(row: dict[str, Any], *names: str) -> dict[str, Any]:
    when = iso_utc(row["created_at"])
    return {"version": row["version"], "when": when, "rows": row["n_rows"]} | {name: row[name] for name in names}


def _run(run: TrainingRun) -> dict[str, Any]:
    names = ("id", "watermark", "state", "reason", "outcome", "version", "attempts")
    return {name: getattr(run, name) for name in names} | {"when": run.when}
