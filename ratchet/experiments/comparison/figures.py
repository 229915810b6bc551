"""A comparison in pictures: the metric with its interval, and the parameters as parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ratchet.experiments.comparison.table import Comparison, Row
from ratchet.experiments.comparison.text import number, short_names, short_value
from ratchet.tracking.run_figures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More axes than this cannot be read beside each other.
MOST_AXES = 8
_CHAMPION, _OTHERS, _QUIET = "#D55E00", "#0072B2", "#888888"
# Beyond this ratio of largest to smallest, a parameter is drawn on a logarithmic axis.
_WIDE = 50
_NOWHERE = -0.12


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Every picture that a comparison gives, by the name of its file; those without anything to show are left out."""
    drawn = {}
    measured = [row for row in comparison.rows if row.value is not None]
    if measured:
        drawn["comparison.png"] = interval_figure(comparison, measured)
    if len(measured) > 1 and comparison.parameters:
        drawn["parallel_coordinates.png"] = parallel_figure(comparison, measured)
    return drawn


def interval_figure(comparison: Comparison, rows: Sequence[Row]) -> Figure:
    """The metric of each config as a point with its interval, the best at the top; the champion has a line.

    Parameters
    ----------
    comparison: what it is about.
    rows: those of it that have the metric, at least one.
    """
    figure, axes = canvas(7.2, 1.3 + 0.5 * len(rows))
    places = range(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        colour = _CHAMPION if row.in_production else _OTHERS
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2.5, alpha=0.45)
        axes.plot([row.value], [place], "o", color=colour, markersize=7)
        axes.annotate(
            number(row.value or 0.0),
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=colour,
        )
        if row.in_production:
            axes.axvline(row.value, color=_CHAMPION, linewidth=1, linestyle="--", zorder=0)
    axes.set_yticks(list(places), [_label(row) for row in rows], fontsize=9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(f"{comparison.metric}, {'less' if comparison.less_is_better else 'more'} is better{_level(rows)}")
    axes.set_title(f"{comparison.model}: each config on its holdout", fontsize=10, loc="left")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def parallel_figure(comparison: Comparison, rows: Sequence[Row]) -> Figure:
    """The parameters that differ as parallel axes, one line for each config, the metric as colour and last axis.

    A parameter that a config does not have is drawn below its axis.

    Parameters
    ----------
    comparison: what it is about.
    rows: those of it that have the metric, at least two.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    names = short_names(comparison.parameters)
    shown = telling_parameters(comparison, rows)
    axes_of = [_scale(names[key], [row.parameters.get(key) for row in rows]) for key in shown]
    better = "less" if comparison.less_is_better else "more"
    axes_of.append(_numeric(f"{comparison.metric}\n({better} is better)", [row.value for row in rows]))
    values = [row.value or 0.0 for row in rows]
    spread = Normalize(min(values), max(values))
    palette = colormaps["viridis_r" if comparison.less_is_better else "viridis"]
    longest = max(len(written) for scale in axes_of[1:] for written in scale.ticks.values())
    figure, axes = canvas(max(6.0, max(1.6, 0.075 * longest + 0.3) * len(axes_of) + 2.2), 4.2)
    for i in reversed(range(len(rows))):
        heights = [scale.heights[i] for scale in axes_of]
        colour = palette(0.92 * spread(values[i]) if max(values) > min(values) else 0.5)
        width = 3.0 if rows[i].in_production else 1.8
        axes.plot(range(len(axes_of)), heights, color=colour, linewidth=width, marker="o", markersize=4, alpha=0.9)
    for place, scale in enumerate(axes_of):
        _draw_axis(axes, place, scale)
    _name_lines(axes, len(axes_of) - 1, rows, axes_of[-1].heights)
    axes.set_xlim(-0.35, len(axes_of) - 0.6)
    lowest = min(height for scale in axes_of for height in scale.heights)
    axes.set_ylim(min(0.0, lowest) - 0.08, 1.06)
    axes.set_xticks(range(len(axes_of)), [scale.name for scale in axes_of], fontsize=9)
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    rest = len(comparison.parameters) - len(shown)
    more = f" ({rest} more are not shown)" if rest else ""
    axes.set_title(f"{comparison.model}: parameters and {comparison.metric}{more}", fontsize=10, loc="left")
    return figure


def telling_parameters(comparison: Comparison, rows: Sequence[Row]) -> tuple[str, ...]:
    """The parameters that get an axis: those with at least two values beside "not set", or else all; never too many.

    One that a single estimator has, with one value, says no more than the axis of the estimator does.
    """
    telling = [key for key in comparison.parameters if len({row.parameters.get(key) for row in rows} - {None}) > 1]
    return tuple(telling or comparison.parameters)[:MOST_AXES]


@dataclass(frozen=True)
class _Scale:
    """One vertical axis: the height of each row on it, 0 to 1, and what is written at which height."""

    name: str
    heights: tuple[float, ...]
    ticks: dict[float, str]


def _scale(name: str, values: Sequence[str | None]) -> _Scale:
    try:
        numbers = [None if value is None else float(value) for value in values]
    except ValueError:
        return _categories(name, values)
    finite = all(value is None or math.isfinite(value) for value in numbers)
    return _numeric(name, numbers) if finite else _categories(name, values)


def _numeric(name: str, values: Sequence[float | None]) -> _Scale:
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    logarithmic = low > 0 and high / low >= _WIDE

    def height(value: float) -> float:
        if high == low:
            return 0.5
        if logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    heights = tuple(_NOWHERE if value is None else height(value) for value in values)
    ticks = {height(value): f"{value:.4g}" for value in (low, high)}
    return _Scale(f"{name}\n(log)" if logarithmic else name, heights, _with_nowhere(ticks, heights))


def _categories(name: str, values: Sequence[str | None]) -> _Scale:
    known = sorted({value for value in values if value is not None})
    at = {value: i / (len(known) - 1) if len(known) > 1 else 0.5 for i, value in enumerate(known)}
    heights = tuple(_NOWHERE if value is None else at[value] for value in values)
    return _Scale(name, heights, _with_nowhere({at[value]: short_value(value) for value in known}, heights))


def _with_nowhere(ticks: dict[float, str], heights: Sequence[float]) -> dict[float, str]:
    return {**ticks, _NOWHERE: "not set"} if _NOWHERE in heights else ticks


def _draw_axis(axes: Any, place: int, scale: _Scale) -> None:
    axes.plot([place, place], [0, 1], color=_QUIET, linewidth=1, zorder=0)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
    for height, written in scale.ticks.items():
        quiet = height == _NOWHERE
        axes.annotate(
            written,
            (place, height),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            color=_QUIET if quiet else "black",
            style="italic" if quiet else "normal",
            bbox=box,
        )


def _name_lines(axes: Any, place: int, rows: Sequence[Row], heights: Sequence[float]) -> None:
    """Write the configs beside the last axis, from the bottom up and never one over the other."""
    gap, free = 0.07, -math.inf
    for row, height in sorted(zip(rows, heights, strict=True), key=lambda pair: pair[1]):
        free = max(height, free + gap)
        axes.annotate(
            _label(row, " "),
            (place, height),
            xytext=(place + 0.12, free),
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _QUIET, "linewidth": 0.6, "relpos": (0, 0.5)},
        )


def _label(row: Row, space: str = "\n") -> str:
    return f"{row.config}{space}(in Production)" if row.in_production else row.config


def _level(rows: Sequence[Row]) -> str:
    levels = {row.confidence for row in rows if row.confidence is not None}
    return f"; lines: {next(iter(levels)):.0%} interval" if len(levels) == 1 else ""
