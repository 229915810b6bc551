"""Where a prediction is: in the store, or in the archive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from ratchet.feedback.table import FeedbackRow, feedback_of
from ratchet.store.archive import Archive
from ratchet.store.database import open_store
from ratchet.store.prediction_rows import find_prediction

if TYPE_CHECKING:
    from ratchet.settings import Settings
    from ratchet.store.predictions import Prediction


@dataclass(frozen=True)
class Place:
    """A prediction, all feedback on it, oldest first, and the address of its file in the archive; None in the store."""

    prediction: Prediction
    feedback: list[FeedbackRow]
    archive: str | None = None


def find_anywhere(settings: Settings, prediction_id: str) -> Place | None:
    """Return a prediction from the store or, if it is not there, from the archive; None if it is in neither.

    Raises
    ------
    StateError: the store or the archive cannot be read.
    """
    store = open_store(settings)
    prediction, given = find_prediction(store, prediction_id), feedback_of(store, prediction_id)
    if prediction is not None:
        return Place(prediction, given)
    archive = Archive(settings)
    found = archive.find(prediction_id)
    if found is None:
        return None
    file, row = found
    given += _archived_feedback(archive, row)
    given = sorted({answer.revision: answer for answer in given}.values(), key=lambda answer: answer.revision)
    return Place(cast("Prediction", row), given, archive.address(file))


def _archived_feedback(archive: Archive, prediction: dict[str, Any]) -> list[FeedbackRow]:
    """Return the archived feedback on a prediction, which was given after it."""
    made = datetime.fromtimestamp(prediction["created_at"], UTC).date() - timedelta(days=1)
    files = [file for file in archive.files("feedback", prediction["model"]) if file.day >= made]
    wanted = (archive.rows_with(file, "prediction_id", prediction["id"]) for file in files)
    return [FeedbackRow(**row) for rows in wanted for row in rows]
