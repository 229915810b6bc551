"""Ratchet's library, independent of ZenML and BentoML.

``production`` and ``history`` are for notebooks and scripts; they are imported at their first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratchet.python_api import history, production

__version__ = "0.1.0"
__all__ = ["__version__", "history", "production"]


def __getattr__(name: str) -> Any:
    if name in ("history", "production"):
        from ratchet import python_api

        return getattr(python_api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
