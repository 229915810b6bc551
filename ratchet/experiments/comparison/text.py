"""A comparison as text: the cells that the terminal and the Markdown page share, and the page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.filesize import decimal

from ratchet.experiments.comparison.table import Comparison, Row
from ratchet.tracking.markdown import escaped

NOTHING = "–"
_SECTION = re.compile(r"^(train\.params\.|train\.|embed\.)")


def titles(comparison: Comparison) -> tuple[str, ...]:
    """Return the titles of the columns."""
    metric = f"{comparison.metric} ({comparison.better} is better)"
    return "config", "parameters that differ", metric, "training", "size", "latency", "verdict"


def cells(row: Row, names: dict[str, str]) -> tuple[str, ...]:
    """Return the cells of a row; ``names`` has a short name for each parameter."""
    return (
        row.config,
        "\n".join(f"{names[key]} {short_value(value)}" for key, value in row.parameters.items()) or NOTHING,
        metric_with_interval(row),
        duration(row.training_seconds),
        NOTHING if row.package_bytes is None else decimal(row.package_bytes),
        NOTHING if row.latency_ms is None else f"{row.latency_ms:.3f} ms",
        row.verdict,
    )


def metric_with_interval(row: Row) -> str:
    """Return the metric with its interval: ``0.9333 (0.8231 to 1.0000)``."""
    if row.value is None:
        return NOTHING
    interval = "" if row.low is None or row.high is None else f" ({number(row.low)} to {number(row.high)})"
    return number(row.value) + interval


def number(value: float) -> str:
    """Return a number with four decimals, or one where it is 100 or more."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def duration(seconds: float | None) -> str:
    """Return a duration in milliseconds or seconds."""
    if seconds is None:
        return NOTHING
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return parameters' names without the section of the config, unless two names would be equal."""
    short = {key: _SECTION.sub("", key) for key in keys}
    occurrences = Counter(short.values())
    return {key: name if occurrences[name] == 1 else key for key, name in short.items()}


def short_value(value: str) -> str:
    """Return the class of an estimator's path: ``SVC`` for ``sklearn.svm.SVC``; other values as they are."""
    words = value.split(".")
    return words[-1] if len(words) > 1 and all(word.isidentifier() for word in words) else value


def conclusions(comparison: Comparison) -> Iterable[str]:
    """Yield the lines below the table: the gate's reason for each row, and the limits of the comparison."""
    for row in comparison.rows:
        if row.why:
            yield f"{row.config}: {row.verdict.partition(':')[0]}: {row.why}"
    for note in comparison.notes:
        yield f"note: {note}"


def markdown(comparison: Comparison, pictures: Sequence[str] = ()) -> str:
    """Return the comparison as a page that shows pictures of its own folder."""
    names, head = short_names(comparison.parameters), titles(comparison)
    lines = [f"# {comparison.model}: {comparison.metric} of {len(comparison.rows)} configs", ""]
    lines += [_line(head), _line("---" for _ in head)]
    lines += [_line(map(_cell, cells(row, names))) for row in comparison.rows]
    lines += ["", *(f"- {escaped(line)}" for line in conclusions(comparison))]
    lines += ["", f"[The same runs in MLflow]({comparison.url})"]
    for picture in pictures:
        lines += ["", f"![{picture.partition('.')[0]}]({picture})"]
    return "\n".join(lines) + "\n"


def _line(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"


def _cell(text: str) -> str:
    return "<br>".join(map(escaped, text.split("\n")))
