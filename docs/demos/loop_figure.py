"""The figure of the loop: the share of right answers along the stream, by version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loop_events import DRIFT_AT, Events

# The number of rows that a share of right answers is taken over.
WINDOW = 100
_COLOURS = ("#4b5563", "#1f77b4", "#2a9d5c", "#8e44ad", "#c47f17")


def draw(events: Events, path: Path) -> None:
    """Draw the loop into a PNG.

    Parameters
    ----------
    events: of the loop.
    path: the file, which is replaced.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 4.5), dpi=110)
    _draw_shares(axes, events.rows)
    _draw_events(axes, events)
    axes.set(xlabel="row of the stream", ylabel=f"right among the last {WINDOW} rows", ylim=(0, 1.05), xlim=(0, None))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _draw_shares(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    right = [row["prediction"] == row["truth"] for row in rows]
    shares = {
        row["index"]: sum(right[at - WINDOW + 1 : at + 1]) / WINDOW for at, row in enumerate(rows) if at >= WINDOW - 1
    }
    versions = list(dict.fromkeys(row["version"] for row in rows))
    for version, colour in zip(versions, _COLOURS * len(versions), strict=False):
        of_version = {row["index"] for row in rows if row["version"] == version}
        points = [(index, share) for index, share in shares.items() if index in of_version]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=2, label=f"answered by version {version}")


def _draw_events(axes: Any, events: Events) -> None:
    marks = [(DRIFT_AT, "drift begins"), *((event.row, event.what) for event in events.in_order)]
    for place, (row, text) in enumerate(marks):
        axes.axvline(row, color="#9ca3af", linestyle="--", linewidth=1)
        axes.annotate(text, (row, 0.44 - 0.06 * place % 0.3), xytext=(5, 0), textcoords="offset points", fontsize=9)
