"""Actions after a change of Production that must not fail it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ratchet.errors import one_line

logger = logging.getLogger(__name__)


def attempt(name: str, action: Callable[[], object]) -> list[str]:
    """Call a function whose failure must not fail the caller; return its warning, or nothing.

    Parameters
    ----------
    name: what the function writes.
    """
    try:
        action()
    except Exception as error:  # whatever it is, the change stands
        warning = f"{name} was not written: {one_line(error)}"
        logger.warning("%s; run doctor --repair", warning, exc_info=logger.isEnabledFor(logging.DEBUG))
        return [warning]
    return []
