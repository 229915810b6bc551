"""What happened in the loop: read from the record of the simulation and from Ratchet's store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.tables import drift_results, promotions, training_runs

# The row at which configs/simulate.yaml lets the drift begin.
DRIFT_AT = 300


@dataclass(frozen=True)
class Moment:
    """Something that was done or seen: the row that was answered last before it, what it was, and why."""

    row: int
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


@dataclass(frozen=True)
class Story:
    """The loop.

    Attributes
    ----------
    rows: the lines of the record, by index.
    seen: when the first window counted as drifted.
    runs: when runs of continuous training began, and when a challenger was refused.
    promotions: when versions went into Production after the first, and by what figures.
    """

    rows: list[dict[str, Any]]
    seen: Moment | None
    runs: list[Moment]
    promotions: list[Moment]

    @property
    def moments(self) -> list[Moment]:
        """All that was seen and done, in its order."""
        return sorted([*([self.seen] if self.seen else []), *self.runs, *self.promotions], key=lambda one: one.row)

    @property
    def before(self) -> float:
        """The share that was right before the drift."""
        return _right([row for row in self.rows if row["index"] < DRIFT_AT])

    @property
    def fallen(self) -> float:
        """The share of the drifted rows that the first version got right."""
        return _right([row for row in self._drifted if row["version"] == self.rows[0]["version"]])

    @property
    def after(self) -> float:
        """The share of the drifted rows that the last version got right."""
        return _right(self._last)

    @property
    def rows_after(self) -> int:
        """How many drifted rows the last version answered, where it is not the first."""
        return len(self._last)

    @property
    def recovered(self) -> float:
        """How much of what was lost came back, as a share."""
        lost = self.before - self.fallen
        return (self.after - self.fallen) / lost if self._last and lost > 0 else 0.0

    def lines(self) -> list[str]:
        """The story, a line for each thing that happened."""
        told = [(0, f"{self.before:.0%} right before the drift"), (DRIFT_AT, "the drift begins")]
        told += [(DRIFT_AT, f"{self.fallen:.0%} right from here on, by the version that does not know it")]
        told += [(moment.row, str(moment)) for moment in self.moments]
        told.sort(key=lambda one: one[0])
        told.append((self.rows[-1]["index"], f"{self.after:.0%} right over {self.rows_after} rows of the last version"))
        told.append((self.rows[-1]["index"], f"{self.recovered:.0%} of what was lost has come back"))
        return [f"row {row:<18} {text}" for row, text in told]

    @property
    def _drifted(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["index"] >= DRIFT_AT]

    @property
    def _last(self) -> list[dict[str, Any]]:
        version = self.rows[-1]["version"] if self.rows else None
        if not self.rows or version == self.rows[0]["version"]:
            return []
        return [row for row in self._drifted if row["version"] == version]


def read_story(settings: Settings, record: Path) -> Story:
    """The story so far.

    Parameters
    ----------
    settings: where Ratchet's store is.
    record: what ``simulate --record`` writes.
    """
    rows = [json.loads(line) for line in record.read_text().splitlines(keepends=True) if line.endswith("\n")]
    store = open_store(settings)
    try:
        with store.reading() as connection:
            return Story(rows, _seen(connection, rows), _runs(connection, rows), _promotions(connection, rows))
    finally:
        store.engine.dispose()


def _seen(store: sa.Connection, rows: Sequence[dict[str, Any]]) -> Moment | None:
    seen = drift_results.c.detected & (drift_results.c.kind == "production")
    found = store.execute(sa.select(drift_results).where(seen).order_by(drift_results.c.id)).mappings().first()
    if found is None:
        return None
    return Moment(_row_at(found["created_at"], rows), "drift is seen", f"in {found['share']:.0%} of the columns")


def _runs(store: sa.Connection, rows: Sequence[dict[str, Any]]) -> list[Moment]:
    moments = []
    for run in store.execute(sa.select(training_runs).order_by(training_runs.c.id)).mappings():
        row = _row_at(run["created_at"], rows)
        labels = sum(one["label_after"] is not None and one["label_after"] <= row for one in rows)
        why = "; ".join(part.partition(" (")[0] for part in run["reason"].split("; "))
        moments.append(Moment(row, f"a challenger trains, there are {labels} labels", why))
        if run["state"] == "refused":
            moments.append(
                Moment(_row_at(run["ended_at"], rows), f"version {run['version']} is refused", run["outcome"])
            )
    return moments


def _promotions(store: sa.Connection, rows: Sequence[dict[str, Any]]) -> list[Moment]:
    done = (promotions.c.kind == "promote") & (promotions.c.state == "completed")
    asked = sa.select(promotions).where(done, promotions.c.from_version.is_not(None)).order_by(promotions.c.id)
    return [
        Moment(
            _row_at(entry["ended_at"], rows),
            f"version {entry['to_version']} goes into Production",
            _gate(entry["gate"]),
        )
        for entry in store.execute(asked).mappings()
    ]


def _gate(gate: list[dict[str, Any]] | None) -> str:
    checks = {check["name"]: check["reason"] for check in gate or []}
    return checks.get("against_champion", "no figures")


def _row_at(moment: float, rows: Sequence[dict[str, Any]]) -> int:
    """The last row that was answered before a time."""
    return max((row["index"] for row in rows if row["time"] <= moment), default=0)


def _right(rows: Sequence[dict[str, Any]]) -> float:
    return sum(row["prediction"] == row["truth"] for row in rows) / len(rows) if rows else 0.0
