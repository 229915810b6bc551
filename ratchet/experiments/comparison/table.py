"""The comparison: one row for each config, and the parameters that differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from ratchet.config import LOSSES, METRICS
from ratchet.errors import ConfigError
from ratchet.experiments.comparison.link import compare_link
from ratchet.experiments.comparison.runs import FinishedRun, newest_runs
from ratchet.nearest_names import nearest
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.registry.promotion_ledger import Entry
from ratchet.settings import Settings
from ratchet.tracking import PACKAGE_BYTES, TRAINING_SECONDS

_METRICS = frozenset(metric for metrics in METRICS.values() for metric in metrics)
_LATENCY = "gate.latency.figure"
# The sections of a config that determine the model; the others determine how it is evaluated.
_SHAPING = ("task", "seed", "dataset.", "split.", "embed.", "train.")
_HOLDOUT = ("seed", "dataset.", "split.")
_UNSET = frozenset({"None", "{}", "[]"})


class Row(BaseModel):
    """One config's newest run.

    Attributes
    ----------
    config: the config's name; for the best trial of a study with its number.
    run_id, run_name, when: the MLflow run, and when it began (ISO 8601, UTC).
    version: the registered version; None without one.
    parameters: those that differ between the rows, and that this config has.
    value: the metric on the holdout; None where the run does not have it.
    low, high, confidence: the bootstrap interval; None for a metric that is not the run's primary one.
    training_seconds: the duration of the fit.
    package_bytes: the size of all files of the package.
    latency_ms: the median time of one row, measured by the gate.
    verdict, why: ``in Production``, ``promoted earlier``, ``refused: against_champion`` or the run's outcome, and the
        ledger's reason; empty without one.
    in_production: whether its version is in Production now.
    """

    model_config = ConfigDict(frozen=True)

    config: str
    run_id: str
    run_name: str
    when: str
    version: str | None
    parameters: dict[str, str]
    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    training_seconds: float | None
    package_bytes: int | None
    latency_ms: float | None
    verdict: str
    why: str
    in_production: bool


class Comparison(BaseModel):
    """Runs of one model, best first.

    Attributes
    ----------
    metric: the metric that orders the rows.
    parameters: the config keys that differ between the rows.
    rows: best first; those without the metric last.
    notes: the limits of the comparison, one line each.
    url: the same runs in MLflow's pages.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    metric: str
    less_is_better: bool
    experiment_id: str
    parameters: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    url: str

    @property
    def better(self) -> str:
        """``less`` or ``more``: which values of the metric are better."""
        return "less" if self.less_is_better else "more"


def compare(settings: Settings, model: str, metric: str | None = None) -> Comparison:
    """Compare the newest run of each config of a model by a metric, or by the runs' primary metric.

    Raises
    ------
    ConfigError: the runs have different primary metrics and ``metric`` is None, or no run has the metric.
    RegistryError, StateError: MLflow or the store cannot be read, or no run has finished yet.
    """
    pointer = ProductionPointer(settings, model)
    current = pointer.current()
    champion = current.version if current else None
    experiment, runs = newest_runs(settings, model, champion)
    chosen = choose_metric(runs, metric)
    differing = differing_parameters([run.params for run in runs])
    decided = _decisions(pointer)
    rows = [_row(run, chosen, differing, champion, decided.get(run.version or "")) for run in runs]
    rows.sort(key=lambda row: (_rank(row.value, chosen), row.config))
    return Comparison(
        model=model,
        metric=chosen,
        less_is_better=chosen in LOSSES,
        experiment_id=experiment,
        parameters=differing,
        rows=tuple(rows),
        notes=tuple(_notes(runs, chosen)),
        url=compare_link(settings, experiment, [row.run_id for row in rows]),
    )


