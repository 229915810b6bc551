"""One table of every claim of speed: the targets of all ``benchmarks/results/*.json``.

Run as ``.venv/bin/python benchmarks/table.py``; ``make bench`` does so after the last benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from measure import RESULTS
from rich.console import Console
from rich.table import Table

_SIGNS = {"at_most": "≤", "at_least": "≥"}


def targets_table(results: Iterable[Mapping[str, Any]]) -> Table:
    """The targets of result files, a row each, in the order they come in."""
    table = Table("benchmark", "target", title="Targets")
    for heading in ("measured", "asked for", "met"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        for target in result["targets"]:
            table.add_row(result["script"], *_cells(target))
    return table


def _cells(target: Mapping[str, Any]) -> tuple[str, str, str, str]:
    unit = target["unit"]
    asked = f"{_SIGNS[target['direction']]} {target['limit']:g} {unit}"
    return target["name"], f"{target['value']:.3g} {unit}", asked, "[green]yes" if target["met"] else "[red]no"


def main() -> None:
    """Print the table."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    Console(highlight=False).print(targets_table(results) if results else "no results yet: run `make bench`")


if __name__ == "__main__":
    main()
