"""A ``dataset`` section for a process in another folder: its absolute paths and its environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SQLITE = "sqlite:///"


def located(section: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return a ``dataset`` section with absolute paths; relative ones are relative to ``root``."""
    return {key: _located(key, value, root) for key, value in section.items()}


def _located(key: str, value: Any, root: Path) -> Any:
    if isinstance(value, Mapping) and key in ("values", "labels"):  # of the source nab
        return located(value, root)
    if not isinstance(value, str):
        return value
    if key == "path":
        return str((root / value).resolve())
    if key == "url" and value.startswith(_SQLITE) and not value.startswith((f"{_SQLITE}:", f"{_SQLITE}file:")):
        return f"{_SQLITE}{(root / value.removeprefix(_SQLITE)).resolve()}"
    return value


def needed_variables(section: Mapping[str, Any], downloads: Path) -> dict[str, str]:
    """Return the environment variables for the same data in another home: the downloads, and the URL of a database."""
    variables = {"RATCHET_DOWNLOADS_DIR": str(downloads.resolve())}
    name = section.get("url_env")
    if name and name in os.environ:
        variables[str(name)] = os.environ[name]
    return variables
