"""Files by their hash on a DVC remote, which is a folder or S3.

The paths are those of ``dvc push`` (``files/md5/5d/41402abc…``, DVC's documented layout), so ``dvc pull`` finds what is
pushed here, and the reverse. fsspec reads and writes, with the options of ``.dvc/config`` and ``.dvc/config.local``; no
Git repository is needed, and nothing else is written.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.data.atomic_write import write_whole
from ratchet.data.fingerprint import file_version
from ratchet.errors import ConfigError, DataError, StateError, one_line
from ratchet.nearest_names import nearest

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_MD5 = re.compile(r"[0-9a-f]{32}")
# DVC's options for S3: the group of arguments of s3fs, empty for arguments of its own, and the name.
_S3_ARGUMENTS = {
    "access_key_id": ("", "key"),
    "secret_access_key": ("", "secret"),
    "session_token": ("", "token"),
    "profile": ("", "profile"),
    "allow_anonymous_login": ("", "anon"),
    "use_ssl": ("", "use_ssl"),
    "endpointurl": ("", "endpoint_url"),
    "region": ("client_kwargs", "region_name"),
    "ssl_verify": ("client_kwargs", "verify"),
    "connect_timeout": ("config_kwargs", "connect_timeout"),
    "read_timeout": ("config_kwargs", "read_timeout"),
    "acl": ("s3_additional_kwargs", "ACL"),
    "sse": ("s3_additional_kwargs", "ServerSideEncryption"),
    "sse_kms_key_id": ("s3_additional_kwargs", "SSEKMSKeyId"),
}
_S3_VARIABLES = {"credentialpath": "AWS_SHARED_CREDENTIALS_FILE", "configpath": "AWS_CONFIG_FILE"}
# Options that do not matter for one file.
_IGNORED = frozenset({"url", "jobs", "checksum_jobs", "listobjects", "verify", "no_traverse", "cache_regions"})


@dataclass(frozen=True)
class _Remote:
    files: AbstractFileSystem
    folder: str

    def place(self, version: str) -> str:
        return f"{self.folder}/files/md5/{version[:2]}/{version[2:]}"


def require_remote(root: Path, remote: str) -> None:
    """Check that a remote is configured in the checkout ``root``, without a connection to it.

    Raises
    ------
    ConfigError: there is no such remote, it is of another kind, has an unsupported option, or a library is missing.
    """
    _open(root, remote)


def address(root: Path, remote: str) -> str:
    """Return the URL of a remote, without a connection to it.

    Raises
    ------
    ConfigError: as ``require_remote``.
    """
    found = _open(root, remote)
    return str(found.files.unstrip_protocol(found.folder))


def push(root: Path, remote: str, path: Path, version: str) -> bool:
    """Store a file on a remote under its MD5; return whether it was sent, False where the remote has it.

    Raises
    ------
    ConfigError: as ``require_remote``.
    DataError: the file has another hash than ``version``.
    StateError: the remote is unreachable or refuses.
    """
    found = file_version(path)
    if found != version:
        raise DataError(f"{path}: its hash is {found}, expected {version}; it was not pushed")
    store = _open(root, remote)
    place = store.place(version)
    with _explained(remote, f"cannot store {path.name}"):
        try:
            store.files.info(place)
        except FileNotFoundError:
            _put(path, store, place)
            return True
        return False


def fetch(root: Path, remote: str, version: str, target: Path) -> None:
    """Copy a file from a remote by its MD5; the target is replaced once the copy is verified.

    Raises
    ------
    ConfigError: as ``require_remote``.
    DataError: the remote has no such file, or one with other bytes.
    StateError: the remote is unreachable or refuses, or the target cannot be written.
    """
    if not _MD5.fullmatch(version):
        raise DataError(f"{version!r} is not a hash of data: expected 32 hex digits, as lineage prints them")
    store = _open(root, remote)
    place = store.place(version)
    shown = store.files.unstrip_protocol(place)

    def copy(partial: Path) -> None:
        with _explained(remote, f"cannot read {version}"):
            try:
                store.files.get_file(place, str(partial))
            except FileNotFoundError:
                raise DataError(
                    f"the DVC remote {remote!r} has no file with the hash {version} ({shown}): push it from the machine"
                    " that made it, or set RATCHET_DVC_REMOTE to another remote"
                ) from None
        found = file_version(partial)
        if found != version:
            raise DataError(f"{shown} is damaged: its hash is {found}, expected {version}")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, copy, mode=0o600)
    except OSError as error:
        raise StateError(f"{target} cannot be written: {error.strerror or error}") from None


def delete(root: Path, remote: str, version: str) -> bool:
    """Delete a file from a remote by its MD5; return whether it was there.

    A bucket with versioning keeps earlier versions of an object.

    Raises
    ------
    ConfigError: as ``require_remote``.
    StateError: the remote is unreachable or refuses.
    """
    store = _open(root, remote)
    with _explained(remote, f"cannot delete {version}"):
        try:
            store.files.rm_file(store.place(version))
        except FileNotFoundError:
            return False
        return True


def _put(path: Path, store: _Remote, place: str) -> None:
    if "file" not in store.files.protocol:
        store.files.put_file(str(path), place)  # an object appears once it is complete
        return
    target = Path(place)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, lambda partial: shutil.copyfile(path, partial))
    target.chmod(0o444)  # DVC's own mode, which marks a file that is verified


def _open(root: Path, remote: str) -> _Remote:
    try:
        import fsspec
        from dvc.config import Config
        from dvc.config import ConfigError as DvcConfigError
    except ModuleNotFoundError as error:
        raise ConfigError(f"RATCHET_DVC_REMOTE: {error.name} is not installed: run make train") from None
    config = root / ".dvc" / "config"
    if not config.is_file():
        raise ConfigError(f"RATCHET_DVC_REMOTE: {config} is missing: start Ratchet from its checkout, or run dvc init")
    try:
        remotes = Config(dvc_dir=str(config.parent))["remote"]
        if remote.lower() not in remotes:
            raise ConfigError(f"RATCHET_DVC_REMOTE: {config} has no remote {remote!r}{nearest(remote, remotes)}")
        options = remotes[remote.lower()]
        files, folder = fsspec.core.url_to_fs(options["url"], **_arguments(remote, options))
    except (DvcConfigError, ImportError) as error:
        raise ConfigError(f"RATCHET_DVC_REMOTE: the remote {remote!r}: {one_line(error)}") from None
    return _Remote(files, folder.rstrip("/"))


def _arguments(remote: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the file system for the options of a remote."""
    kind, separator, _ = options["url"].partition("://")
    if not separator:
        return {}
    if kind != "s3":
        raise ConfigError(f"RATCHET_DVC_REMOTE: the remote {remote!r} is {kind}://…, expected a folder or s3://…")
    groups: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in options.items():
        if name in _S3_ARGUMENTS:
            group, argument = _S3_ARGUMENTS[name]
            groups[group][argument] = value
        elif name in _S3_VARIABLES:
            os.environ.setdefault(_S3_VARIABLES[name], value)
        elif value and name not in _IGNORED:
            raise ConfigError(f"RATCHET_DVC_REMOTE: the remote {remote!r}: the option {name} is not supported")
    # A cached instance would keep the keys that the environment had before.
    return {**groups.pop("", {}), **groups, "skip_instance_cache": True, "use_listings_cache": False}


# By the name of the exception or of its cause: their classes are in libraries that a local remote does not load.
_HINTS = {
    "NoCredentialsError": ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "EndpointConnectionError": ": is AWS_ENDPOINT_URL right, and the server up?",
    "ConnectTimeoutError": ": is AWS_ENDPOINT_URL right, and the server up?",
    "NoSuchBucket": ": create the bucket, or set another one in .dvc/config",
    "PermissionError": ": does this user, or this access key, have the permission?",
}


@contextmanager
def _explained(remote: str, failure: str) -> Iterator[None]:
    """Turn any error of a remote's library into one line; each kind of remote has its own exceptions."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        names = " ".join(f"{type(one).__mro__} {one}" for one in (error, error.__cause__))
        hint = next((hint for name, hint in _HINTS.items() if name in names), "")
        # s3fs raises PermissionError(None) where the server sends no message.
        reason = one_line(error if any(error.args) else error.__cause__ or error).removesuffix(": None")
        raise StateError(f"the DVC remote {remote!r} {failure}: {reason}{hint}") from None
