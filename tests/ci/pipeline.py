"""``.gitlab-ci.yml`` as GitLab reads it: jobs with what they extend, and the rules that say which of them run."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.conftest import ROOT

FILE = ROOT / ".gitlab-ci.yml"
SPEC: dict[str, Any] = yaml.safe_load(FILE.read_text())
_KEYWORDS = {"stages", "workflow", "default", "variables"}

SCHEDULE = {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"}
MAIN = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
BRANCH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "feature"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event"}


def tagged(tag: str) -> dict[str, str]:
    """The variables of a pipeline for a tag."""
    return {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": tag}


def resolved(name: str) -> dict[str, Any]:
    """A job with what it extends, mappings merged key by key, as GitLab does it."""
    job = SPEC[name]
    parents = job.get("extends", [])
    made: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        made = _merged(made, resolved(parent))
    return _merged(made, {key: value for key, value in job.items() if key != "extends"})


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(below[key], above[key]) for key in below.keys() & above.keys() if _mappings(below, above, key)}
    return below | above | both


def _mappings(below: dict[str, Any], above: dict[str, Any], key: str) -> bool:
    return isinstance(below[key], dict) and isinstance(above[key], dict)


JOBS = {name: resolved(name) for name in SPEC if name not in _KEYWORDS and not name.startswith(".")}


def pipeline(variables: dict[str, str]) -> dict[str, str]:
    """The jobs of the pipeline that GitLab makes for some variables, each with its ``when``; empty for no pipeline."""
    known = {"CI_DEFAULT_BRANCH": "main", **variables}
    if _first(SPEC["workflow"]["rules"], known) is None:
        return {}
    found = {name: _first(job["rules"], known) for name, job in JOBS.items()}
    return {name: when for name, when in found.items() if when is not None}


def _first(rules: list[dict[str, Any]], variables: dict[str, str]) -> str | None:
    for rule in rules:
        if _holds(rule["if"], variables):
            when = str(rule.get("when", "on_success"))
            return None if when == "never" else when
    return None


def _holds(condition: str, variables: dict[str, str]) -> bool:
    """The part of GitLab's language that the file uses: variables, ``==``, ``!=``, ``=~``, ``&&`` and ``||``."""
    return any(
        all(_compared(part.strip(), variables) for part in either.split("&&")) for either in condition.split("||")
    )


def _compared(part: str, variables: dict[str, str]) -> bool:
    match = re.fullmatch(r"\$(\w+)(?:\s*(==|!=|=~)\s*(.+))?", part)
    assert match is not None, part
    value = variables.get(match[1])
    if match[2] is None:
        return bool(value)
    if match[2] == "=~":
        return value is not None and re.search(match[3].strip("/"), value) is not None
    wanted = variables.get(match[3][1:]) if match[3].startswith("$") else match[3].strip('"')
    return (value == wanted) == (match[2] == "==")


def script(job: dict[str, Any]) -> list[str]:
    """The lines of a job's scripts."""
    return [line for part in ("before_script", "script") for line in job.get(part, [])]
