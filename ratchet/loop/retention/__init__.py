"""Retention: rows and files that are older than the settings allow leave the store and the home.

What a label, a window, a run under way or a registered version still needs stays (``needs``). Rows go into the archive
or are deleted, in short transactions (``mover``), the tables by one entry each (``tables``), and files by kind
(``files``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ratchet.settings import Settings

# The last line of the command, where nothing was moved or deleted.
NOTHING_PAST_LIMITS = "nothing is past the limits"


@dataclass(frozen=True)
class Limits:
    """The settings of retention: the age in seconds, and the newest rows of each model; None for no limit.

    Attributes
    ----------
    links: seconds for which a signed link to a prediction is valid.
    """

    age: float | None
    rows: int | None
    links: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits of the settings."""
        days = settings.retention_days
        return cls(None if days is None else days * 86400.0, settings.retention_rows, settings.link_lifetime)

    @property
    def are_set(self) -> bool:
        """Whether anything is ever moved or deleted."""
        return self.age is not None or self.rows is not None
