"""A study's figures, drawn by Optuna."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ratchet.experiments.tuning.samplers import without_experimental_warnings
from ratchet.experiments.tuning.summary import StudySummary

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study

# Figures of the parameters show nothing with fewer complete trials.
_FEWEST = 4


def figures(study: Study, summary: StudySummary) -> dict[str, Figure]:
    """Return a study's figures by file name: its history, and with enough trials its parameters."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as plots

    # Optuna changes pyplot's style for the whole process; the context restores it.
    with without_experimental_warnings(), pyplot.style.context({"figure.constrained_layout.use": True}):
        history = plots.plot_optimization_history(study, target_name=summary.metric)
        if summary.baseline.value is not None:
            history.axhline(summary.baseline.value, color="black", linestyle="--", label="Baseline")
            history.legend()
        drawn: dict[str, Any] = {"history.png": history.figure}
        if varied := _varied(summary):
            kinds: dict[str, Callable[..., Any]] = {
                "importances.png": plots.plot_param_importances,
                "parallel_coordinates.png": plots.plot_parallel_coordinate,
            }
            for name, plot in kinds.items():
                drawn[name] = plot(study, params=varied, target_name=summary.metric).figure
                drawn[name].set_size_inches(4 + 1.5 * len(varied), 5)
        pyplot.close("all")
    return drawn


def _varied(summary: StudySummary) -> list[str]:
    """Return the parameters that the complete trials vary; none where too few are complete or all values are equal."""
    complete = [trial for trial in summary.trials if trial.state == "complete"]
    if len(complete) < _FEWEST or len({trial.value for trial in complete}) < 2:
        return []
    seen: dict[str, set[str]] = {}
    for trial in complete:
        for path, value in trial.values.items():
            seen.setdefault(path, set()).add(repr(value))
    return [path for path, values in seen.items() if len(values) > 1]
