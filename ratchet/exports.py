"""Files for people who want files: ``model.joblib``, ``schema.json`` and ``metrics.json`` in ``models/<model>``."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ratchet.datasets import Schema


def export_model(folder: Path, model: Any, schema: Schema, record: dict[str, Any]) -> None:
    """Write the model, its schema and its figures, each file whole or not at all.

    Parameters
    ----------
    folder: ``models/<model>``; made if it is not there.
    model: a fitted pipeline.
    schema: what it takes.
    record: metrics, seed, timestamp, versions and so on; written as JSON.
    """
    import joblib

    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "model.joblib", lambda path: joblib.dump(model, path))
    _replace(folder / "schema.json", lambda path: path.write_text(schema.model_dump_json(indent=2) + "\n"))
    _replace(folder / "metrics.json", lambda path: path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n"))


def _replace(target: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the target and rename over it, so that a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    os.close(handle)
    try:
        write(Path(name))
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
