"""Text in the Markdown that MLflow's pages show: descriptions of runs and versions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ratchet.tracking.connection import NOTE

if TYPE_CHECKING:
    from mlflow.entities import RunTag

# MLflow's limit of a version's description on PostgreSQL, in characters.
_LONGEST = 5000
_SPECIAL = re.compile(r"([\\`*<>\[\]|~])")


def escaped(text: object) -> str:
    """Return a text as one line that Markdown and HTML do not interpret."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def description(*parts: str) -> str:
    """Return paragraphs as a description, without the last ones where it would be too long for MLflow."""
    whole = ""
    for part in filter(None, parts):
        longer = f"{whole}\n\n{part}" if whole else part
        if len(longer) > _LONGEST:
            break
        whole = longer
    return whole


def run_note(text: str) -> RunTag:
    """Return the tag of a run that its page shows as its description."""
    from mlflow.entities import RunTag

    return RunTag(NOTE, text)
