"""A real PostgreSQL of the tests' own, from the machine's packages: on loopback, gone when the tests end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# PostgreSQL refuses to run as root; this user owns nothing.
_NOBODY = 65534


def binaries() -> Path | None:
    """The newest PostgreSQL on this machine, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


@contextmanager
def running(*settings: str) -> Iterator[str]:
    """A server on a free port; yields an SQLAlchemy URL of its empty database ``postgres``.

    Parameters
    ----------
    settings: more of the server's own, such as ``max_connections=500``.
    """
    folder = binaries()
    assert folder is not None
    # Short: the socket's path may have a hundred characters at most.
    home = Path(tempfile.mkdtemp(prefix="rpg-", dir="/tmp"))
    if os.getuid() == 0:
        os.chown(home, _NOBODY, _NOBODY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*words: str) -> None:
        drop = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
        env = {**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [*drop, str(folder / words[0]), *words[1:]],
            env=env,
            check=True,
            cwd=home,
            stdout=subprocess.DEVNULL,
            timeout=300,
        )

    data = str(home / "data")
    run("initdb", "-D", data, "-U", "ratchet", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c max_connections=200"
    options = " ".join([options, *(f"-c {setting}" for setting in settings)])
    run("pg_ctl", "-D", data, "-l", str(home / "log"), "-w", "-o", options, "start")
    try:
        yield f"postgresql://ratchet@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(home, ignore_errors=True)
