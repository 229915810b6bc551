"""Files for people who want files: ``model.joblib``, ``schema.json`` and ``metrics.json`` in ``models/<model>``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ratchet.datasets import Schema
from ratchet.whole_files import write_whole


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
    figures = json.dumps(record, indent=2, sort_keys=True) + "\n"
    write_whole(folder / "model.joblib", lambda path: joblib.dump(model, path))
    write_whole(folder / "schema.json", lambda path: path.write_text(schema.model_dump_json(indent=2) + "\n"))
    write_whole(folder / "metrics.json", lambda path: path.write_text(figures))
