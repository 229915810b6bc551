"""Environments of the peers that are not among the development requirements, installed for one benchmark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).resolve().parent
TIMEOUT = 300.0


def install(name: str, folder: Path) -> Path | None:
    """Install ``requirements-<name>.txt`` into a new environment; returns its Python.

    Returns None, after one line on standard error, if that fails, such as without a network.
    """
    uv, python = Path(sys.executable).with_name("uv"), folder / name / "bin" / "python"
    requirements = PEERS / f"requirements-{name}.txt"
    commands = (
        (uv, "venv", "--quiet", "--python", sys.executable, folder / name),
        (uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, "--requirement", requirements),
    )
    try:
        for command in commands:
            subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"status {error.returncode}"])[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    else:
        return python
    print(f"left out: {name} cannot be installed: {reason}", file=sys.stderr, flush=True)
    return None
