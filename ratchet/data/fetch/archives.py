"""Extraction of one file from a zip or tar archive, or from gzip."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from ratchet.data.atomic_write import write_whole
from ratchet.errors import DataError, StateError
from ratchet.nearest_names import nearest

_BLOCK = 1 << 20
# A few kilobytes can unpack to terabytes; no data set that is read whole is larger than this.
_MAX_BYTES = 4 * 2**30
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
# Names of members that an error lists.
_SHOWN = 50

# The names of the files in an archive, and a function that opens one.
Members = tuple[list[str], Callable[[str], Any]]


def member_file(archive: Path, member: str | None) -> Path:
    """Return the data file of a download: a member of an archive, the content of a .gz, or the download itself.

    A member is written into the folder of its archive. No path in an archive is used for its name.

    Raises
    ------
    DataError: there is no such member, it is larger than 4 GiB, or the archive is damaged or not an archive.
    StateError: the file cannot be written.
    """
    kind = _kind(archive)
    if kind is None and member is None:
        return archive
    if kind not in _READERS and member is not None:
        raise DataError(f"dataset.member: {archive.name} is not a zip or tar archive: leave member out")
    name = PurePosixPath(member or archive.name.removesuffix(".gz")).name
    key = hashlib.sha256((member or "").encode()).hexdigest()[:8]
    target = archive.parent / f"{key}-{name}"
    with _explained(archive, target):
        if kind == "gzip":
            with gzip.open(archive) as source:
                _write(source, target, archive.name)
        else:
            with _READERS[str(kind)](archive) as (names, open_member):
                found = _known(member, names, archive.name)
                with open_member(found) as source:
                    _write(source, target, f"{found} in {archive.name}")
    return target


def _kind(path: Path) -> str | None:
    if zipfile.is_zipfile(path):
        return "zip"
    with suppress(*_DAMAGED, OSError):
        if tarfile.is_tarfile(path):
            return "tar"
    with path.open("rb") as file:
        return "gzip" if file.read(2) == b"\x1f\x8b" else None


@contextmanager
def _zip(path: Path) -> Iterator[Members]:
    with zipfile.ZipFile(path) as archive:
        yield [info.filename for info in archive.infolist() if not info.is_dir()], archive.open


@contextmanager
def _tar(path: Path) -> Iterator[Members]:
    with tarfile.open(path) as archive:
        names = [info.name for info in archive if info.isreg()]
        file: Any = archive.fileobj
        while file.read(_BLOCK):  # gzip and xz verify their checksum at the end
            pass
        yield names, archive.extractfile


_READERS = {"zip": _zip, "tar": _tar}


def _known(member: str | None, names: list[str], archive: str) -> str:
    """Return the member if the archive has it."""
    if member is None:
        listed = nearest("", names[:_SHOWN])
        raise DataError(f"{archive} is an archive: set dataset.member to the file in it{listed}")
    if member not in names:
        raise DataError(f"dataset.member: {archive} has no file {member!r}{nearest(member, names[:_SHOWN])}")
    return member


def _write(source: Any, target: Path, shown: str) -> None:
    def copy(path: Path) -> None:
        size = 0
        with path.open("wb") as file:
            while block := source.read(_BLOCK):
                size += len(block)
                if size > _MAX_BYTES:
                    raise DataError(f"{shown}: unpacks to more than {_MAX_BYTES} bytes: unpack it and name the file")
                file.write(block)

    write_whole(target, copy)


@contextmanager
def _explained(archive: Path, target: Path) -> Iterator[None]:
    """Turn the errors of archives and files into one line."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise StateError(f"{target} cannot be written: {error.strerror}") from None
        raise DataError(f"{archive}: the archive is damaged ({error})") from None  # from gzip and bz2
    except _DAMAGED as error:
        raise DataError(f"{archive}: the archive is damaged ({error or type(error).__name__})") from None
    except RuntimeError as error:  # from zipfile, for a member with a password
        raise DataError(f"{archive}: {error}") from None
