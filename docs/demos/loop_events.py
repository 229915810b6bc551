"""The events of the loop, read from the record of the simulation and from Ratchet's store."""

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

# The row at which the drift of configs/simulate.yaml begins.
DRIFT_AT = 300


@dataclass(frozen=True)
class Event:
    """An event: the last row that was answered before it, its description, and its reason."""

    row: int
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


@dataclass(frozen=True)
class Events:
    """The events of a run of the loop.

    Attributes
    ----------
    rows: the lines of the record, by index.
    detection: the first window that counted as drifted.
    runs: the starts of continuous training, and the refused challengers.
    promotions: the promotions after the first version, with the gate's figures.
    """

    rows: list[dict[str, Any]]
    detection: Event | None
    runs: list[Event]
    promotions: list[Event]

    @property
    def in_order(self) -> list[Event]:
        """All events by row."""
        detection = [self.detection] if self.detection else []
        return sorted([*detection, *self.runs, *self.promotions], key=lambda event: event.row)

    @property
    def before(self) -> float:
        """The share of right answers before the drift."""
        return _right([row for row in self.rows if row["index"] < DRIFT_AT])

    @property
    def fallen(self) -> float:
        """The share of drifted rows that the first version answered right."""
        return _right([row for row in self._drifted if row["version"] == self.rows[0]["version"]])

    @property
    def after(self) -> float:
        """The share of drifted rows that the last version answered right."""
        return _right(self._last)

    @property
    def rows_after(self) -> int:
        """The number of drifted rows that the last version answered; 0 where it is the first."""
        return len(self._last)

    @property
    def recovered(self) -> float:
        """The share of the lost quality that recovered."""
        lost = self.before - self.fallen
        return (self.after - self.fallen) / lost if self._last and lost > 0 else 0.0

    def lines(self) -> list[str]:
        """Return a line for each event, in order."""
        lines = [(0, f"{self.before:.0%} right before the drift"), (DRIFT_AT, "the drift begins")]
        lines += [(DRIFT_AT, f"{self.fallen:.0%} right from here on, by the first version")]
        lines += [(event.row, str(event)) for event in self.in_order]
        lines.sort(key=lambda line: line[0])
        last = self.rows[-1]["index"]
        lines.append((last, f"{self.after:.0%} right over {self.rows_after} rows of the last version"))
        lines.append((last, f"{self.recovered:.0%} of the lost quality has recovered"))
        return [f"row {row:<18} {text}" for row, text in lines]

    @property
    def _drifted(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["index"] >= DRIFT_AT]

    @property
    def _last(self) -> list[dict[str, Any]]:
        version = self.rows[-1]["version"] if self.rows else None
        if not self.rows or version == self.rows[0]["version"]:
            return []
        return [row for row in self._drifted if row["version"] == version]


def read_events(settings: Settings, record: Path) -> Events:
    """Return the events so far.

    Parameters
    ----------
    settings: where Ratchet's store is.
    record: the file of ``simulate --record``.
    """
    rows = [json.loads(line) for line in record.read_text().splitlines(keepends=True) if line.endswith("\n")]
    store = open_store(settings)
    try:
        with store.reading() as connection:
            return Events(rows, _detection(connection, rows), _runs(connection, rows), _promotions(connection, rows))
    finally:
        store.engine.dispose()


def _detection(store: sa.Connection, rows: Sequence[dict[str, Any]]) -> Event | None:
    detected = drift_results.c.detected & (drift_results.c.kind == "production")
    found = store.execute(sa.select(drift_results).where(detected).order_by(drift_results.c.id)).mappings().first()
    if found is None:
        return None
    return Event(_row_at(found["created_at"], rows), "drift is detected", f"in {found['share']:.0%} of the columns")


def _runs(store: sa.Connection, rows: Sequence[dict[str, Any]]) -> list[Event]:
    events = []
    for run in store.execute(sa.select(training_runs).order_by(training_runs.c.id)).mappings():
        row = _row_at(run["created_at"], rows)
        labels = sum(one["label_after"] is not None and one["label_after"] <= row for one in rows)
        why = "; ".join(part.partition(" (")[0] for part in run["reason"].split("; "))
        events.append(Event(row, f"a challenger trains, there are {labels} labels", why))
        if run["state"] == "refused":
            events.append(Event(_row_at(run["ended_at"], rows), f"version {run['version']} is refused", run["outcome"]))
    return events


def _promotions(store: sa.Connection, rows: Sequence[dict[str, Any]]) -> list[Event]:
    done = (promotions.c.kind == "promote") & (promotions.c.state == "completed")
    query = sa.select(promotions).where(done, promotions.c.from_version.is_not(None)).order_by(promotions.c.id)
    return [
        Event(
            _row_at(entry["ended_at"], rows),
            f"version {entry['to_version']} goes into Production",
            _gate(entry["gate"]),
        )
        for entry in store.execute(query).mappings()
    ]


def _gate(gate: list[dict[str, Any]] | None) -> str:
    checks = {check["name"]: check["reason"] for check in gate or []}
    return checks.get("against_champion", "no figures")


def _row_at(moment: float, rows: Sequence[dict[str, Any]]) -> int:
    """Return the last row that was answered before a time."""
    return max((row["index"] for row in rows if row["time"] <= moment), default=0)


def _right(rows: Sequence[dict[str, Any]]) -> float:
    return sum(row["prediction"] == row["truth"] for row in rows) / len(rows) if rows else 0.0
