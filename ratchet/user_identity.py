"""The user of this process, also where the operating system has no entry for it, as in many containers."""

from __future__ import annotations

import getpass
import os
from pathlib import Path


def user_name() -> str:
    """Return the login name of the user, or ``uid-1234`` where the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no entry in the password database
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"


def complete_user_environment() -> None:
    """Set the variables of a user without an entry, for libraries that ask the system for its name and home."""
    os.environ.setdefault("LOGNAME", user_name())
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"  # as container runtimes do
