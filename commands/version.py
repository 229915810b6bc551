"""``run.py --version``."""

from __future__ import annotations

import typer

# The packages whose version decides how a run behaves, where they are installed.
_PARTS = ("zenml", "mlflow", "scikit-learn", "bentoml")


def print_version(wanted: bool) -> None:
    """Print Ratchet's version and those of Python and the main packages, and end the command line."""
    if not wanted:
        return
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from ratchet import __version__

    parts = [f"Python {platform.python_version()}"]
    for package in _PARTS:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # the images of training and of the service have different packages
            continue
    print(f"ratchet {__version__} ({', '.join(parts)})")
    raise typer.Exit
