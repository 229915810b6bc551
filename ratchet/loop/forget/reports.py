"""Reports and exports: files that name categories of rows, and the rows that reports are drawn from."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.loop.forget.mentions import mentions
from ratchet.monitoring.reports.job import workspace
from ratchet.monitoring.reports.record_files import EXPORTS
from ratchet.settings import Settings
from ratchet.store.archive import Archive
from ratchet.store.archive_columns import to_table
from ratchet.store.database import Store
from ratchet.store.failpoints import failpoint
from ratchet.store.tables import drift_results
from ratchet.tracking.run_files import text_files

_REMOVED = "a note was removed: it named a value that was forgotten"
# Results of drift that are read at a time.
_PAGE = 500


def forget_in_reports(settings: Settings, store: Store, model: str, texts: Collection[str]) -> list[str]:
    """Delete the reports and exports that have rows, or name one of some texts; return notes on what was deleted.

    Figures over many rows stay.

    Parameters
    ----------
    texts: the values of categories and texts of the forgotten rows.

    Raises
    ------
    StateError: a file cannot be deleted.
    RegistryError: MLflow is unreachable.
    """
    notes = []
    try:
        for left in settings.home.glob(".report-*"):  # of a process that was killed while it drew a report
            shutil.rmtree(left)
        for exported in (settings.data_dir / name for name in EXPORTS):
            if exported.is_file():
                exported.unlink()
                notes.append(f"deleted: {exported}, which python run.py report writes again")
        drawn = [path for path in _drawn(settings) if mentions(path.read_text(encoding="utf-8"), texts)]
        for path in drawn:
            path.unlink()
    except OSError as error:
        raise StateError(f"{error.filename}: cannot be deleted: {error.strerror}") from None
    failpoint("erasure_reports")
    logged = [file for file in text_files(settings, model) if texts and mentions(file.read(), texts)]
    for file in logged:
        file.delete()
    _forget_in_notes(store, model, texts)
    _forget_in_archived_notes(settings, model, texts)
    if drawn or logged:
        notes.append(f"deleted: {len(drawn) + len(logged)} reports and files of runs, which named forgotten values")
    return notes


def _drawn(settings: Settings) -> Iterator[Path]:
    yield from workspace(settings).glob("*/snapshots/*.json")


def _forget_in_notes(store: Store, model: str, texts: Collection[str]) -> None:
    """Remove the notes on unusual rows that name a text from the results of drift."""
    table, after = drift_results.c, 0
    mine = sa.select(table.id, table.report).where(table.model == model).order_by(table.id).limit(_PAGE)
    while texts:
        with store.reading() as connection:
            page = connection.execute(mine.where(table.id > after)).all()
        if not page:
            return
        after = page[-1].id
        for number, report in page:
            changed = _without_notes(report, texts)
            if changed != report:
                with store.transaction() as connection:
                    connection.execute(sa.update(drift_results).where(table.id == number).values(report=changed))


def _forget_in_archived_notes(settings: Settings, model: str, texts: Collection[str]) -> None:
    """Do the same in the archive, whose lease the caller holds."""
    archive = Archive(settings)
    for file in archive.files(drift_results.name, model) if texts else ():
        rows = archive.rows(file)
        changed = [{**row, "report": _without_notes(row["report"], texts)} for row in rows]
        if changed != rows:
            archive.rewrite(file, to_table(changed, drift_results, archive.read(file).schema))


def _without_notes(report: dict[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """Return a result of drift with the notes replaced that name a text."""
    notes = report.get("notes")
    return report if not notes else {**report, "notes": [_REMOVED if mentions(note, texts) else note for note in notes]}
