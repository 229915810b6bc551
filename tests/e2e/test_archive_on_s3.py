"""The archive in a bucket of a real S3 server."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from ratchet.settings import Settings
from ratchet.store.archive import PREDICTIONS, Archive
from ratchet.store.archive_columns import to_table
from ratchet.store.tables import predictions
from tests.store_rows import prediction

pytestmark = pytest.mark.slow


def test_a_bucket_holds_the_files_of_the_archive(bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    archive, model, day = Archive(Settings(archive="s3://ratchet/archive")), "a b/c#", date(2026, 1, 2)
    assert archive.files() == []
    rows = [dict(prediction(number, model=model)) for number in range(3)]
    archive.write(PREDICTIONS, model, day, f"{rows[0]['id']}#00001", to_table(rows, predictions))
    (file,) = archive.files(PREDICTIONS, model, day)
    assert archive.files() == [file]
    assert archive.rows(file) == rows
    frame = pd.read_parquet("s3://ratchet/archive/predictions")
    assert set(frame["model"].astype(str)) == {model}
    archive.rewrite(file, to_table(rows[:1], predictions))
    assert archive.rows(archive.files()[0]) == rows[:1]
    archive.delete(file)
    archive.delete(file)
    assert archive.files() == []
