"""A simulated stream played to a running service: rows at their rate, and each label when its time has come."""

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
from simulation.stream import Example, Simulation

# So many labels go into one request at most.
_LABELS_A_REQUEST = 500
_LOOK_BACK = 100
_REASONS = 5

Listener = Callable[[str], None]


def load_simulation(path: Path, overrides: Sequence[str] = ()) -> SimulationConfig:
    """Read a config file of a simulation.

    Raises
    ------
    ConfigError: as for ``load_config``, or the file is a config of something else.
    """
    config = load_config(path, overrides)
    if not isinstance(config, SimulationConfig):
        raise ConfigError(f"{path}: pipeline: got {config.pipeline!r}, expected 'simulation', as in simulate.yaml")
    return config


def rehearse(config: SimulationConfig, client: ServiceClient, say: Listener, record: TextIO | None = None) -> Report:
    """Play a config's stream to a service.

    Parameters
    ----------
    config: what to send, and how fast.
    client: the service.
    say: is told a line now and then.
    record: takes a JSON line for each row that was answered; None for no record.

    Raises
    ------
    ConfigError: nobody is there, or somebody who serves something else; or the config does not fit its data set.
    DataError: the data set cannot be read.
    UnavailableError: the service was away for longer than the client's patience.
    """
    simulation = Simulation(config, load_dataset(config.dataset, config.task))
    require_model(config, simulation, client.model())
    return Rehearsal(config, simulation, client, say, record).run()


def require_model(config: SimulationConfig, simulation: Simulation, served: dict[str, Any]) -> None:
    """Check that the service takes what the simulation is about to send.

    Parameters
    ----------
    config, simulation: what is to be sent.
    served: what the service says of its model.

    Raises
    ------
    ConfigError: it serves another model, or one with other features.
    """
    if served["name"] != config.model:
        raise ConfigError(f"model: the service serves {served['name']!r}, the config simulates {config.model!r}")
    takes = {feature["name"] for feature in served["signature"]["features"]}
    sends = set(simulation.feature_names)
    if takes != sends:
        differ = ", ".join(sorted(takes ^ sends))
        raise ConfigError(
            f"dataset: its features are not those of {config.model} version {served['version']}: {differ}"
        )


class Rehearsal:
    """One simulation against one service.

    Parameters
    ----------
    config: what to send, and how fast.
    simulation: the rows.
    client: the service.
    say: is told a line now and then.
    record: takes a JSON line for each row that was answered; None for no record.
    every: rows from one line to the next.
    """

    def __init__(
        self,
        config: SimulationConfig,
        simulation: Simulation,
        client: ServiceClient,
        say: Listener,
        record: TextIO | None = None,
        every: int = 100,
    ) -> None:
        self._config, self._simulation, self._client = config, simulation, client
        self._say, self._record, self._every = say, record, every
        self._outcomes: list[Outcome] = []
        self._recent: deque[Outcome] = deque(maxlen=_LOOK_BACK)
        self._waiting: list[tuple[int, int, Feedback]] = []
        self._refused = self._labels = self._labels_refused = 0
        self._reasons: dict[str, str] = {}

    def run(self) -> Report:
        """Send every row and every label; Ctrl-C ends it early, and the labels that wait then are not sent.

        Raises
        ------
        UnavailableError: the service was away for longer than the client's patience.
        ConfigError: it asks for a key, or for smaller requests.
        """
        started, interrupted = time.monotonic(), False
        try:
            for examples in self._paced():
                self._send(examples)
                self._tell_labels(examples[-1].index)
                self._progress(examples)
            self._tell_labels(None)
        except KeyboardInterrupt:
            interrupted = True
        return self._report(time.monotonic() - started, interrupted)

    def _paced(self) -> Iterator[Sequence[Example]]:
        """The requests, each when its time has come; one that comes late does not hurry those behind it."""
        stream, due = iter(self._simulation), time.monotonic()
        while examples := tuple(itertools.islice(stream, self._config.stream.batch)):
            if self._config.stream.rate:
                now = time.monotonic()
                time.sleep(max(0.0, due - now))
                due = max(due, now) + 1 / self._config.stream.rate
            yield examples

    def _send(self, examples: Sequence[Example]) -> None:
        begun = time.perf_counter()
        try:
            answers = self._client.predict([example.record for example in examples])
        except InputError as error:
            self._refused += len(examples)
            self._reasons.setdefault(str(error), f"row {examples[0].index}: {error}")
            return
        latency = (time.perf_counter() - begun) * 1000
        for example, answer in zip(examples, answers, strict=True):
            self._keep(example, answer, latency)

    def _keep(self, example: Example, answer: Answer, latency: float) -> None:
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
            heapq.heappush(self._waiting, due)

    def _tell_labels(self, index: int | None) -> None:
        """Send the labels that are due after a row, or all that are left."""
        due = []
        while self._waiting and (index is None or self._waiting[0][0] <= index):
            due.append(heapq.heappop(self._waiting)[2])
        for start in range(0, len(due), _LABELS_A_REQUEST):
            labels = due[start : start + _LABELS_A_REQUEST]
            refused = self._client.feedback(labels)
            self._labels += len(labels) - len(refused)
            self._labels_refused += len(refused)
            for reason in refused:
                self._reasons.setdefault(reason, f"label: {reason}")

    def _progress(self, examples: Sequence[Example]) -> None:
        done = examples[-1].index + 1
        if self._recent and done // self._every > examples[0].index // self._every:
            name, value = next(iter(figures(self._recent, self._config.task).items()))
            version = self._recent[-1].version
            self._say(f"row {done}: {name} {value:.2f} of the last {len(self._recent)}, version {version}")

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
