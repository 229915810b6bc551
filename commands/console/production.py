"""The output of the commands on what is in Production."""

from __future__ import annotations

from typing import Any

from commands.console.formats import field_table, table, wide_console


def print_fields(values: dict[str, Any]) -> None:
    """Print a mapping as a table; nested fields are indented, and a missing value is a dash."""
    fields = field_table()
    _add_fields(fields, values, "")
    wide_console().print(fields)


def print_history(entries: list[dict[str, Any]]) -> None:
    """Print the ledger, newest first: when, what, from, to, who, why, and the gate's metrics."""
    titles = ("when", "what", "from", "to", "who", "why", "gate")
    wide_console().print(table(titles, map(_history_cells, entries)))


def print_findings(found: list[Any], left: list[Any], *, repaired: bool) -> None:
    """Print the doctor's findings, and for each the possible repair or its result."""
    if not found:
        print("nothing is wrong")
    for finding in found:
        print(f"{finding.code}: {finding.explanation}")
        if finding.is_note:
            print("  a note: nothing has to be repaired")
        elif not finding.repair:
            print("  no automatic repair: it has to be fixed by hand")
        elif not repaired:
            print(f"  repair: {finding.repair}")
        else:
            print(f"  {'not repaired' if finding.code in {f.code for f in left} else 'repaired'}: {finding.repair}")
    if not repaired and any(finding.repair for finding in found):
        print("repair it with: python run.py doctor --repair")


def print_machines(found: list[Any], differing: list[str]) -> None:
    """Print the homes that use the store, and what they have to share and do not."""
    if not found:
        print("the store is in this home, and no other machine uses it: RATCHET_DATABASE_URL is not set")
    for machine in found:
        print(f"{machine.name}, registered {machine.when}")
    for line in differing:
        print(f"not shared: {line}")
    if found and not differing:
        print("nothing differs")


def print_reproduction(result: Any) -> None:
    """Print whether the second training gave the same model, what differs, and what has changed since the first."""
    verdict = "identical" if result.identical else "not identical"
    print(f"{result.model} version {result.version}: {verdict}")
    for title in ("differences", "changed", "notes"):
        for line in getattr(result, title):
            print(f"  {title.rstrip('s')}: {line}")


def _add_fields(table: Any, values: dict[str, Any], indent: str) -> None:
    for name, value in values.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            table.add_row(title, "")
            _add_fields(table, value, f"{indent}  ")
        elif isinstance(value, list):
            table.add_row(title, "" if value else "-")
            for item in value:
                table.add_row(
                    "", ", ".join(f"{k}: {v}" for k, v in item.items()) if isinstance(item, dict) else str(item)
                )
        else:
            table.add_row(title, "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value))


def _history_cells(entry: dict[str, Any]) -> tuple[str, ...]:
    what = entry["kind"] if entry["state"] == "completed" else f"{entry['kind']} ({entry['state']})"
    versions = (entry["from_version"] or "-", entry["to_version"])
    return entry["when"], what, *versions, entry["actor"], entry["reason"], _gate(entry["gate"] or [])


def _gate(checks: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{check['name']} {'passed' if check['passed'] else 'failed'}"
        + (f" ({check['figure']:.4g})" if check["figure"] is not None else "")
        for check in checks
    )
