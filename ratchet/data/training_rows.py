"""The rows that a model was fitted on, and which rows of another frame are among them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.row_identities import Hashes, RowIdentities, contents_of
from ratchet.data.split import row_hashes

_ROWS, _SOURCES = "training_rows.npy", "training_rows.json"
_NONE: Hashes = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True)
class TrainingRows:
    """The rows that a model was fitted on.

    Attributes
    ----------
    sources: the origins of the rows of data sets; none if the places of the rows are unknown.
    ids, contents: as in ``RowIdentities``, shape (rows,). The rows of the last run are first.
    n_data: rows of the last run's data set; ``n_new``: all rows of the last run. The others are of earlier runs, which
        the model continued from.
    labelled: hashes of features and target, in packages that were written before rows had identities; else None.
    """

    sources: frozenset[str]
    ids: Hashes
    contents: Hashes
    n_data: int
    n_new: int
    labelled: Hashes | None = None

    def __len__(self) -> int:
        return len(self.ids if self.labelled is None else self.labelled)

    @classmethod
    def of(cls, rows: RowIdentities, base: TrainingRows | None = None) -> TrainingRows:
        """Return the rows of a run, and those of the model that it continued from."""
        earlier = np.ones(0, dtype=bool) if base is None else ~np.isin(base.ids, rows.ids)
        return cls(
            sources=frozenset({rows.source}) | (base.sources if base else frozenset()),
            ids=np.concatenate([rows.ids, base.ids[earlier]]) if base else rows.ids,
            contents=np.concatenate([rows.contents, base.contents[earlier]]) if base else rows.contents,
            n_data=rows.n_data,
            n_new=len(rows),
        )

    @classmethod
    def of_unknown_place(cls, rows: pd.DataFrame, target: str) -> TrainingRows:
        """Return rows, features and target, that are known by their contents alone."""
        contents = contents_of(rows, target)
        return cls(frozenset(), contents, contents, len(rows), len(rows))

    @property
    def has_identities(self) -> bool:
        """Whether the package was written since rows have identities."""
        return self.labelled is None

    def save(self, folder: Path) -> None:
        """Write the files of a package."""
        np.save(folder / _ROWS, np.stack([self.ids, self.contents]))
        about = {"sources": sorted(self.sources), "n_data": self.n_data, "n_new": self.n_new}
        (folder / _SOURCES).write_text(json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> TrainingRows:
        """Read the files of a package; an old one has hashes of features and target only."""
        stored = np.load(folder / _ROWS, allow_pickle=False)
        if stored.ndim == 1:
            return cls(frozenset(), _NONE, _NONE, 0, 0, labelled=stored)
        about = json.loads((folder / _SOURCES).read_text())
        return cls(frozenset(about["sources"]), stored[0], stored[1], about["n_data"], about["n_new"])

    def contains(
        self, identities: RowIdentities, rows: pd.DataFrame, others: Hashes = _NONE, seed: int = 0
    ) -> npt.NDArray[np.bool_]:
        """Return which rows the model was fitted on, shape (rows,).

        Rows of production, and rows of a data version that the model was fitted on, are recognised by their identity.
        Rows of another data version, and all rows if the package has no identities, are matched with the training rows
        of equal content, one to one.

        Parameters
        ----------
        identities, rows: of the same rows; typed features and target.
        others: contents of the remaining rows of that data version. A training row is then matched with any of the
            equal rows of the data version by chance, so that the share of equal rows that are left out does not depend
            on how many there are.
        seed: of these matches.
        """
        seen: npt.NDArray[np.bool_] = np.isin(identities.ids, self.ids)
        first = identities.n_data if identities.source in self.sources else 0
        if self.labelled is not None:
            seen[first:] = _match(row_hashes(rows)[first:], self.labelled, _NONE, seed)
        elif not first:
            n_data = identities.n_data
            seen[:n_data] = _match(identities.contents[:n_data], self.contents, others, seed)
        return seen


def _match(values: Hashes, fitted: Hashes, others: Hashes, seed: int) -> npt.NDArray[np.bool_]:
    """Return which values have a partner among the fitted ones, each of which has one partner at most.

    Of the ``h`` equal values and ``o`` equal others, ``f`` have a partner if as many are fitted. Which of them is
    unknown, so the number among the values is hypergeometric.
    """
    unique, group, held = np.unique(values, return_inverse=True, return_counts=True)
    total = held + _count(unique, others)
    partners = np.minimum(_count(unique, fitted), total)
    generator = np.random.default_rng(seed)
    matched = generator.hypergeometric(partners, total - partners, held)
    order = generator.permutation(len(values))
    order = order[np.argsort(group[order], kind="stable")]
    rank = np.arange(len(values)) - np.repeat(np.cumsum(held) - held, held)
    seen = np.zeros(len(values), dtype=bool)
    seen[order] = rank < np.repeat(matched, held)
    return seen


def _count(values: Hashes, among: Hashes) -> npt.NDArray[np.int64]:
    """Return how often each value occurs in another array."""
    ordered = np.sort(among)
    return np.searchsorted(ordered, values, side="right") - np.searchsorted(ordered, values, side="left")
