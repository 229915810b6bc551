"""Files by their content on a DVC remote: the one module that knows DVC.

A remote is what ``.dvc/config`` (or ``.dvc/config.local``) names, and files lie there as ``dvc push`` lays them:
``files/md5/5d/41402abc…``. So a snapshot of training rows is fetched by its hash with DVC too. No Git repository is
needed, and nothing is written beside the remote and the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.data.atomic_write import write_whole
from ratchet.data.fingerprint import file_version
from ratchet.errors import ConfigError, DataError, StateError, nearest

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

_MD5 = re.compile(r"[0-9a-f]{32}")


def require_remote(root: Path, remote: str) -> None:
    """Show that a remote is configured, without asking whether it answers.

    Parameters
    ----------
    root: the project's checkout, with the folder ``.dvc``.
    remote: its name.

    Raises
    ------
    ConfigError: there is no remote of this name, or DVC or its plug-in for the remote is not installed.
    """
    _open(root, remote)


def push(root: Path, remote: str, path: Path, version: str) -> bool:
    """Put a file on a remote under its hash.

    Parameters
    ----------
    root, remote: as for ``require_remote``.
    path: the file, which is not changed while it is read.
    version: the MD5 of its bytes.

    Returns
    -------
    Whether it was not there yet.

    Raises
    ------
    ConfigError: as ``require_remote``.
    DataError: the file has another hash.
    StateError: the remote does not answer, or refuses.
    """
    found = file_version(path)
    if found != version:
        raise DataError(f"{path}: its hash is {found}, expected {version}; it was not pushed")
    store = _open(root, remote)
    with _explained(remote, f"cannot take {path.name}"):
        from dvc.fs import localfs

        added: int = store.add(str(path.resolve()), localfs, version)
        return added > 0


def fetch(root: Path, remote: str, version: str, target: Path) -> None:
    """Bring a file from a remote by its hash; the target is written whole or not at all.

    Parameters
    ----------
    root, remote: as for ``require_remote``.
    version: the MD5 of its bytes, 32 hex digits.
    target: where it shall stand; the folder is made.

    Raises
    ------
    ConfigError: as ``require_remote``.
    DataError: the remote has no such file, or one with other bytes.
    StateError: the remote does not answer, or refuses.
    """
    if not _MD5.fullmatch(version):
        raise DataError(f"{version!r} is no hash of data: expected 32 hex digits, as lineage prints them")
    store = _open(root, remote)
    place = store.oid_to_path(version)

    def bring(partial: Path) -> None:
        # Asking first would not do: a remote that does not answer is said to have no such file.
        with _explained(remote, f"cannot give {version}"):
            try:
                store.fs.get_file(place, str(partial))
            except FileNotFoundError:
                raise DataError(
                    f"the DVC remote {remote!r} has no file with the hash {version} ({_shown(store, place)}):"
                    " push it from where it was made, or name another remote in RATCHET_DVC_REMOTE"
                ) from None
        partial.chmod(0o600)  # some remotes put a file of their own in its place
        found = file_version(partial)
        if found != version:
            raise DataError(f"{_shown(store, place)} is damaged: its hash is {found}, expected {version}")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, bring, mode=0o600)
    except OSError as error:
        raise StateError(f"{target} cannot be written: {error.strerror or error}") from None


def _open(root: Path, remote: str) -> HashFileDB:
    """The files of a remote by their hashes; nothing is sent yet."""
    try:
        from dvc.config import Config
        from dvc.config import ConfigError as WrongConfig
        from dvc.data_cloud import Remote
        from dvc.exceptions import DvcException
        from dvc.fs import get_cloud_fs
    except ModuleNotFoundError as error:
        raise ConfigError(f"RATCHET_DVC_REMOTE: {error.name} is not installed: run make train") from None
    folder = root / ".dvc"
    if not (folder / "config").is_file():
        raise ConfigError(
            f"RATCHET_DVC_REMOTE: {folder} has no config: start Ratchet from its checkout, or run dvc init"
        )
    try:
        known = Config(dvc_dir=str(folder))
        if remote.lower() not in known["remote"]:
            raise ConfigError(
                f"RATCHET_DVC_REMOTE: {folder / 'config'} has no remote {remote!r}{nearest(remote, known['remote'])}"
            )
        kind, options, place = get_cloud_fs(known, name=remote)
        store: HashFileDB = Remote(remote, place, kind(**options), **options).odb
        return store
    except ImportError as error:
        raise ConfigError(f"RATCHET_DVC_REMOTE: the remote {remote!r}: {_one_line(error)}") from None
    except (WrongConfig, DvcException) as error:
        raise ConfigError(f"RATCHET_DVC_REMOTE: the remote {remote!r}: {_one_line(error)}") from None


@contextmanager
def _explained(remote: str, what: str) -> Iterator[None]:
    """Whatever a remote's library raises, as one line: each kind of remote has exceptions of its own."""
    try:
        yield
    except (ConfigError, DataError):
        raise
    except Exception as error:
        reason = next((hint for name, hint in _HINTS.items() if _is(error, name)), "")
        said = _one_line(error) or _one_line(error.__cause__ or type(error).__name__)
        raise StateError(f"the DVC remote {remote!r} {what}: {said}{reason}") from None


# By the name of the exception or of its cause: their classes belong to libraries that a local remote does not load.
_HINTS = {
    "NoCredentialsError": ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "EndpointConnectionError": ": is AWS_ENDPOINT_URL right, and the server up?",
    "ConnectTimeoutError": ": is AWS_ENDPOINT_URL right, and the server up?",
    "NoSuchBucket": ": make the bucket, or name another in .dvc/config",
    "PermissionError": ": has this user, or this access key, the right to it?",
}


def _is(error: BaseException, name: str) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    cause = error.__cause__
    return name in names or (cause is not None and (name in str(cause) or _is(cause, name)))


def _shown(store: Any, place: str) -> str:
    return str(store.fs.unstrip_protocol(place))


def _one_line(error: object) -> str:
    return " ".join(str(error).split()).removeprefix("config file error: ").removesuffix("None").rstrip(": ")
