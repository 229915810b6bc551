"""The description of a challenger in MLflow: what its run's page and its version's page say about it, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratchet.tracking.markdown import description, escaped

# Characters of a check's reason.
_LONGEST_REASON = 300


def describe_challenger(model: str, decision: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return the metric with its interval, the decision with its reasons, the data, and the commands.

    Parameters
    ----------
    decision: the fields of a ``Promotion``.
    record: metrics and lineage, as in the run's ``model_record.json``; one of an earlier release lacks some keys.
    """
    version = decision["version"]
    return description(
        f"{decision['outcome'].capitalize()} with {_metric(record)}",
        _short(decision["reason"]),
        _origin(record),
        _commands(model, version),
        _checks(decision),
    )


def _metric(record: Mapping[str, Any]) -> str:
    metric = record["primary_metric"]
    low, high = record["confidence_interval"]
    level = f"{record['confidence']:.0%} interval" if "confidence" in record else "interval"
    rows = f", {record['holdout_rows']} held-out rows" if "holdout_rows" in record else ""
    return f"{metric} {record['metrics'][metric]:.4f} ({level} {low:.4f} to {high:.4f}{rows})"


def _origin(record: Mapping[str, Any]) -> str:
    kind = "snapshot" if record.get("snapshot") else "version"
    dirty = " with uncommitted changes" if record["git_dirty"] else ""
    found = [f"- data {kind}: `{record['data_version']}`", f"- commit: `{record['git_commit']}`{dirty}"]
    if record.get("study"):
        found.append(f"- found by trial {record['trial']} of the study {escaped(record['study'])}")
    if record.get("warm_start"):
        found.append(f"- continued from version {record['warm_start']}")
    return "\n".join(found)


def _commands(model: str, version: str) -> str:
    return "\n".join(
        (
            "```",
            f"python run.py serve --model {model}            # the version in Production",
            f"python run.py reproduce {version} --model {model}      # trains it again and compares",
            f"python run.py lineage {version} --model {model}        # where it comes from",
            "```",
        )
    )


def _checks(decision: Mapping[str, Any]) -> str:
    lines = [
        f"| {check['name']} | {'passed' if check['passed'] else '**failed**'} | {_short(check['reason'])} |"
        for check in decision["checks"]
    ]
    return "\n".join(("| check | result | reason |", "| --- | --- | --- |", *lines)) if lines else ""


def _short(reason: str) -> str:
    shown = reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
    return escaped(shown)
