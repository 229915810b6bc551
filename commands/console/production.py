"""The output of the commands on what is in Production."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from commands.console.formats import Meaning, ago, coloured, field_table, local_time, table, wide_console

if TYPE_CHECKING:
    from rich.text import Text

_NOTHING = "-"
# What an entry of the ledger did, by its kind; and the words for the states of an entry that changed nothing.
_DONE: dict[str, tuple[str, Meaning]] = {
    "promote": ("promoted", "promoted"),
    "rollback": ("rolled back", "refused"),
    "repair": ("repaired", "refused"),
    "moved": ("moved", "refused"),
}
_NOT_DONE: dict[str, tuple[str, Meaning]] = {
    "refused": ("refused", "refused"),
    "intended": ("unfinished", "failed"),
    "abandoned": ("abandoned", "failed"),
}
# The fields of ``status`` that have a line of their own at its end or are part of another one.
_ELSEWHERE = ("verdict", "kind")
_TIMES = ("since", "trained", "when")


def print_status(found: dict[str, Any]) -> None:
    """Print the version in Production, the state of continuous training, and the verdict as the last line."""
    if found["in_production"] is not None:
        what = _DONE[found["kind"]][0] if found["kind"] else ""
        shown = {key: value for key, value in found.items() if key not in _ELSEWHERE}
        shown["reason"] = f"{what}: {found['reason']}" if what else None
        shown["metrics"] = dict(_with_intervals(found["metrics"]))
        shown["loop"] = {key: _in_words(value) for key, value in found["loop"].items()}
        shown["loop"]["watcher"] = shown["loop"]["watcher"] or "none has looked yet"
        wide_console().print(field_table(_fields(shown, "")))
    print_verdict(found["model"], found["verdict"])


def print_verdict(model: str, verdict: dict[str, Any]) -> None:
    """Print in one line whether the model is healthy, or what is wrong and what to do."""
    from rich.text import Text

    if verdict["healthy"]:
        line = coloured("healthy", "promoted")
    else:
        line = Text.assemble(coloured("not healthy", "failed"), f": {'; '.join(verdict['problems'])}")
    notes = "".join(f"; {note}" for note in verdict["notes"])
    wide_console().print(Text.assemble(f"{model} is ", line, notes))


def print_lineage(found: dict[str, Any]) -> None:
    """Print where a version or a prediction comes from; the config as YAML."""
    import yaml

    content = found["config"]["content"]
    config = {key: value for key, value in found["config"].items() if key != "content"}
    shown = {key: value for key, value in found.items() if key != "promotions"} | {"config": config}
    console = wide_console()
    console.print(field_table(_fields(shown, "")))
    if found["promotions"]:
        console.print("\npromotions")
        print_history([{**entry, "to_version": found["version"]} for entry in found["promotions"]], gate=False)
    console.print("\nconfig")
    console.print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip())


def print_history(entries: list[dict[str, Any]], *, gate: bool) -> None:
    """Print the ledger, newest first, a row for each change; with ``gate`` the whole reason and the gate's checks."""
    columns = ("when", "what", "version", "who", "why")
    if not gate:
        wide_console().print(table(columns, (_change(entry) for entry in entries), cropped="why"))
        return
    rows = ((*_change(entry)[:-1], entry["reason"], _gate(entry.get("gate") or [])) for entry in entries)
    wide_console().print(table((*columns, "gate"), rows))


def print_findings(found: list[Any], left: list[Any], *, repaired: bool) -> None:
    """Print the doctor's findings, and for each the possible repair or its result."""
    if not found:
        wide_console().print(coloured("nothing is wrong", "promoted"))
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


def _change(entry: dict[str, Any]) -> tuple[str | Text, ...]:
    """Return when an entry was made, what it did, from which version to which, by whom and why."""
    known = _DONE if entry["state"] == "completed" else _NOT_DONE
    word, meaning = known[entry["kind"] if entry["state"] == "completed" else entry["state"]]
    versions = f"{entry['from_version'] or _NOTHING} → {entry['to_version']}"
    return ago(_seconds(entry["when"])), coloured(word, meaning), versions, entry["actor"], _short_reason(entry)


def _short_reason(entry: dict[str, Any]) -> str:
    """Return a user's reason, or in short what the gate decided."""
    checks = entry.get("gate") or []
    failed = [check["name"] for check in checks if not check["passed"]]
    if failed:
        return f"gate: {', '.join(failed)} failed"
    return f"gate: {len(checks)} checks passed" if checks else entry["reason"]


def _fields(values: dict[str, Any], indent: str) -> Iterator[tuple[str, str]]:
    """Yield titles and values; nested fields are indented, and a missing value is a dash."""
    for name, value in values.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield title, ""
            yield from _fields(value, f"{indent}  ")
        elif isinstance(value, list):
            yield title, "; ".join(_in_words(item) or _NOTHING for item in value) or _NOTHING
        elif name in _TIMES and value:
            yield title, _time(value)
        else:
            yield title, _NOTHING if value is None else _figure(value)


def _in_words(value: Any) -> str | None:
    """Return a record as text: ``value 0.93, rows 200, 3 min ago``; None where there is none."""
    if not isinstance(value, dict):
        return None if value is None else _figure(value)
    parts = [
        f"{name.replace('_', ' ')} {_figure(part)}"
        for name, part in value.items()
        if name not in _TIMES and part is not None
    ]
    return ", ".join([*parts, *(ago(_seconds(value[name])) for name in _TIMES if value.get(name))])


def _with_intervals(metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Yield each metric, with its interval where it has one."""
    for name, value in metrics.items():
        if name.removesuffix("_low").removesuffix("_high") != name and name.rpartition("_")[0] in metrics:
            continue
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        interval = "" if low is None or high is None else f"  ({low:.4f} to {high:.4f})"
        yield name, f"{value:.4f}{interval}"


def _figure(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _time(text: str) -> str:
    seconds = _seconds(text)
    passed = ago(seconds)
    return passed if passed == local_time(seconds) else f"{local_time(seconds)} ({passed})"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _gate(checks: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{check['name']} {'passed' if check['passed'] else 'failed'}"
        + (f" ({check['figure']:.4g})" if check["figure"] is not None else "")
        for check in checks
    )
