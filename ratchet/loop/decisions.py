"""Whether to train again now: one look at the store, cheap where there is nothing to do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ratchet.config import config_hash
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.errors import StateError
from ratchet.loop.heartbeat import beat
from ratchet.loop.training_runs import TrainingRun, TrainingRuns
from ratchet.loop.triggers import TRIGGERS, Finding, View, held_back, wanted_watermark
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.tracking import run_record

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package
    from ratchet.registry.model_version import Version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """What was decided.

    Attributes
    ----------
    line: what, and why, in one line.
    run: the run to make; None where there is nothing to do.
    """

    line: str
    run: TrainingRun | None = None


class Decider:
    """Looks at one model again and again; what belongs to one champion is fetched once.

    Parameters
    ----------
    config: triggers and limits.
    settings: where things are.
    """

    def __init__(self, config: ContinuousTrainingConfig, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._pointer = ProductionPointer(settings, config.model)
        self._packages: dict[str, Package] = {}
        self._metrics: dict[str, dict[str, float]] = {}
        self._unwritten = ""

    @cached_property
    def runs(self) -> TrainingRuns:
        """The model's runs."""
        return TrainingRuns(self._pointer.store, self._config.model)

    def beat(self, interval: float, *, looked: bool = True) -> None:
        """Write down that somebody has looked, or will; the watcher goes on where that cannot be done.

        Parameters
        ----------
        interval: seconds to the next look; 0 where there is none.
        looked: whether somebody has looked; if not, it is a promise alone.
        """
        said, self._unwritten = self._unwritten, ""
        try:
            beat(self._pointer.store, self._config.model, interval, looked=looked)
        except StateError as error:
            self._unwritten = str(error)
            if said != self._unwritten:  # once, and not at each look
                logger.warning("that somebody watches %s is not written down: %s", self._config.model, error)

    def decide(self) -> Decision:
        """Look once, and open a run where a trigger fires and nothing holds it back.

        Raises
        ------
        RegistryError, StateError: MLflow or the store cannot be read; nothing was decided.
        """
        model = self._config.model
        run = self.runs.unfinished()
        if run is not None:
            holder = self.holder()
            if holder:
                return Decision(f"{model}: run {run.id} (watermark {run.watermark}) is under way by {holder}")
            again = "picked up where it was left" if run.attempts else "begun"
            return Decision(f"{model}: run {run.id} (watermark {run.watermark}) is {again}: {run.reason}", run)
        champion = self._pointer.current()
        if champion is None:
            return Decision(f"{model}: no champion yet, so that there is nothing to watch: train one first")
        return self._look(self._view(champion))

    def holder(self) -> str | None:
        """Who makes a run of this model just now; None for nobody."""
        return leases.holder(self._pointer.store, self.runs.lease_name)

    def _look(self, view: View) -> Decision:
        findings = [found for trigger in TRIGGERS if (found := trigger.look(view)) is not None]
        fired = [finding for finding in findings if finding.fires]
        if not fired:
            said = "; ".join(finding.line for finding in findings) or "no trigger is set"
            return Decision(f"{view.model} version {view.version}: nothing to do: {said}")
        reason = "; ".join(f"{finding.trigger}: {finding.line}" for finding in fired)
        held = held_back(view)
        if held:
            return Decision(f"{view.model} version {view.version}: {reason}; but {held}")
        return self._open(view, fired, reason)

    def _open(self, view: View, fired: list[Finding], reason: str) -> Decision:
        mark = wanted_watermark(view, fired)
        names = [finding.trigger for finding in fired]
        after = view.last.id if view.last else 0
        run = self.runs.open(mark, config_hash(self._config), reason, triggers=names, after=after)
        if run is None:
            why = f"watermark {mark} has had its run, or somebody began another just now"
            return Decision(f"{view.model}: {reason}; but {why}")
        return Decision(f"{view.model} version {view.version}: run {run.id} (watermark {mark}) begins: {reason}", run)

    def _view(self, champion: Version) -> View:
        return View(
            store=self._pointer.store,
            config=self._config,
            version=champion.version,
            since=self._since(champion),
            last=self.runs.last(),
            package=lambda: self._package(champion),
            holdout_metrics=lambda: self._holdout_metrics(champion),
        )

    def _since(self, champion: Version) -> float:
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
