"""A simulation against a running service: rows at their rate, and each label after its delay."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from ratchet.config.files import load_config
from ratchet.config.simulation import SimulationConfig
from ratchet.data import load_dataset
from ratchet.errors import ConfigError, InputError
from simulation.client import Answer, Feedback, ServiceClient
from simulation.report import Outcome, Report, figures, segments
from simulation.stream import Example, Stream

# The most labels in one request.
_LABELS_A_REQUEST = 500
# Rows between two progress lines, and answers that each takes its metric from.
_PROGRESS = 100
_REASONS = 5

Listener = Callable[[str], None]


def load_simulation(path: Path, overrides: Sequence[str] = ()) -> SimulationConfig:
    """Read a config file of a simulation.

    Raises
    ------
    ConfigError: as for ``load_config``, or the file is a config of another pipeline.
    """
    config = load_config(path, overrides)
    if not isinstance(config, SimulationConfig):
        raise ConfigError(f"{path}: pipeline: got {config.pipeline!r}, expected 'simulation', as in simulate.yaml")
    return config


def run_simulation(
    config: SimulationConfig, client: ServiceClient, progress: Listener, record: TextIO | None = None
) -> Report:
    """Send a config's stream and its labels to a service.

    Parameters
    ----------
    config: the stream and its rate.
    client: the service.
    progress: called with a line for every 100 rows.
    record: gets a JSON line for each answered row; None for no record.

    Raises
    ------
    ConfigError: nothing listens, another model is served, or the config does not fit its data set.
    DataError: the data set cannot be read.
    UnavailableError: the service was unavailable for longer than the client's ``patience``.
    """
    stream = Stream(config, load_dataset(config.dataset, config.task))
    require_model(config, stream, client.model())
    return _SimulationRun(config, stream, client, progress, record).run()


def require_model(config: SimulationConfig, stream: Stream, served: dict[str, Any]) -> None:
    """Check that the service's model, as ``/model`` returns it, takes the stream's rows.

    Raises
    ------
    ConfigError: it serves another model, or one with other features.
    """
    if served["name"] != config.model:
        raise ConfigError(f"model: the service serves {served['name']!r}, the config simulates {config.model!r}")
    accepted = {feature["name"] for feature in served["signature"]["features"]}
    sent = set(stream.feature_names)
    if accepted != sent:
        differ = ", ".join(sorted(accepted ^ sent))
        raise ConfigError(
            f"dataset: its features are not those of {config.model} version {served['version']}: {differ}"
        )


class _SimulationRun:
    """One stream against one service; the parameters are those of ``run_simulation``."""

    def __init__(
        self,
        config: SimulationConfig,
        stream: Stream,
        client: ServiceClient,
        progress: Listener,
        record: TextIO | None,
    ) -> None:
        self._config, self._stream, self._client = config, stream, client
        self._print, self._record = progress, record
        self._outcomes: list[Outcome] = []
        self._recent: deque[Outcome] = deque(maxlen=_PROGRESS)
        self._pending: list[tuple[int, int, Feedback]] = []
        self._refused = self._labels = self._labels_refused = 0
        self._reasons: dict[str, str] = {}

    def run(self) -> Report:
        """Send every row and every label; Ctrl-C ends it early, without the labels that are still pending.

        Raises
        ------
        UnavailableError: the service was unavailable for longer than the client's ``patience``.
        ConfigError: the service requires a key, or smaller requests.
        """
        started, interrupted = time.monotonic(), False
        try:
            for examples in self._paced():
                self._send(examples)
                self._send_labels(examples[-1].index)
                self._report_progress(examples)
            self._send_labels(None)
        except KeyboardInterrupt:
            interrupted = True
        return self._report(time.monotonic() - started, interrupted)

    def _paced(self) -> Iterator[Sequence[Example]]:
        """Yield the requests at the config's rate; after a late one the rate stays the same."""
        stream, due = iter(self._stream), time.monotonic()
        while examples := tuple(itertools.islice(stream, self._config.stream.batch)):
            if self._config.stream.rate:
                now = time.monotonic()
                time.sleep(max(0.0, due - now))
                due = max(due, now) + 1 / self._config.stream.rate
            yield examples

    def _send(self, examples: Sequence[Example]) -> None:
        started = time.perf_counter()
        try:
            answers = self._client.predict([example.record for example in examples])
        except InputError as error:
            self._refused += len(examples)
            self._reasons.setdefault(str(error), f"row {examples[0].index}: {error}")
            return
        latency = (time.perf_counter() - started) * 1000
        for example, answer in zip(examples, answers, strict=True):
            self._store(example, answer, latency)

    def _store(self, example: Example, answer: Answer, latency: float) -> None:
        outcome = Outcome(
            index=example.index,
            prediction_id=answer.prediction_id,
            version=answer.version,
            prediction=answer.prediction,
            truth=example.truth,
            label=example.label,
            label_after=example.label_after,
            time=time.time(),
            latency_ms=latency,
        )
        self._outcomes.append(outcome)
        self._recent.append(outcome)
        if self._record is not None:
            self._record.write(outcome.model_dump_json() + "\n")
            self._record.flush()
        if example.label is not None and example.label_after is not None:
            due = (example.label_after, example.index, Feedback(answer.prediction_id, example.label))
            heapq.heappush(self._pending, due)

    def _send_labels(self, index: int | None) -> None:
        """Send the labels that are due after a row, or all pending ones for None."""
        due = []
        while self._pending and (index is None or self._pending[0][0] <= index):
            due.append(heapq.heappop(self._pending)[2])
        for start in range(0, len(due), _LABELS_A_REQUEST):
            labels = due[start : start + _LABELS_A_REQUEST]
            refused = self._client.feedback(labels)
            self._labels += len(labels) - len(refused)
            self._labels_refused += len(refused)
            for reason in refused:
                self._reasons.setdefault(reason, f"label: {reason}")

    def _report_progress(self, examples: Sequence[Example]) -> None:
        done = examples[-1].index + 1
        if self._recent and done // _PROGRESS > examples[0].index // _PROGRESS:
            name, value = next(iter(figures(self._recent, self._config.task).items()))
            version = self._recent[-1].version
            self._print(f"row {done}: {name} {value:.2f} of the last {len(self._recent)}, version {version}")

    def _report(self, seconds: float, interrupted: bool) -> Report:
        return Report(
            model=self._config.model,
            rows=len(self._outcomes),
            refused=self._refused,
            labels=self._labels,
            labels_refused=self._labels_refused,
            refusals=tuple(self._reasons.values())[:_REASONS],
            interrupted=interrupted,
            seconds=seconds,
            segments=segments(self._outcomes, self._config),
        )
