"""A study in pictures: how its best value came about, which parameters mattered, and where good trials lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ratchet.config.tuning import Choices, Search
from ratchet.experiments.tuning.proposals import distribution, plain
from ratchet.experiments.tuning.summary import StudySummary, TrialRecord
from ratchet.tracking.run_figures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COMPLETE, _BEST, _QUIET = "#0072B2", "#D55E00", "#999999"
_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8}
# With fewer complete trials, or more axes, there is nothing to be read from a figure.
_FEWEST = 4
_MOST_AXES = 10
_NOWHERE = -0.12


def figures(summary: StudySummary, search: Search) -> dict[str, Figure]:
    """Every figure that a study gives, by the name of its file; those that have nothing to show are left out."""
    drawn = {"history.png": history_figure(summary)}
    complete = [trial for trial in summary.trials if trial.state == "complete"]
    varied = _varied(complete, search)
    if len(complete) >= _FEWEST and varied:
        drawn["parallel_coordinates.png"] = parallel_figure(summary, complete, search, varied)
    shares = importances(summary, search)
    if shares:
        drawn["importances.png"] = importance_figure(summary, shares)
    return drawn


def history_figure(summary: StudySummary) -> Figure:
    """The value of each trial in the order of their numbers, the best so far, and the baseline."""
    figure, axes = canvas(7.2, 4)
    for state, mark, colour in (("complete", "o", _COMPLETE), ("pruned", "x", _QUIET)):
        shown = [trial for trial in summary.trials if trial.state == state and trial.value is not None]
        if shown:
            axes.plot([t.number for t in shown], [t.value for t in shown], mark, color=colour, ms=5, label=state)
    complete = [trial for trial in summary.trials if trial.state == "complete"]
    best = np.minimum if summary.minimise else np.maximum
    so_far = best.accumulate([trial.value or 0.0 for trial in complete])
    axes.step([t.number for t in complete], so_far, where="post", color=_BEST, label="best so far")
    if summary.baseline.value is not None:
        axes.axhline(summary.baseline.value, color="black", linewidth=1, linestyle="--", label="baseline")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="trial", ylabel=f"{summary.metric}, mean of folds")
    axes.legend(fontsize=8)
    axes.set_title(f"{summary.study}: {len(summary.trials)} trials", fontsize=10)
    return figure


def parallel_figure(
    summary: StudySummary, trials: Sequence[TrialRecord], search: Search, paths: Sequence[str]
) -> Figure:
    """Each complete trial as a line over its parameters, the better the darker; one that does not count is below."""
    paths = list(paths)[:_MOST_AXES]
    figure, axes = canvas(1.6 + 1.5 * len(paths), 4.4)
    ranks = _ranks([trial.value or 0.0 for trial in trials], minimise=summary.minimise)
    best = summary.best.number
    for trial, rank in sorted(zip(trials, ranks, strict=True), key=lambda pair: pair[1]):
        heights = [_height(search, path, trial) for path in paths]
        colour = _BEST if trial.number == best else _COMPLETE
        axes.plot(
            range(len(paths)),
            heights,
            color=colour,
            alpha=0.08 + 0.72 * rank,
            linewidth=2.5 if colour == _BEST else 1.2,
        )
    for place, path in enumerate(paths):
        axes.axvline(place, color=_QUIET, linewidth=0.8, zorder=0)
        for height, text in _ticks(search, path):
            axes.annotate(
                text, (place, height), xytext=(4, 0), textcoords="offset points", fontsize=7, va="center", bbox=_PAPER
            )
    axes.set_xticks(range(len(paths)), [_short(path) for path in paths], fontsize=8, rotation=20, ha="right")
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlim(-0.2, len(paths) - 0.3)
    axes.set_ylim(_NOWHERE - 0.05, 1.08)
    axes.set_title(
        f"{len(trials)} complete trials; orange is trial {best}, {summary.metric} {summary.best.value:.4f}", fontsize=10
    )
    return figure


def importance_figure(summary: StudySummary, shares: dict[str, float]) -> Figure:
    """The share of the values' variance that each parameter explains, largest at the top."""
    names = list(shares)[::-1]
    figure, axes = canvas(6.4, 1.4 + 0.42 * len(names))
    axes.barh([_short(name) for name in names], [shares[name] for name in names], color=_COMPLETE, height=0.6)
    axes.set(xlabel="share of the variance that it explains (fANOVA)", xlim=(0, 1))
    axes.set_title(f"{summary.study}: which parameters mattered", fontsize=10)
    return figure


def importances(summary: StudySummary, search: Search) -> dict[str, float]:
    """The importance of each parameter that all complete trials have (F. Hutter, H. Hoos and K. Leyton-Brown, "An
    efficient approach for assessing hyperparameter importance", 2014); empty where too few trials, or all alike.
    """
    import optuna

    complete = [trial for trial in summary.trials if trial.state == "complete"]
    if len(complete) < _FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    study = optuna.create_study(direction="minimize" if summary.minimise else "maximize")
    for trial in complete:
        study.add_trial(
            optuna.trial.create_trial(
                params={path: plain(value) for path, value in trial.values.items()},
                distributions={path: distribution(search.space[path]) for path in trial.values},
                value=trial.value,
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):  # nothing varies in all of them
        return {}
    return {path: float(share) for path, share in found.items()}


def _varied(trials: Sequence[TrialRecord], search: Search) -> list[str]:
    """The parameters that were not the same wherever they counted, in the order of the space."""
    seen: dict[str, set[str]] = {path: set() for path in search.space}
    for trial in trials:
        for path, value in trial.values.items():
            seen[path].add(repr(value))
    return [path for path, values in seen.items() if len(values) > 1]


def _ranks(values: Sequence[float], *, minimise: bool) -> list[float]:
    """From 0 for the worst to 1 for the best; equal values share a rank."""
    distinct = sorted(set(values), reverse=minimise)
    return [distinct.index(value) / max(1, len(distinct) - 1) for value in values]


def _height(search: Search, path: str, trial: TrialRecord) -> float:
    parameter = search.space[path]
    if path not in trial.values:
        return _NOWHERE
    value = trial.values[path]
    if isinstance(parameter, Choices):
        place = [repr(choice) for choice in parameter.choices].index(repr(value))
        return place / max(1, len(parameter.choices) - 1)
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low)) if high > low else 0.5


def _ticks(search: Search, path: str) -> list[tuple[float, str]]:
    parameter = search.space[path]
    below = [(_NOWHERE, "–")] if parameter.when else []
    if isinstance(parameter, Choices):
        last = max(1, len(parameter.choices) - 1)
        return below + [(place / last, _short(str(choice))) for place, choice in enumerate(parameter.choices)]
    return [*below, (0.0, f"{parameter.low:g}"), (1.0, f"{parameter.high:g}" + (" (log)" if parameter.log else ""))]


def _short(name: str) -> str:
    return name.rpartition(".")[2] if name.startswith(("train.params.", "sklearn.", "ratchet.")) else name
