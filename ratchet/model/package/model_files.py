"""Files for people who want files: ``model.joblib``, ``schema.json`` and ``metrics.json`` in ``models/<model>``."""

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
    """Write the model, its schema and its figures, each file whole or not at all.

    Parameters
    ----------
    folder: ``models/<model>``; made if it is not there.
    model: a fitted pipeline; equal models give equal bytes.
    schema: what it takes.
    record: metrics, seed, timestamp, versions and so on; written as JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = json.dumps(record, indent=2, sort_keys=True) + "\n"
    content = _settled(model)
    write_whole(folder / "model.joblib", lambda path: path.write_bytes(content))
    write_whole(folder / "schema.json", lambda path: path.write_text(schema.model_dump_json(indent=2) + "\n"))
    write_whole(folder / "metrics.json", lambda path: path.write_text(figures))


def load_joblib(path: Path) -> Any:
    """Load ``model.joblib``, which runs the code that is in the file; whatever that raises is raised here."""
    import joblib

    register_former_names()
    return joblib.load(path)


def _settled(model: Any) -> bytes:
    """A model's bytes in joblib's form, the same for the same model: DVC compares their hash.

    A pickle also says which equal texts are one object in memory, which depends on what the process did before, and a
    tree's nodes have unused bytes between them, which hold anything. Here equal texts are one, and such bytes are zero.
    """
    from joblib.numpy_pickle import NumpyPickler

    texts: dict[str, str] = {}

    class Settling(NumpyPickler):  # type: ignore[misc]
        def save(self, obj: Any) -> Any:
            if type(obj) is str:
                obj = texts.setdefault(obj, obj)
            elif type(obj) is np.ndarray and obj.dtype.names:
                obj = _without_padding(obj)
            return super().save(obj)

    content = io.BytesIO()
    Settling(content).dump(model)
    return content.getvalue()


def _without_padding(records: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # np.zeros_like would leave the bytes between the fields as it found them.
    clean = np.zeros(records.nbytes, np.uint8).view(records.dtype).reshape(records.shape)
    for name in records.dtype.names or ():
        clean[name] = records[name]
    return clean
