"""Export of a model as plain files: ``model.joblib``, ``schema.json`` and ``metrics.json`` in ``models/<model>``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ratchet.data import Schema
from ratchet.data.atomic_write import write_whole
from ratchet.model.package.former_names import register_former_names


def export_model(folder: Path, model: Any, schema: Schema, record: dict[str, Any]) -> None:
    """Write a model, its schema and its metrics, each file atomically.

    Parameters
    ----------
    folder: ``models/<model>``; created if it does not exist.
    model: a fitted pipeline; equal models give equal bytes.
    record: metrics, seed, timestamp, versions and so on, written as JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metrics = json.dumps(record, indent=2, sort_keys=True) + "\n"
    content = _reproducible_bytes(model)
    write_whole(folder / "model.joblib", lambda path: path.write_bytes(content))
    write_whole(folder / "schema.json", lambda path: path.write_text(schema.model_dump_json(indent=2) + "\n"))
    write_whole(folder / "metrics.json", lambda path: path.write_text(metrics))


def load_joblib(path: Path) -> Any:
    """Load ``model.joblib``, which runs the code in the file and raises any exception."""
    import joblib

    register_former_names()
    return joblib.load(path)


def _reproducible_bytes(model: Any) -> bytes:
    """Return a model in joblib's format, with equal bytes for equal models, since DVC compares their hash.

    A pickle records which equal strings are one object, which depends on the history of the process, and the nodes of a
    tree have uninitialised padding. Here equal strings are one object, and padding is zero.
    """
    from joblib.numpy_pickle import NumpyPickler

    strings: dict[str, str] = {}

    class ReproduciblePickler(NumpyPickler):  # type: ignore[misc] # joblib is not typed
        def save(self, obj: Any) -> Any:
            if type(obj) is str:
                obj = strings.setdefault(obj, obj)
            elif type(obj) is np.ndarray and obj.dtype.names:
                obj = _without_padding(obj)
            return super().save(obj)

    content = io.BytesIO()
    ReproduciblePickler(content).dump(model)
    return content.getvalue()


def _without_padding(records: npt.NDArray[Any]) -> npt.NDArray[Any]:
    clean = np.zeros(records.nbytes, np.uint8).view(records.dtype).reshape(records.shape)  # zeros_like keeps padding
    for name in records.dtype.names or ():
        clean[name] = records[name]
    return clean
