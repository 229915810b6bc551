"""A real S3 server of the tests' own, on loopback: Ceph's gateway, started by a script beside the repository."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "shared" / "tools" / "s3-up"
# What the script gives its one user.
_KEYS = {"AWS_ACCESS_KEY_ID": "ratchetkey", "AWS_SECRET_ACCESS_KEY": "ratchetsecret"}
_PATIENCE = 240


class NoServerError(Exception):
    """The server cannot be started here; says why."""


def require() -> None:
    """Fail at once where no server can be started.

    Raises
    ------
    NoServerError: the script that starts it is not there.
    """
    if not SCRIPT.is_file():
        raise NoServerError(
            f"there is no shared/tools/{SCRIPT.name} beside the repository, which starts Ceph's gateway"
        )


@contextmanager
def running(bucket: str) -> Iterator[dict[str, str]]:
    """A server with an empty bucket; yields the variables that lead to it."""
    require()
    # Short: the path of a socket may have a hundred characters at most. Its own user has to get into the folder.
    folder = Path(tempfile.mkdtemp(prefix="rs3-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        command = [str(SCRIPT), str(folder), str(_free_port())]
        # Not by pipes: the servers that stay would hold them open.
        with (folder.parent / f"{folder.name}.log").open("w+") as log:
            started = subprocess.run(command, stdout=log, stderr=log, timeout=_PATIENCE, check=False)
            log.seek(0)
            said = log.read().strip()
        if started.returncode != 0 or "http://" not in said:
            raise NoServerError(f"{SCRIPT.name} could not start it: {said[-200:]}")
        where = {**_KEYS, "AWS_ENDPOINT_URL": said.splitlines()[-1], "AWS_DEFAULT_REGION": "us-east-1"}
        _make_bucket(bucket, where)
        yield where
    except subprocess.TimeoutExpired:
        raise NoServerError(f"{SCRIPT.name} took over {_PATIENCE} s") from None
    finally:
        subprocess.run([str(SCRIPT), "--stop", str(folder)], check=False, capture_output=True, timeout=300)
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)


def _free_port() -> int:
    """A free port; the server takes the ones 110 and 111 above it too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 60_000 and all(_is_free(port + more) for more in (110, 111)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _make_bucket(bucket: str, where: dict[str, str]) -> None:
    import botocore.session

    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=where["AWS_ENDPOINT_URL"],
        aws_access_key_id=where["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=where["AWS_SECRET_ACCESS_KEY"],
        region_name=where["AWS_DEFAULT_REGION"],
    )
    client.create_bucket(Bucket=bucket)
    client.close()
