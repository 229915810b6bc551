"""What every place with features of predictions does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ratchet.loop.forget.selection import Selection


@dataclass(frozen=True)
class Forgotten:
    """The rows of an erasure.

    Attributes
    ----------
    ids: of the predictions.
    texts: the values of their categories and texts, as far as the rows still have features.
    """

    erasure: int
    ids: frozenset[str]
    texts: frozenset[str] = frozenset()


class Place(Protocol):
    """A kind of place, such as the snapshots of a home."""

    name: str

    def find(self, wanted: Selection) -> set[str]:
        """Return the ids of the selected predictions whose features are in the place.

        Raises
        ------
        RatchetError: the place cannot be read.
        """
        ...

    def erase(self, rows: Forgotten) -> list[str]:
        """Remove the features of rows from the place; return notes on what else changed, or was not reached.

        An interrupted call is repeated; removing the same features twice changes nothing.

        Raises
        ------
        RatchetError: the place cannot be written.
        """
        ...
