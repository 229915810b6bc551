"""The file of a data set, which DVC tracks and whose hash is the ``data_version`` of every run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ratchet.config import Dataset
from ratchet.data import Source, open_source
from ratchet.data.atomic_write import write_whole
from ratchet.data.fingerprint import canonical_csv, file_version
from ratchet.errors import DataError, StateError, one_line

_DATASET: TypeAdapter[Any] = TypeAdapter(Dataset)


@dataclass(frozen=True)
class Materialised:
    """The state of a data set's file.

    Attributes
    ----------
    version: the MD5 of its bytes.
    rows: the number of rows; None where they were not read.
    written: whether this call wrote the file.
    """

    version: str
    rows: int | None
    written: bool


def file_name(config: Dataset, folder: Path, name: str) -> Path:
    """Return the path of a data set's file: its own, else in ``folder`` by its name, else by ``name``."""
    own: Path | None = getattr(config, "path", None)
    if own is not None:
        return own
    file: Path | None = getattr(open_source(config), "file", None)
    return folder / f"{getattr(config, 'name', None) or name}{file.suffix if file else '.csv'}"


def materialise(
    config: Dataset, path: Path, *, recorded: str | None = None, force: bool = False, write: bool = True
) -> Materialised:
    """Ensure that the file of a data set exists and that its MD5 is the version of the source.

    A source that is a file (CSV, TSV, Parquet) is left in its place. A download is copied; other sources (bundled,
    generated, a query) are written as CSV.

    Parameters
    ----------
    path: from ``file_name``; its folder is created if missing.
    recorded: the hash that DVC has for this data set, None where it has none.
    force: replace a file with other bytes, and accept data with another hash than ``recorded``.
    write: whether the file may be written.

    Raises
    ------
    DataError: the data cannot be read, have another hash than ``recorded``, or the file has other bytes.
    StateError: the file cannot be written.
    """
    source = open_source(config)
    version = source.version()
    if recorded not in (None, version) and not force:
        raise DataError(
            f"{path}: the source gives data with the hash {version}, and DVC has recorded {recorded}: another version"
            " of a library or of the code produces other data. Run dvc pull for the recorded data, or accept the new"
            " data with --force and then dvc commit -f"
        )
    existing = file_version(path) if path.is_file() else None
    if existing == version:
        return Materialised(version, None, written=False)
    if existing is not None and not force:
        raise DataError(
            f"{path}: its hash is {existing}, and the source gives {version}: run dvc checkout {path} for the file that"
            " DVC tracks, or replace it with --force"
        )
    if not write:
        raise DataError(f"{path}: there is no such file; leave out --check to write it, or run dvc pull {path}")
    rows = _write(source, path)
    found = file_version(path)
    if found != version:
        raise DataError(f"{path}: changed while it was written: its hash is {found}, the source gives {version}")
    return Materialised(version, rows, written=True)


def recorded_version(root: Path, path: Path, config: Dataset) -> str | None:
    """Return the hash that DVC has for a file, from ``<file>.dvc`` or ``dvc.lock``; None where it has none.

    A hash in ``dvc.lock`` counts if the stage was run with the same ``dataset`` section.

    Raises
    ------
    DataError: one of DVC's files cannot be read.
    """
    tracked = path.with_name(f"{path.name}.dvc")
    if tracked.is_file():
        return next((str(out["md5"]) for out in _yaml(tracked).get("outs", []) if out["path"] == path.name), None)
    stages = _yaml(root / "dvc.lock").get("stages", {}) if (root / "dvc.lock").is_file() else {}
    for stage in stages.values():
        sections = [params.get("dataset") for params in stage.get("params", {}).values()]
        for out in stage.get("outs", []):
            is_file = Path(out["path"]).name == path.name and "md5" in out
            if is_file and any(_is_same(section, config) for section in sections):
                return str(out["md5"])
    return None


def _is_same(section: Any, config: Dataset) -> bool:
    try:
        return bool(_DATASET.validate_python(section) == config)
    except ValidationError:
        return False


def _yaml(path: Path) -> dict[str, Any]:
    """Read YAML 1.2, which DVC writes: ``yes`` and ``off`` are text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(path) or {}
    except (OSError, YAMLError) as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from None


def _write(source: Source, target: Path) -> int | None:
    """Write the data of a source; return the number of rows, None for a copied file."""
    file: Path | None = getattr(source, "file", None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if file is not None:
            write_whole(target, lambda path: shutil.copyfile(file, path))
            return None
        frame = source.read()
        write_whole(target, lambda path: path.write_bytes(canonical_csv(frame)))
    except OSError as error:
        raise StateError(f"{target} cannot be written: {error.strerror or error}") from None
    return len(frame)
