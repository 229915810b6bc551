"""The decision whether to train again, from the store."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ratchet.config import config_hash
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.errors import StateError
from ratchet.loop.heartbeat import beat
from ratchet.loop.label_evidence import current_label_check
from ratchet.loop.training_runs import TrainingRun, TrainingRuns
from ratchet.loop.triggers import TRIGGERS, TriggerInput, TriggerResult, blocking_reason, target_watermark
from ratchet.registry.audit_share import set_audit_share
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.clock import clock_difference, rows_from_the_future
from ratchet.tracking import run_record

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package
    from ratchet.registry.model_version import Version
    from ratchet.registry.promotion_ledger import Entry

logger = logging.getLogger(__name__)


class Decision(NamedTuple):
    """A decision with its reason in one line, the same in a few words without the model, and the run to make."""

    line: str
    brief: str
    run: TrainingRun | None = None


class Decider:
    """Decides for one model, repeatedly; the champion's package and metrics are read once for each champion."""

    def __init__(self, config: ContinuousTrainingConfig, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._pointer = ProductionPointer(settings, config.model)
        self._packages: dict[str, Package] = {}
        self._metrics: dict[str, dict[str, float]] = {}
        self._beat_error = ""
        self._clock_findings: list[str] = []

    @cached_property
    def runs(self) -> TrainingRuns:
        """The model's runs."""
        return TrainingRuns(self._pointer.store, self._config.model)

    def beat(self, interval: float, *, checked: bool = True) -> None:
        """Store the heartbeat; an error is logged once, and the watcher continues."""
        before, self._beat_error = self._beat_error, ""
        try:
            beat(self._pointer.store, self._config.model, interval, checked=checked)
        except StateError as error:
            self._beat_error = str(error)
            if before != self._beat_error:
                logger.warning("the heartbeat of the watcher of %s was not stored: %s", self._config.model, error)

    def _check_clocks(self) -> None:
        """Log a clock that is off, once for each finding."""
        found = rows_from_the_future(self._pointer.store)
        difference = clock_difference(self._pointer.store)
        if difference is not None:
            found.append(f"a store whose clock differs from this machine's by {abs(difference):.0f} s")
        new = [each for each in found if each not in self._clock_findings]
        self._clock_findings = found
        if new:
            logger.warning("%s: a clock is or was off: found %s", self._config.model, ", ".join(new))

    def decide(self) -> Decision:
        """Check all triggers once, and open a run if one fires and nothing blocks it.

        Raises
        ------
        RegistryError, StateError: MLflow or the store cannot be read; nothing was decided.
        """
        self._check_clocks()
        moved = self._outside_move()
        decision = self._decide()
        if moved is None:
            return decision
        brief = f"version {moved.to_version} was moved into Production outside Ratchet"
        before = f"{brief}, in place of {moved.from_version}"
        return decision._replace(line=f"{before}: the gate did not check it; {decision.line}", brief=brief)

    def _outside_move(self) -> Entry | None:
        try:
            return self._pointer.note_outside_move()
        except StateError:  # a promotion is under way; the next check finds a move
            return None

    def _decide(self) -> Decision:
        model = self._config.model
        run = self.runs.unfinished()
        if run is not None:
            holder = self.holder()
            if holder:
                line = f"{model}: run {run.id} (watermark {run.watermark}) is under way by {holder}"
                return Decision(line, f"run {run.id} is under way by {holder}")
            action = "resumes" if run.attempts else "starts"
            line = f"{model}: run {run.id} (watermark {run.watermark}) {action}: {run.reason}"
            return Decision(line, f"run {run.id} {action}: {run.reason}", run)
        champion = self._pointer.current()
        if champion is None:
            reason = self._without_champion()
            return Decision(f"{model}: {reason}", reason)
        set_audit_share(self._settings, champion, self._config.feedback.audit_share)
        return self._check_triggers(self._input(champion))

    def holder(self) -> str | None:
        """Return the process that makes a run of this model, or None."""
        return leases.holder(self._pointer.store, self.runs.lease_name)

    def _check_triggers(self, given: TriggerInput) -> Decision:
        version = f"version {given.version}"
        subject = f"{given.model} {version}"
        results = {name: found for name, check in TRIGGERS.items() if (found := check(given)) is not None}
        fired = {name: result for name, result in results.items() if result.fires}
        if not fired:
            progress = "; ".join(result.line for result in results.values()) or "no trigger is set"
            brief = ", ".join(result.brief for result in results.values()) or progress
            return Decision(f"{subject}: nothing to do: {progress}", f"{version}: {brief}")
        reason = "; ".join(f"{name}: {result.line}" for name, result in fired.items())
        blocked = blocking_reason(given)
        if blocked:
            brief = ", ".join(result.brief for result in fired.values())
            return Decision(f"{subject}: {reason}; but {blocked}", f"{version}: {brief}, but {blocked}")
        return self._open(given, fired, reason)

    def _open(self, given: TriggerInput, fired: dict[str, TriggerResult], reason: str) -> Decision:
        mark = target_watermark(given, list(fired.values()))
        after = given.last.id if given.last else 0
        run = self.runs.open(mark, config_hash(self._config), reason, triggers=list(fired), after=after)
        if run is None:
            blocked = f"watermark {mark} has had its run, or another process opened a run meanwhile"
            return Decision(f"{given.model}: {reason}; but {blocked}", blocked)
        line = f"{given.model} version {given.version}: run {run.id} (watermark {mark}) starts: {reason}"
        brief = ", ".join(result.brief for result in fired.values())
        return Decision(line, f"run {run.id} starts: {brief}", run)

    def _input(self, champion: Version) -> TriggerInput:
        return TriggerInput(
            store=self._pointer.store,
            config=self._config,
            version=champion.version,
            since=self._promoted_at(champion),
            last=self.runs.last(),
            package=lambda: self._package(champion),
            holdout_metrics=lambda: self._holdout_metrics(champion),
            label_check=current_label_check(self._pointer.store, self._config),
        )

    def _without_champion(self) -> str:
        last = self._pointer.ledger.last_completed()
        if last is None:
            return "no champion yet, so there is nothing to watch: train one first"
        repair = f"python run.py doctor --model {self._config.model}"
        return f"nothing is in Production, but the ledger has version {last.to_version}: run {repair}"

    def _promoted_at(self, champion: Version) -> float:
        entry = self._pointer.ledger.last_completed()
        if entry is None or entry.to_version != champion.version:
            return champion.created_at
        return entry.ended_at or entry.created_at

    def _package(self, champion: Version) -> Package:
        if champion.version not in self._packages:
            self._packages = {champion.version: fetch_package(self._settings, champion)}
        return self._packages[champion.version]

    def _holdout_metrics(self, champion: Version) -> dict[str, float]:
        if champion.version not in self._metrics:
            self._metrics = {champion.version: run_record(self._settings, champion.run_id).metrics}
        return self._metrics[champion.version]
