"""The output of ``simulate`` on the terminal."""

from __future__ import annotations

from commands.console.formats import table, wide_console
from simulation.report import Report, Segment


def print_report(report: Report) -> None:
    """Print the metrics of each phase by version, the totals, and the reasons of refusals."""
    names = list(report.segments[0].figures) if report.segments else []
    titles = ("phase", "rows", "version", "answers", "labels", *names, "median ms")
    console = wide_console()
    console.print(table(titles, map(_cells, report.segments), right=titles[3:]))
    console.print(_totals(report))
    for reason in report.refusals:
        console.print(f"refused: {reason}")


def _cells(segment: Segment) -> tuple[str, ...]:
    return (
        segment.phase,
        f"{segment.first} to {segment.last}",
        segment.version,
        str(segment.rows),
        str(segment.labels),
        *(f"{value:.4f}" for value in segment.figures.values()),
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
