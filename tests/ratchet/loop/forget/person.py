"""A person's rows in every place of a home that needs no pipeline, and the files that hold them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ratchet.data.snapshots import PART, PARTS, ROW, write_snapshot
from ratchet.inference.journal import Journal
from ratchet.inference.journal_rows import damaged_line, to_line
from ratchet.loop.forget.selection import Selection
from ratchet.settings import Settings
from ratchet.store.archive import PREDICTIONS, Archive
from ratchet.store.archive_columns import to_table
from ratchet.store.database import Store
from ratchet.store.prediction_batches import row_id
from ratchet.store.predictions import Prediction, insert_predictions
from ratchet.store.tables import predictions
from tests.store_rows import batch_of, prediction

MAIL = "ada@example.org"
BY_MAIL = Selection(conditions={None: {"mail": MAIL}})


def of_ada(number: int, **changes: Any) -> Prediction:
    """A prediction for the person."""
    return prediction(number, features={"mail": MAIL, "age": 36.5}, **changes)


def of_other(number: int) -> Prediction:
    """A prediction for another person."""
    return prediction(number, features={"mail": f"{number}@example.org", "age": 20.5})


def in_store(store: Store) -> set[str]:
    """Two single rows and one of a batch, with others around them; the ids of the person's."""
    batch = batch_of([of_other(50), of_ada(50)], number=50)
    insert_predictions(store, [of_ada(1), of_other(2), of_ada(3), batch])
    return {of_ada(1)["id"], of_ada(3)["id"], row_id(batch.id, 1)}


def in_journal(settings: Settings) -> set[str]:
    """A row and one of a batch in a segment, and in a file of set-aside entries, with a damaged entry."""
    journal = Journal(settings.home / "journal")
    journal.append([of_ada(60), of_other(61), batch_of([of_ada(62), of_other(62)], number=62)])
    journal.release()
    aside = [of_ada(70), of_other(71), batch_of([of_other(72), of_ada(72)], number=72)]
    lines = [*map(to_line, aside), damaged_line(b"half")]
    (journal.folder / "0.bad").write_bytes(b"".join(lines))
    return {f"{60:036d}", f"{62:036d}#00000", f"{70:036d}", f"{72:036d}#00001"}


def in_archive(settings: Settings, age: float | str = 36.5) -> set[str]:
    """A row in a file of the archive."""
    row = of_ada(10)
    row["features"] = {"mail": MAIL, "age": age}
    table = to_table([row, of_other(11)], predictions)
    day = datetime.fromtimestamp(of_ada(10)["created_at"], UTC).date()
    Archive(settings).write(PREDICTIONS, "iris", day, of_ada(10)["id"], table)
    return {of_ada(10)["id"]}


def snapshot(settings: Settings) -> str:
    """A snapshot with a row to train on and a held-out one of the person, whose mail is in the reference too."""
    features = pd.DataFrame([row["features"] for row in (of_ada(0), of_other(2), of_ada(20), of_ada(21), of_other(22))])
    parts = [PARTS[0], PARTS[2], PARTS[1], PARTS[3], PARTS[3]]
    ids = ["0", "1", of_ada(20)["id"], of_ada(21)["id"], of_other(22)["id"]]
    features.loc[0, "mail"] = "reference@example.org"
    frame = features.assign(n=np.arange(5), kind="a", **{PART: parts, ROW: ids})
    return write_snapshot(settings, frame, "source")


SNAPSHOT_IDS = {f"{20:036d}", f"{21:036d}"}


def holders(folder: Path, value: str = MAIL) -> list[str]:
    """The files that hold a value, also in compressed columns."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if value in _text(path))


def _text(path: Path) -> str:
    content = path.read_bytes()
    rows = pd.read_parquet(io.BytesIO(content)).to_dict(orient="records") if content.startswith(b"PAR1") else ""
    return f"{rows}{content.decode('latin-1')}"
