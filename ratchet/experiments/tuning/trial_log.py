"""The trials of a study as nested MLflow runs, logged by a thread: a trial does not wait for the tracking server."""

from __future__ import annotations

import logging
import queue
import threading
from types import TracebackType
from typing import Self

from ratchet.experiments.tuning.summary import TrialRecord
from ratchet.settings import Settings
from ratchet.tracking import ChildRun, child_runs, connect, log_child_run, reachable
from ratchet.tracking.lineage import PREFIX

logger = logging.getLogger(__name__)

STUDY_TAG, TRIAL_TAG, STATE_TAG = f"{PREFIX}study", f"{PREFIX}trial", f"{PREFIX}trial_state"


class TrialLog:
    """Takes trials as they end, and has logged them all when it is left.

    A run that was killed may have logged some of them already: those are put under this run, and not logged twice.

    Parameters
    ----------
    settings: where MLflow is.
    parent: the run that the trials are nested in.
    study: its name, by which the trials are found again.
    metric: the name of the trials' value.
    """

    def __init__(self, settings: Settings, parent: str, study: str, metric: str) -> None:
        self._settings, self._parent, self._study, self._metric = settings, parent, study, metric
        self._waiting: queue.SimpleQueue[TrialRecord | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._log_all, name="trial-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def add(self, record: TrialRecord) -> None:
        """Have a trial logged soon."""
        self._waiting.put(record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all are logged.

        Raises
        ------
        RegistryError: MLflow could not be reached, or refused.
        """
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None:
            if error is None:
                raise self._error
            logger.warning("trials could not be logged: %s", self._error)

    def _log_all(self) -> None:
        try:
            with reachable(self._settings):
                client = connect(self._settings)
                known = child_runs(client, self._parent, STUDY_TAG, self._study)
                while (record := self._waiting.get()) is not None:
                    log_child_run(client, self._parent, self._as_run(record), known.get(_name(record)))
        except Exception as error:
            self._error = error

    def _as_run(self, record: TrialRecord) -> ChildRun:
        value = {} if record.value is None else {self._metric: record.value}
        reason = {f"{PREFIX}reason": record.reason} if record.reason else {}
        return ChildRun(
            name=_name(record),
            params=record.values,
            metrics={**value, "trial": record.number, "seconds": record.ended - record.began},
            steps={f"{self._metric}_fold": record.folds},
            tags={STUDY_TAG: self._study, TRIAL_TAG: str(record.number), STATE_TAG: record.state, **reason},
            began=record.began,
            ended=record.ended,
            finished=record.state != "failed",
        )


def _name(record: TrialRecord) -> str:
    return f"trial-{record.number:04d}"
