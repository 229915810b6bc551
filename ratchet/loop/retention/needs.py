"""The rows of a model that are still needed, whatever their age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ratchet.loop.heartbeat import last_beat
from ratchet.loop.training_runs import TrainingRuns
from ratchet.monitoring.windows import drift_windows, last_judged_prediction, quality_windows
from ratchet.registry.promotion_ledger import Ledger
from ratchet.store.clock import newest_valid
from ratchet.store.database import Store
from ratchet.store.predictions import first_id
from ratchet.store.tables import feedback, predictions

# Seconds since its last check within which a watcher will judge the rows that wait.
_WATCHED_FOR = 7 * 86400.0
# The newest rows and labels that wait for a watcher; where more wait, it has been turned off.
MOST_WAITING = 1_000_000


@dataclass(frozen=True)
class Needs:
    """What is needed of one model's rows.

    Attributes
    ----------
    now: by the store's clock, in seconds since the epoch.
    open_run: the number of the run of continuous training that is under way; it needs predictions and feedback.
    champion: the version in Production, as the ledger has it.
    unjudged_after: the champion's predictions with a higher id wait for a drift window; None if none do.
    late_after: those with a higher id that were inserted late do, too.
    judged_up_to: the highest id that a drift window of the champion has judged, which the next window follows.
    labels_after: feedback with a higher number waits for a run or for a quality window; None if none does.
    """

    model: str
    now: float
    open_run: int | None = None
    champion: str | None = None
    unjudged_after: str | None = None
    late_after: str | None = None
    judged_up_to: str = ""
    labels_after: int | None = None


def needs_of(store: Store, model: str, now: float) -> Needs:
    """Return what is needed of a model's rows.

    Raises
    ------
    StateError: the store cannot be read.
    """
    entry, runs, beat = Ledger(store, model).last_completed(), TrainingRuns(store, model), last_beat(store, model)
    last, unfinished = runs.last(), runs.unfinished()
    watched = beat is not None and now - beat.at < _WATCHED_FOR
    found: dict[str, Any] = {"open_run": unfinished.id if unfinished else None}
    if entry is not None:
        found["champion"] = champion = entry.to_version
        judged = last_judged_prediction(store, model, champion, before=first_id(now))
        if watched or drift_windows(store, model, champion, 1):
            promoted = entry.ended_at or entry.created_at
            since = first_id(newest_valid([0.0, promoted, last.created_at if last else 0.0], now) or 0.0)
            waiting = max(since, judged, _newest_prediction(store, model, champion))
            found |= {"unjudged_after": waiting, "late_after": since, "judged_up_to": judged}
    windows = quality_windows(store, model, found.get("champion"), 1)
    if watched or last is not None or windows:
        consumed = last.watermark if last else 0
        window = _window_start(store, model, windows[0], consumed) if windows else consumed
        found["labels_after"] = max(min(consumed, window), _newest_label(store, model))
    return Needs(model, now, **found)


def _window_start(store: Store, model: str, window: dict[str, Any], consumed: int) -> int:
    """Return the number before the oldest label of the next quality window, which shares labels with the last one."""
    seq = feedback.c.seq
    mine = sa.select(seq).where(feedback.c.model == model, feedback.c.version == window["version"], seq <= consumed)
    oldest = mine.order_by(seq.desc()).limit(window["n_rows"]).subquery()
    with store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.min(oldest.c.seq))) or consumed + 1) - 1


def _newest_prediction(store: Store, model: str, version: str) -> str:
    """Return the id below the newest ``MOST_WAITING`` predictions; an empty text if there are fewer."""
    table = predictions.c
    newest = sa.select(table.id).where(table.model == model, table.version == version).order_by(table.id.desc())
    with store.reading() as connection:
        return connection.scalar(newest.offset(MOST_WAITING).limit(1)) or ""


def _newest_label(store: Store, model: str) -> int:
    newest = sa.select(feedback.c.seq).where(feedback.c.model == model).order_by(feedback.c.seq.desc())
    with store.reading() as connection:
        return int(connection.scalar(newest.offset(MOST_WAITING).limit(1)) or 0)
