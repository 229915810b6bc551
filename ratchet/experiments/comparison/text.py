"""A comparison in words: the cells that the terminal and the Markdown page share, and the page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ratchet.experiments.comparison.table import Comparison, Row

NOTHING = "–"
_SECTION = re.compile(r"^(train\.params\.|train\.|embed\.)")
_BYTES = ("B", "kB", "MB", "GB")


def titles(comparison: Comparison) -> tuple[str, ...]:
    """The heads of the columns."""
    return (
        "config",
        "parameters that differ",
        f"{comparison.metric} ({'less' if comparison.less_is_better else 'more'} is better)",
        "training",
        "size",
        "latency",
        "verdict",
    )


def cells(row: Row, names: dict[str, str], line_end: str) -> tuple[str, ...]:
    """One row as text.

    Parameters
    ----------
    row: of a comparison.
    names: how each parameter is called.
    line_end: stands between two parameters.
    """
    return (
        row.config,
        line_end.join(f"{names[key]} {short_value(value)}" for key, value in row.parameters.items()) or NOTHING,
        figure(row),
        seconds(row.training_seconds),
        size(row.package_bytes),
        NOTHING if row.latency_ms is None else f"{row.latency_ms:.3f} ms",
        row.verdict,
    )


def figure(row: Row) -> str:
    """The metric with its interval: ``0.9333 (0.8231 to 1.0000)``."""
    if row.value is None:
        return NOTHING
    interval = "" if row.low is None or row.high is None else f" ({number(row.low)} to {number(row.high)})"
    return number(row.value) + interval


def number(value: float) -> str:
    """Four digits after the point, less for what is large."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def seconds(value: float | None) -> str:
    """A duration in the unit that fits."""
    if value is None:
        return NOTHING
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def size(value: int | None) -> str:
    """A size in the unit that fits, in powers of 1000."""
    if value is None:
        return NOTHING
    amount, step = float(value), 0
    while amount >= 1000 and step < len(_BYTES) - 1:
        amount, step = amount / 1000, step + 1
    return f"{amount:.0f} {_BYTES[step]}" if step < 2 else f"{amount:.1f} {_BYTES[step]}"


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Parameters without the section that they stand in, unless two would be called the same."""
    short = {key: _SECTION.sub("", key) for key in keys}
    often = Counter(short.values())
    return {key: name if often[name] == 1 else key for key, name in short.items()}


def short_value(value: str) -> str:
    """An estimator by its class alone: ``SVC`` for ``sklearn.svm.SVC``."""
    words = value.split(".")
    return words[-1] if len(words) > 1 and all(word.isidentifier() for word in words) else value


def conclusions(comparison: Comparison) -> Iterable[str]:
    """What stands below the table: why each was let in or refused, and what limits the comparison."""
    for row in comparison.rows:
        if row.why:
            yield f"{row.config}: {row.verdict.partition(':')[0]}: {row.why}"
    for note in comparison.notes:
        yield f"note: {note}"


def markdown(comparison: Comparison, pictures: Sequence[str] = ()) -> str:
    """The comparison as a page.

    Parameters
    ----------
    comparison: what it shows.
    pictures: files beside the page that it shows too.
    """
    names, head = short_names(comparison.parameters), titles(comparison)
    lines = [f"# {comparison.model}: {comparison.metric} of {len(comparison.rows)} configs", ""]
    lines += [_line(head), _line("---" for _ in head)]
    lines += [_line(_escaped(cell) for cell in cells(row, names, "\n")) for row in comparison.rows]
    lines += ["", *(f"- {line}" for line in conclusions(comparison))]
    lines += ["", f"[The same runs in MLflow]({comparison.url})"]
    for picture in pictures:
        lines += ["", f"![{picture.partition('.')[0].replace('_', ' ')}]({picture})"]
    return "\n".join(lines) + "\n"


def _line(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", "<br>")
