"""Files from web servers: fetched once, checked against their SHA-256, kept by their content.

A file lies in ``<downloads>/<its SHA-256>/<name>``. Where the config has no hash to check it against, the hash of what
the URL gave first stands in ``<downloads>/<key>.pin``. A download that was cut off goes on in ``<key>.part``.
docs/decisions/0025-downloads.md says why.
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

logger = logging.getLogger(__name__)

# Longer than a slow download of a data set of many gigabytes may take.
_PATIENCE = 3600.0


@dataclass(frozen=True)
class Remote:
    """A file on a web server.

    Attributes
    ----------
    url: http or https.
    sha256: of its bytes, 64 hex digits; None pins what is got first.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The last part of the URL, as a file may be called anywhere."""
        last = PurePosixPath(unquote(urlsplit(self.url).path)).name
        return re.sub(r"[^\w.+-]", "_", last)[-100:].lstrip(".") or "data"

    @property
    def key(self) -> str:
        """What stands for the URL in names of files: 32 hex digits."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:32]


def default_folder() -> Path:
    """Where downloads are kept: ``RATCHET_DOWNLOADS_DIR``, else ``downloads`` in the home.

    Raises
    ------
    ConfigError: a setting has a value that it cannot take.
    """
    from ratchet.settings import load_settings

    return load_settings().downloads


def bring(remote: Remote, folder: Path) -> Path:
    """The file that a URL names: the copy that is kept, if its hash is right, and else what the server gives now.

    Nothing is asked of the network where a copy is kept. What arrives takes its place only when its hash is right, so
    a file that changed on the server never replaces one that was used before.

    Parameters
    ----------
    remote: the URL, and the hash of what it should give.
    folder: of all downloads; made if it is not there.

    Returns
    -------
    The file, whose SHA-256 has just been computed.

    Raises
    ------
    DataError: the server has no such file, or its content is not what was expected.
    UnavailableError: the server cannot be reached, or the download was cut off; what came is kept, and the next call
        goes on from there.
    StateError: the folder cannot be written.
    """
    kept = _kept(remote, folder)
    if kept is not None:
        return kept
    with _alone(folder, remote):
        kept = _kept(remote, folder)  # another process may have brought it while this one waited
        return kept if kept is not None else _brought(remote, folder)


def _brought(remote: Remote, folder: Path) -> Path:
    part = folder / f"{remote.key}.part"
    transfer(remote.url, part)
    found = file_sha256(part)
    wanted, size = _wanted(remote, folder), part.stat().st_size
    if wanted is not None and found != wanted:
        part.unlink()
        raise DataError(_changed(remote, folder, wanted, found))
    target = folder / found / remote.name
    target.parent.mkdir(exist_ok=True)
    part.replace(target)
    if remote.sha256 is None:
        _pin(remote, folder, found)
        logger.warning(
            "%s has the SHA-256 %s, which is expected from now on: put it into the config as sha256 to have it"
            " expected everywhere",
            remote.url,
            found,
        )
    logger.info("%s: %d bytes are kept in %s", remote.url, size, target)
    return target


def _kept(remote: Remote, folder: Path) -> Path | None:
    """The copy that is there, None where there is none or its bytes are no longer those that were kept."""
    wanted = _wanted(remote, folder)
    if wanted is None:
        return None
    kept = folder / wanted / remote.name
    try:
        return kept if kept.is_file() and file_sha256(kept) == wanted else None
    except OSError as error:
        raise StateError(f"{kept} cannot be read: {error.strerror or error}") from None


def _wanted(remote: Remote, folder: Path) -> str | None:
    """The hash that the content must have: the config's, else that of the first download."""
    if remote.sha256 is not None:
        return remote.sha256
    pin = _pin_of(remote, folder)
    try:
        wanted = str(json.loads(pin.read_text())["sha256"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        wanted = ""
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise StateError(f"{pin} does not say which hash {remote.url} had: remove it to take what the server gives now")
    return wanted


def _pin(remote: Remote, folder: Path, found: str) -> None:
    text = json.dumps({"url": remote.url, "sha256": found}) + "\n"
    write_whole(_pin_of(remote, folder), lambda path: path.write_text(text))


def _pin_of(remote: Remote, folder: Path) -> Path:
    return folder / f"{remote.key}.pin"


def _changed(remote: Remote, folder: Path, wanted: str, found: str) -> str:
    if remote.sha256 is not None:
        told, do = "the config", "set sha256 to it"
    else:
        pin = _pin_of(remote, folder)
        told, do = "the first download", f"remove {pin}"
    kept = " The file of before is kept." if (folder / wanted / remote.name).is_file() else ""
    return (
        f"{remote.url}: its content has another hash: expected SHA-256 {wanted} ({told}), got {found}."
        f"{kept} If the new content is wanted, {do}; if not, find out who changed it"
    )


@contextmanager
def _alone(folder: Path, remote: Remote) -> Iterator[None]:
    """One download of a URL at a time, also among processes; a folder that cannot be written is told."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{remote.key}.lock", timeout=_PATIENCE):
            yield
    except Timeout:
        raise StateError(f"another process has been fetching {remote.url} for over {_PATIENCE:g} s") from None
    except OSError as error:
        raise StateError(f"{folder} cannot be written: {error.strerror or error}") from None
