"""The figures of the serving benchmark as they stand in the documentation, made from the result file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "serving-benchmark.md"
README = ROOT / "README.md"
_BEGIN, _END = "<!-- serving benchmark: begin -->\n", "<!-- serving benchmark: end -->\n"
_SIGNS = {"at_most": "at most", "at_least": "at least"}
_COLUMNS = ("Server", "Processor time, µs", "Requests/s", "p50, ms", "p99, ms", "Start, s", "Start, processor s")

Result = Mapping[str, Any]


def write_documentation(result: Result) -> None:
    """Write the page, and the table in the README."""
    PAGE.write_text(page(result), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), result), encoding="utf-8")


def with_table(readme: str, result: Result) -> str:
    """Return the README with the table of a result between its markers."""
    before, _, rest = readme.partition(_BEGIN)
    after = rest.partition(_END)[2]
    table = _table(("Target", "Measured", "Limit"), _targets(result))
    return f"{before}{_BEGIN}{_provisional(result)}\n{table}\n{_END}{after}"


def page(result: Result) -> str:
    """Return the page with all figures of a result."""
    machine, load = result["machine"], result["load"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    parts = [
        "# Serving benchmark",
        "`benchmarks/serving.py` writes this page and `benchmarks/results/serving.json`; its docstring describes the"
        " method.",
        _provisional(result),
        f"{result['measured'][:10]}, {machine['cpu_count']} processors ({machine['cpu_model']}), Python"
        f" {machine['python']}, {versions}. {load['workers']} workers, {load['connections']} connections, medians;"
        f" rounds: {result['rounds']}.",
        "## Targets",
        _table(("Target", "Measured", "Limit"), _targets(result)),
    ]
    for model, title in result["models"].items():
        sides: Iterable[Mapping[str, Any]] = result["sides"][model].values()
        parts += [f"## {title.capitalize()}, one record a request", _table(_COLUMNS, map(_figures, sides))]
    parts.append(
        f"Processor time is that of all processes of a server, for one request. `Ratchet` has the default durability of"
        f" SQLite, `{result['durability']}`."
    )
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _provisional(result: Result) -> str:
    load, processors = result["load_average"], result["machine"]["cpu_count"]
    if load <= processors / 4:
        return ""
    return f"**Provisional**: other processes used the machine (load average {load:.1f} before the start).\n"


def _targets(result: Result) -> list[Sequence[str]]:
    return [
        (
            target["name"],
            f"{target['value']:.3g} {target['unit']}{'' if target['met'] else ' (missed)'}",
            f"{_SIGNS[target['direction']]} {target['limit']:g} {target['unit']}",
        )
        for target in result["targets"]
    ]


def _figures(side: Mapping[str, Any]) -> Sequence[str]:
    exact = ("p50_ms", "p99_ms", "start_s", "start_cpu_s")
    return (side["name"], f"{side['cpu_us']:,.0f}", f"{side['rps']:,.0f}", *(f"{side[name]:.2f}" for name in exact))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---", *["--:"] * (len(headings) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
