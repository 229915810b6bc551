"""The figures of a run, drawn without a display and without pyplot's global state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ratchet.model.evaluation import Evaluation

# More points do not make the figure clearer.
MOST_POINTS = 2000
# Characters of a name in a figure.
_LONGEST = 24
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix of a classification, with the counts in the cells."""
    from sklearn.metrics import ConfusionMatrixDisplay

    labels = [in_figure(label) for label in evaluation.labels or ()]
    side = max(3.6, 0.7 * len(labels) + 1.8)
    figure, axes = canvas(side + 0.6, side)
    display = ConfusionMatrixDisplay(np.array(evaluation.confusion), display_labels=labels)
    display.plot(ax=axes, cmap="Blues", colorbar=False, xticks_rotation=45 if len(labels) > 3 else 0)
    axes.set_title(
        f"{evaluation.primary_metric} {evaluation.primary:.3f} on {evaluation.n_rows} held-out rows", fontsize=10
    )
    return figure


def features_figure(features: pd.DataFrame, target: pd.Series[Any]) -> Figure:
    """Draw rows by their first two embedded features, coloured by target."""
    shown = features.iloc[:MOST_POINTS]
    values = target.iloc[:MOST_POINTS]
    x, y = shown.columns[0], shown.columns[min(1, shown.shape[1] - 1)]
    figure, axes = canvas(5.2, 4)
    if values.dtype == "float64":
        points = axes.scatter(shown[x], shown[y], c=values, s=12, cmap="viridis")
        figure.colorbar(points, ax=axes, label=in_figure(target.name))
    else:
        for i, label in enumerate(sorted(values.unique())):
            at = values == label
            colour, name = _COLOURS[i % len(_COLOURS)], in_figure(label)
            axes.scatter(shown.loc[at, x], shown.loc[at, y], s=14, alpha=0.8, color=colour, label=name)
        axes.legend(title=in_figure(target.name), fontsize=8, title_fontsize=8)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(f"{len(shown)} rows, embedded", fontsize=10)
    return figure


def in_figure(text: object) -> str:
    """Return a name as text of a figure: printable, at most 24 characters, and no formula for matplotlib.

    A legend leaves out labels with a leading underscore, and the font lacks characters beyond the first plane, such as
    emoji.
    """
    shown = "".join(c if c.isprintable() and c <= "\uffff" else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    shown = shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$")


def canvas(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure of a size in inches and its axes, without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
