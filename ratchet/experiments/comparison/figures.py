"""A comparison's figure: each config's metric with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ratchet.experiments.comparison.table import Comparison, Row
from ratchet.experiments.comparison.text import number
from ratchet.tracking.run_figures import canvas, in_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHAMPION, _OTHERS = "#D55E00", "#0072B2"


def interval_figure(comparison: Comparison) -> Figure | None:
    """Draw the metric of each config as a point with its interval, best first, and the champion's as a dashed line.

    No figure is drawn where no run has the metric.
    """
    rows = [row for row in comparison.rows if row.value is not None]
    if not rows:
        return None
    figure, axes = canvas(7.2, 1.3 + 0.5 * len(rows))
    heights = range(len(rows))[::-1]
    for height, row in zip(heights, rows, strict=True):
        colour = _CHAMPION if row.in_production else _OTHERS
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [height, height], color=colour, linewidth=2.5, alpha=0.45)
        axes.plot([row.value], [height], "o", color=colour, markersize=7)
        place = axes.get_yaxis_transform()  # x as a share of the axes, y in data
        axes.text(1.01, height, number(row.value or 0.0), transform=place, va="center", fontsize=9, color=colour)
        if row.in_production:
            axes.axvline(row.value, color=_CHAMPION, linewidth=1, linestyle="--", zorder=0)
    axes.set_yticks(list(heights), [_label(row) for row in rows], fontsize=9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(f"{comparison.metric}, {comparison.better} is better{_level(rows)}")
    axes.set_title(f"{comparison.model}: each config on its holdout", fontsize=10, loc="left")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def _label(row: Row) -> str:
    name = in_figure(row.config)
    return f"{name}\n(in Production)" if row.in_production else name


def _level(rows: Sequence[Row]) -> str:
    levels = {row.confidence for row in rows if row.confidence is not None}
    return f"; lines: {levels.pop():.0%} interval" if len(levels) == 1 else ""
