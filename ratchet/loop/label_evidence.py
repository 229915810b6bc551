"""The check of labels in continuous training: made again when enough feedback is new, and stored."""

from __future__ import annotations

from ratchet.config import LABELLED
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.monitoring.label_bias import LabelCheck, check_newest_labels
from ratchet.monitoring.production_rows import feedback_after, watermark
from ratchet.monitoring.windows import newest_label_check, record_label_check
from ratchet.store.database import Store

# New feedback from one check to the next.
_STEP = 50


def current_label_check(store: Store, config: ContinuousTrainingConfig) -> LabelCheck | None:
    """Return which labelled rows are evidence of quality; None while there is too little feedback to check."""
    row = newest_label_check(store, config.model)
    found = LabelCheck.model_validate(row["report"]) if row else None
    share = config.feedback.audit_share
    new = feedback_after(store, config.model, row["last_seq"] if row else 0, _STEP)
    if len(new) < _STEP and (found is None or found.audit_share == share):
        return found
    made = check_newest_labels(store, config.model, share, classes=config.task in LABELLED)
    record_label_check(store, config.model, made, watermark(store, config.model))
    return made
