"""The file of a data set: what DVC keeps, whose hash is the ``data_version`` of every run on it."""

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
    """A data set as a file.

    Attributes
    ----------
    path: where it stands.
    version: the MD5 of its bytes.
    rows: how many it has; None where nothing had to be read.
    written: whether it was written just now.
    """

    path: Path
    version: str
    rows: int | None
    written: bool


def materialise(config: Dataset, folder: Path, name: str = "data") -> Path:
    """Write the file of a data set, whole or not at all, as ``bring_file`` does; where it stands."""
    return bring_file(config, file_name(config, folder, name)).path


def file_name(config: Dataset, folder: Path, name: str) -> Path:
    """Where the file of a data set is: its own place, or ``<folder>/<name of the data set>``.

    Parameters
    ----------
    config: the ``dataset`` section.
    folder: of the files of all data sets.
    name: for a data set that has none of its own, such as a query.
    """
    own: Path | None = getattr(config, "path", None)
    if own is not None:
        return own
    held: Path | None = getattr(open_source(config), "file", None)
    return folder / f"{getattr(config, 'name', None) or name}{held.suffix if held else '.csv'}"


def bring_file(
    config: Dataset, path: Path, *, recorded: str | None = None, force: bool = False, write: bool = True
) -> Materialised:
    """See that the file of a data set is there, with the bytes whose MD5 is the source's version.

    A source that is a file of its own (CSV, TSV, Parquet) stays where it is. What comes from elsewhere (bundled,
    generated, a query) becomes a CSV, and what was downloaded is copied as it came.

    Parameters
    ----------
    config: the ``dataset`` section.
    path: as ``file_name`` says; its folder is made if it is not there.
    recorded: the hash that DVC has for this data set, None where it has none.
    force: replace a file with other bytes, and take data that are not those that DVC has recorded.
    write: whether the file may be written.

    Raises
    ------
    DataError: the data cannot be read; they are not what DVC has recorded; or the file there has other bytes.
    StateError: the file cannot be written.
    """
    source = open_source(config)
    version = source.version()
    _require_recorded(path, version, recorded, force=force)
    there = file_version(path) if path.is_file() else None
    if there == version:
        return Materialised(path, version, None, written=False)
    if there is not None and not force:
        raise DataError(
            f"{path}: its hash is {there}, and the source gives {version}: run dvc checkout {path} to have the one"
            " that DVC knows, or give --force to write it anew"
        )
    if not write:
        raise DataError(f"{path}: there is no such file; leave out --check to write it, or run dvc pull {path}")
    rows = _write(source, path)
    found = file_version(path)
    if found != version:
        raise DataError(f"{path}: was changed while it was written: its hash is {found}, the source gives {version}")
    return Materialised(path, version, rows, written=True)


def recorded_version(root: Path, path: Path, config: Dataset) -> str | None:
    """The hash that DVC has for a file: in ``<file>.dvc`` beside it, or in ``dvc.lock`` for the same data set.

    A hash in ``dvc.lock`` counts where the stage was run with the same section ``dataset``: another section asks
    for other data.

    Parameters
    ----------
    root: the project's checkout.
    path: the file, whether it is there or not.
    config: the ``dataset`` section.

    Raises
    ------
    DataError: one of DVC's files cannot be read.
    """
    beside = path.with_name(f"{path.name}.dvc")
    if beside.is_file():
        return next((str(out["md5"]) for out in _yaml(beside).get("outs", []) if out["path"] == path.name), None)
    stages = _yaml(root / "dvc.lock").get("stages", {}) if (root / "dvc.lock").is_file() else {}
    for stage in stages.values():
        asked = [params.get("dataset") for params in stage.get("params", {}).values()]
        for out in stage.get("outs", []):
            if Path(out["path"]).name == path.name and "md5" in out and any(_same(one, config) for one in asked):
                return str(out["md5"])
    return None


def _same(section: Any, config: Dataset) -> bool:
    try:
        return bool(_DATASET.validate_python(section) == config)
    except ValidationError:
        return False


def _yaml(path: Path) -> dict[str, Any]:
    """Read YAML 1.2, which DVC writes: ``yes`` and ``off`` are texts."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(path) or {}
    except (OSError, YAMLError) as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from None


def _require_recorded(path: Path, version: str, recorded: str | None, *, force: bool) -> None:
    if recorded is not None and recorded != version and not force:
        raise DataError(
            f"{path}: the source gives data with the hash {version}, and DVC has recorded {recorded}: another version"
            " of a library or of the code makes other data. Run dvc pull for the recorded ones, or, to go on with the"
            " new ones, give --force and then run dvc commit -f"
        )


def _write(source: Source, target: Path) -> int | None:
    """Write what a source gives; the number of rows, None where its own file was copied as it is."""
    held: Path | None = getattr(source, "file", None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if held is not None:
            write_whole(target, lambda path: shutil.copyfile(held, path))
            return None
        frame = source.read()
        write_whole(target, lambda path: path.write_bytes(canonical_csv(frame)))
    except OSError as error:
        raise StateError(f"{target} cannot be written: {error.strerror or error}") from None
    return len(frame)
