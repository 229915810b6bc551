"""One file out of an archive: zip, tar (also .tar.gz), or a single file in gzip."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ratchet.data.atomic_write import write_whole
from ratchet.errors import DataError, StateError, nearest

_BLOCK = 1 << 20
# A few kilobytes can unpack to terabytes; no data set that is read whole is larger than this.
_MOST_BYTES = 4 * 2**30
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,
)


def member_file(archive: Path, member: str | None, most_bytes: int = _MOST_BYTES) -> Path:
    """The file that a config means: a member of the archive, the content of a .gz, or the file itself.

    A member is written beside its archive, under a name of ours: nothing that stands in an archive says where.

    Parameters
    ----------
    archive: what was downloaded.
    member: its path in the archive; None where the file is no archive.
    most_bytes: the most that is unpacked.

    Raises
    ------
    DataError: there is no such member, it is larger than ``most_bytes``, or the archive is damaged or none.
    StateError: the file cannot be written.
    """
    kind = _kind(archive)
    if kind is None and member is None:
        return archive
    if kind in ("zip", "tar") and member is None:
        raise DataError(f"{archive.name} is an archive: name the file in it in dataset.member{_listed(archive, kind)}")
    if kind is None or (kind == "gzip" and member is not None):
        raise DataError(f"dataset.member: {archive.name} is no zip or tar archive: leave member out")
    name = PurePosixPath(member or archive.name.removesuffix(".gz")).name
    key = hashlib.sha256((member or "").encode()).hexdigest()[:8]
    target = archive.parent / f"{key}-{name}"
    try:
        with _told(archive):
            write_whole(target, lambda path: _copy(archive, kind, member, path, most_bytes))
    except OSError as error:
        raise StateError(f"{target} cannot be written: {error.strerror or error}") from None
    return target


def _kind(path: Path) -> str | None:
    if zipfile.is_zipfile(path):
        return "zip"
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    try:
        if tarfile.is_tarfile(path):
            return "tar"
    except (EOFError, zlib.error, lzma.LZMAError, OSError):  # damaged; reading it will say so
        pass
    return "gzip" if gzipped else None


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise DataError(f"{archive}: the archive is damaged ({error or type(error).__name__})") from None
    except RuntimeError as error:  # what zipfile says of a password
        raise DataError(f"{archive}: {error}") from None


def _copy(archive: Path, kind: str, member: str | None, target: Path, most_bytes: int) -> None:
    with _opened(archive, kind, member) as source, target.open("wb") as file:
        size = 0
        while block := _block(source):
            size += len(block)
            if size > most_bytes:
                what = f"{member} in {archive.name}" if member else archive.name
                raise DataError(f"{what}: unpacks to more than {most_bytes} bytes: unpack it and name the file")
            file.write(block)


def _block(source: Any) -> bytes:
    """The next bytes; of bzip2, what is damaged comes as an OSError, as if the disk had failed."""
    try:
        return bytes(source.read(_BLOCK))
    except OSError as error:
        if error.errno is not None:
            raise
        raise tarfile.TarError(str(error)) from None


@contextmanager
def _opened(archive: Path, kind: str, member: str | None) -> Iterator[Any]:
    if kind == "gzip" or member is None:
        with gzip.open(archive) as file:
            yield file
    elif kind == "zip":
        with zipfile.ZipFile(archive) as whole:
            known = [info.filename for info in whole.infolist() if not info.is_dir()]
            _require(member, known, archive)
            with whole.open(member) as file:
                yield file
    else:
        with tarfile.open(archive) as tar:
            _require(member, [info.name for info in tar if info.isreg()], archive)
            found: Any = tar.extractfile(member)  # a regular file, so it is not None
            with found as file:
                yield file
            rest: Any = tar.fileobj
            while _block(rest):  # what was read is only known to be sound at the end, where gzip has its checksum
                pass


def _require(member: str, known: list[str], archive: Path) -> None:
    if member not in known:
        raise DataError(f"dataset.member: {archive.name} has no file {member!r}{nearest(member, known[:50])}")


def _listed(archive: Path, kind: str) -> str:
    with _told(archive):
        if kind == "zip":
            with zipfile.ZipFile(archive) as whole:
                known = [info.filename for info in whole.infolist() if not info.is_dir()]
        else:
            with tarfile.open(archive) as tar:
                known = [info.name for info in tar if info.isreg()]
    return nearest("", known[:50])
