"""What a person sees of a simulation at its end."""

from __future__ import annotations

import sys

from simulation.report import Report, Segment


def print_report(report: Report) -> None:
    """How good the answers were in each phase, by version, and what was refused."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2))
    names = list(report.segments[0].figures) if report.segments else []
    for title in ("phase", "rows", "version", "answers", "labels", *names, "median ms"):
        table.add_column(title, no_wrap=True)
    for segment in report.segments:
        table.add_row(*_cells(segment))
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(_totals(report))
    for reason in report.refusals:
        console.print(f"refused: {reason}")


def _cells(segment: Segment) -> tuple[str, ...]:
    figures = (f"{value:.4f}" for value in segment.figures.values())
    rows = f"{segment.first} to {segment.last}"
    return (
        segment.phase,
        rows,
        segment.version,
        str(segment.rows),
        str(segment.labels),
        *figures,
        f"{segment.latency_ms:.1f}",
    )


def _totals(report: Report) -> str:
    refused = f", {report.refused} refused" if report.refused else ""
    labels_refused = f", {report.labels_refused} refused" if report.labels_refused else ""
    ended = "ended early: " if report.interrupted else ""
    return (
        f"{ended}{report.rows} rows answered{refused}, {report.labels} labels taken{labels_refused},"
        f" in {report.seconds:.1f} s"
    )
