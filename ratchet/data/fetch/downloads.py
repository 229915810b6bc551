"""Files from web servers: downloaded once, verified by SHA-256, stored by their content.

A file is stored as ``<downloads>/<its SHA-256>/<name>``. Where the config has no hash, ``<downloads>/<key>.pin`` has
that of the first download. An incomplete download is ``<key>.part``. See docs/decisions/0025-downloads.md.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ratchet.data.atomic_write import write_whole
from ratchet.data.fetch.transfer import transfer
from ratchet.data.fingerprint import file_sha256
from ratchet.errors import DataError, StateError
from ratchet.settings import load_settings

logger = logging.getLogger(__name__)

# Seconds to wait for another process that downloads the same URL, which may be many gigabytes.
_LOCK_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Remote:
    """A file on a web server.

    Attributes
    ----------
    url: http or https.
    sha256: the expected hash, 64 hexadecimal digits; None expects the hash of the first download.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The last part of the URL, as a valid file name."""
        last = PurePosixPath(unquote(urlsplit(self.url).path)).name
        return re.sub(r"[^\w.+-]", "_", last)[-100:].lstrip(".") or "data"

    @property
    def key(self) -> str:
        """The identifier of the URL in file names, 32 hexadecimal digits."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:32]


def download(remote: Remote) -> Path:
    """Return the file of a URL: the stored copy if its hash is right, else a new download.

    A download replaces nothing until its hash is verified, so a file that changed on the server never replaces one that
    a model was trained on. A valid copy needs no network.

    Raises
    ------
    ConfigError: a setting has an invalid value.
    DataError: the server has no such file, or its content has another hash.
    UnavailableError: the server is unreachable, or the download was cut off; the next call resumes it.
    StateError: the folder cannot be written.
    """
    folder = load_settings().downloads
    stored = _stored(remote, folder)
    if stored is not None:
        return stored
    with _lock(folder, remote):
        # Another process may have downloaded it in the meantime.
        return _stored(remote, folder) or _download(remote, folder)


def _stored(remote: Remote, folder: Path) -> Path | None:
    expected = _expected(remote, folder)
    if expected is None:
        return None
    path = folder / expected / remote.name
    try:
        return path if path.is_file() and file_sha256(path) == expected else None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror or error}") from None


def _download(remote: Remote, folder: Path) -> Path:
    part = folder / f"{remote.key}.part"
    transfer(remote.url, part)
    found, expected = file_sha256(part), _expected(remote, folder)
    if expected is not None and found != expected:
        part.unlink()
        raise DataError(_mismatch(remote, folder, expected, found))
    target = folder / found / remote.name
    target.parent.mkdir(exist_ok=True)
    part.replace(target)
    if expected is None:
        pin = json.dumps({"url": remote.url, "sha256": found}) + "\n"
        write_whole(_pin(remote, folder), lambda path: path.write_text(pin))
        logger.warning(
            "%s has the SHA-256 %s, which is expected from now on; set it as sha256 in the config to expect it on"
            " every machine",
            remote.url,
            found,
        )
    logger.info("%s: stored %d bytes in %s", remote.url, target.stat().st_size, target)
    return target


def _expected(remote: Remote, folder: Path) -> str | None:
    """Return the hash in the config, else that of the first download, else None."""
    if remote.sha256 is not None:
        return remote.sha256
    pin = _pin(remote, folder)
    try:
        expected = str(json.loads(pin.read_text())["sha256"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        expected = ""
    if not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise StateError(f"{pin} has no valid hash of {remote.url}: remove it to accept what the server has now")
    return expected


def _pin(remote: Remote, folder: Path) -> Path:
    return folder / f"{remote.key}.pin"


def _mismatch(remote: Remote, folder: Path, expected: str, found: str) -> str:
    if remote.sha256 is not None:
        source, action = "the config", "set sha256 to it"
    else:
        source, action = "the first download", f"remove {_pin(remote, folder)}"
    kept = " The earlier file is kept." if (folder / expected / remote.name).is_file() else ""
    return (
        f"{remote.url}: its content has another hash: expected SHA-256 {expected} ({source}), got {found}.{kept}"
        f" To accept the new content, {action}; otherwise find out who changed it"
    )


@contextmanager
def _lock(folder: Path, remote: Remote) -> Iterator[None]:
    """Allow one download of a URL at a time, across processes."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{remote.key}.lock", timeout=_LOCK_TIMEOUT):
            yield
    except Timeout:
        raise StateError(f"another process has been downloading {remote.url} for over {_LOCK_TIMEOUT:g} s") from None
    except OSError as error:
        raise StateError(f"{folder} cannot be written: {error.strerror or error}") from None
