"""A file that ``predict`` writes has the answers of the service to the same rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ratchet.inference.file_prediction.predict_file import open_prediction
from ratchet.settings import Settings
from tests.fitted import baseline, registered
from tests.serving.running import serving

MODEL = "m_predicted_files"
FEATURES = ["age", "member", "zip", "plan", "joined"]


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers with gaps, booleans, categories that look like numbers, texts with separators, and dates."""
    generator = np.random.default_rng(0)
    age = generator.uniform(18, 80, 300).round(1)
    rows = pd.DataFrame(
        {
            "id": np.arange(300),
            "age": age,
            "member": generator.choice([True, False], 300),
            "zip": generator.choice(["02116", "2117", "94105"], 300),
            "plan": generator.choice(["basic", "plus, yearly", 'the "pro"'], 300),
            "joined": (pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(300), "D")).strftime("%Y-%m-%d"),
            "left": np.where(age > 50, "yes", "no"),
        }
    )
    rows.loc[::17, "age"] = np.nan
    rows.loc[::23, "plan"] = np.nan
    path = tmp_path_factory.mktemp("customers") / "customers.csv"
    rows.to_csv(path, index=False)
    return path


def sent(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The features of rows as JSON has them; a missing one is null."""
    return [{name: None if pd.isna(row[name]) or row[name] == "" else row[name] for name in FEATURES} for row in rows]


@pytest.mark.slow
def test_csv_and_parquet_have_the_answers_of_predict_batch(
    customers: Path, served_settings: Settings, output: Path, tmp_path: Path
) -> None:
    dataset = (
        f"dataset={{source: csv, path: {customers}, target: left, drop: [id], time: joined,"
        " columns: {zip: {type: category}}}"
    )
    registered(served_settings, MODEL, baseline(dataset, "embed={reducer: none}"))
    typed = pd.read_csv(customers, dtype={"zip": str, "plan": str}, parse_dates=["joined"])
    typed.astype({"plan": "category"}).to_parquet(tmp_path / "customers.parquet", index=False)
    with customers.open(newline="") as file:
        texts = list(csv.DictReader(file))
    with serving(served_settings, MODEL, output) as service:
        status, as_text = service.post("/predict_batch", {"rows": sent(texts)})
        assert status == 200, as_text
        values = json.loads(typed.assign(joined=typed["joined"].astype(str)).to_json(orient="records"))
        status, as_values = service.post("/predict_batch", {"rows": sent(values)})
        assert status == 200, as_values
    for source in (customers, tmp_path / "customers.parquet"):
        for kind in ("csv", "parquet"):
            out = tmp_path / f"out.{kind}"
            open_prediction(served_settings, MODEL, None, source, out).run(lambda share, rows: None)
            found = (
                list(csv.DictReader(io.StringIO(out.read_text(), newline="")))
                if kind == "csv"
                else pq.read_table(out).to_pylist()
            )
            assert [int(row["id"]) for row in found] == list(range(300))
            for answers in (as_text, as_values):
                for row, answer in zip(found, answers["predictions"], strict=True):
                    assert row["prediction"] == answer["prediction"]
                    chances = {label: float(row[f"probability_{label}"]) for label in ("no", "yes")}
                    assert chances == answer["probabilities"]
