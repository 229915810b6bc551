"""The trials of a study as nested MLflow runs, logged by a thread: a trial does not wait for the tracking server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ratchet.experiments.tuning.summary import TrialRecord
from ratchet.experiments.tuning.trial_events import Listener
from ratchet.settings import Settings
from ratchet.tracking import ChildRun, child_runs, connect, log_child_run, reachable
from ratchet.tracking.connection import NOTE
from ratchet.tracking.lineage import PREFIX
from ratchet.tracking.markdown import escaped

logger = logging.getLogger(__name__)

STUDY_TAG, TRIAL_TAG, STATE_TAG = f"{PREFIX}study", f"{PREFIX}trial", f"{PREFIX}trial_state"


@contextmanager
def trial_log(settings: Settings, parent: str, study: str, metric: str) -> Iterator[Listener]:
    """Yield a function that logs a trial soon; all trials are logged when the block ends.

    Trials that an earlier, killed run has logged are moved under the parent, and not logged twice.

    Raises
    ------
    RegistryError: MLflow cannot be reached, or refuses.
    """
    client = connect(settings)
    errors: list[Exception] = []
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="trial-log") as executor:
            known = executor.submit(child_runs, client, parent, STUDY_TAG, study)

            def log(record: TrialRecord) -> None:
                if errors:  # a server that is down costs one timeout, not one for each trial
                    return
                run = _as_run(record, study, metric)
                try:
                    log_child_run(client, parent, run, known.result().get(run.name))
                except Exception as error:
                    errors.append(error)

            yield lambda record: executor.submit(log, record)
    except BaseException:
        if errors:
            logger.warning("trials could not be logged: %s", errors[0])
        raise
    if errors:
        with reachable(settings):
            raise errors[0]


def _as_run(record: TrialRecord, study: str, metric: str) -> ChildRun:
    value = {} if record.value is None else {metric: record.value}
    reason = {f"{PREFIX}reason": record.reason} if record.reason else {}
    figure = "" if record.value is None else f", {metric} {record.value:.4f} (mean of {len(record.folds)} folds)"
    note = f"Trial {record.number} of the study {escaped(study)}: {record.state}{figure}"
    return ChildRun(
        name=f"trial-{record.number:04d}",
        params=record.values,
        metrics={**value, "trial": record.number, "seconds": record.ended - record.began},
        steps={f"{metric}_fold": record.folds},
        tags={STUDY_TAG: study, TRIAL_TAG: str(record.number), STATE_TAG: record.state, **reason, NOTE: note},
        began=record.began,
        ended=record.ended,
        finished=record.state != "failed",
    )
