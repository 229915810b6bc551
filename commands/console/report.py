"""The output of ``report`` on the terminal."""

from __future__ import annotations

from typing import Any

from commands.console.formats import field_table, link, wide_console


def print_report(drawn: Any) -> None:
    """Print the results of a report and where it is, or that there is nothing to report on."""
    wide_console().print(
        field_table(
            (title, link(text, drawn.mlflow_url) if title == "MLflow run" else text) for title, text in drawn.fields
        )
    )