def choose_metric(runs: Sequence[FinishedRun], requested: str | None) -> str:
    """Return the metric that orders the rows.

    Raises
    ------
    ConfigError: none is requested and the runs have several primary metrics, or no run has the requested one.
    """
    if requested is not None:
        known = {name for run in runs for name in run.metrics if name in _METRICS}
        if requested not in known:
            raise ConfigError(f"--metric: no run has the metric {requested!r}{nearest(requested, known)}")
        return requested
    primary: dict[str, list[str]] = {}
    for run in runs:
        primary.setdefault(run.params["evaluate.primary_metric"], []).append(run.label)
    if len(primary) > 1:
        named = "; ".join(f"{metric} of {', '.join(labels)}" for metric, labels in primary.items())
        raise ConfigError(f"the runs have different primary metrics ({named}): choose one with --metric")
    return next(iter(primary))


def differing_parameters(params: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """Return the keys that determine the model and have several values, in the order of the configs.

    ``None``, an empty list and an empty mapping count as absent.
    """
    keys = dict.fromkeys(key for values in params for key in values if key.startswith(_SHAPING))
    return tuple(key for key in keys if len({_set(values, key) for values in params}) > 1)


def _set(params: dict[str, str], key: str) -> str | None:
    value = params.get(key)
    return None if value in _UNSET else value


def _decisions(pointer: ProductionPointer) -> dict[str, Entry]:
    """Return the newest promotion or refusal of each version; a rollback to a version is neither."""
    decided = (entry for entry in reversed(pointer.ledger.history()) if entry.kind == "promote")
    return {entry.to_version: entry for entry in decided if entry.state in ("completed", "refused")}


def _row(run: FinishedRun, metric: str, differing: Iterable[str], champion: str | None, decision: Entry | None) -> Row:
    figures = {name: value for name, value in run.metrics.items() if not math.isnan(value)}
    size = figures.get(PACKAGE_BYTES)
    primary = metric == run.params.get("evaluate.primary_metric")
    low, high = figures.get(f"{metric}_low"), figures.get(f"{metric}_high")
    interval = primary and low is not None and high is not None
    in_production = run.version is not None and run.version == champion
    return Row(
        config=run.title,
        run_id=run.run_id,
        run_name=run.name,
        when=run.when,
        version=run.version,
        parameters={key: value for key in differing if (value := _set(run.params, key)) is not None},
        value=figures.get(metric),
        low=low if interval else None,
        high=high if interval else None,
        confidence=float(run.params["evaluate.confidence"]) if interval else None,
        training_seconds=figures.get(TRAINING_SECONDS),
        package_bytes=None if size is None else int(size),
        latency_ms=figures.get(_LATENCY),
        verdict="in Production" if in_production else _verdict(run, decision),
        why=decision.reason if decision else "",
        in_production=in_production,
    )


def _verdict(run: FinishedRun, decision: Entry | None) -> str:
    if decision is None:
        return run.tags["ratchet.outcome"]
    if decision.state == "completed":
        return "promoted earlier"
    failed = [str(check["name"]) for check in decision.gate or () if not check["passed"]]
    return f"refused: {', '.join(failed)}" if failed else "refused"


def _rank(value: float | None, metric: str) -> float:
    if value is None:
        return math.inf
    return value if metric in LOSSES else -value


def _notes(runs: Sequence[FinishedRun], metric: str) -> Iterable[str]:
    if len(runs) == 1:
        yield f"there is only one run, of {runs[0].title}: train another config to compare it with"
    holdouts: dict[Any, list[str]] = {}
    for run in runs:
        splits = [(key, _set(run.params, key)) for key in run.params if key.startswith(_HOLDOUT)]
        split = frozenset((key, value) for key, value in splits if value is not None)
        holdouts.setdefault((run.tags.get("ratchet.data_version"), split), []).append(run.title)
    if len(holdouts) > 1:
        named = "; ".join(", ".join(titles) for titles in holdouts.values())
        yield f"the metrics are of different held-out rows, since data, split or seed differ: {named}"
    without = [run.title for run in runs if metric not in run.metrics]
    if without:
        yield f"no {metric}: {', '.join(without)}"
