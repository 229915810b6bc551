"""The text of a file, sent as a request, gets the prediction of the training frame's row; the file has not drifted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ratchet.config import Drift, TrainingConfig
from ratchet.config.files import load_config
from ratchet.data import LoadedDataset, Schema, load_dataset
from ratchet.data.fingerprint import canonical_csv
from ratchet.inference.engines import SklearnEngine
from ratchet.inference.file_prediction.predict_file import prediction_of
from ratchet.inference.production_model import ProductionModel
from ratchet.inference.runtime import Runtime
from ratchet.model.package.profiling import profile_rows
from ratchet.monitoring.drift.report import compare
from tests.batch_bodies import columns_body, stream
from tests.conftest import ROOT
from tests.fitted import CONFIGS, Trained, fit
from tests.originals import FETCHED, served
from tests.row_texts import Row, as_numbers, as_strings, text_rows
from tests.web_server import Site, serving

CASES = ROOT / "tests" / "cases"
# Config of each file: the target, and what else is declared; a dotted key is one of another section.
DECLARED: dict[str, dict[str, Any]] = {
    "zips": {"target": "claim", "columns": {"zip": {"type": "category"}}},
    "releases": {"target": "state", "columns": {"release": {"type": "category"}}},
    "devices": {"target": "fault", "columns": {"device": {"type": "category"}}},
    "countries": {"target": "outcome"},
    "disorders": {"target": "disorder"},
    "names": {"target": "buys"},
    "names_reserved": {"target": "buys"},
    "names_twins": {"target": "y"},
    "decimals": {"target": "clase", "separator": ";", "decimal": ","},
    "numbered": {"target": "animal"},
    "stores": {"target": "sales", "time": "day", "task": "regression"},
    "gaps": {"target": "load", "time": "hour", "task": "regression", "embed": {"kind": "series"}},
    "survey": {"target": "decision"},
    "costs": {"target": "late"},
}
BUNDLED = ("iris", "breast_cancer", "digits", "diabetes", "wine", "fraud", "churn")
ROWS = 200


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def config_of(case: str) -> TrainingConfig:
    keys = dict(DECLARED[case])
    task, embed = keys.pop("task", "classification"), keys.pop("embed", {"reducer": "none"})
    linear = "LogisticRegression" if task == "classification" else "Ridge"
    return TrainingConfig.model_validate(
        {
            "model": "m",
            "task": task,
            "dataset": {"source": "csv", "path": str(CASES / f"{case}.csv"), **keys},
            "embed": embed,
            "train": {"estimator": f"sklearn.linear_model.{linear}"},
            "evaluate": {"primary_metric": "accuracy" if task == "classification" else "rmse"},
        }
    )


def assert_rows_get_their_predictions(trained: Trained, data: LoadedDataset, rows: Sequence[Row]) -> None:
    schema = trained.schema
    runtime = Runtime("m", "1", "digest", schema, SklearnEngine(trained.model, schema), "scikit-learn")
    expected = trained.model.predict(schema.select(data.frame.head(len(rows)))).tolist()
    writers: tuple[Callable[[Row, Schema], str], ...] = (as_strings, as_numbers)
    for write in writers:
        bodies = [write(row, schema).encode() for row in rows]
        records = [runtime.reader.read(body) for body in bodies]
        assert [answer.prediction for answer in runtime.predict(records)] == expected, write.__name__
        rows_body = b'{"rows": [%s]}' % b", ".join(bodies)
        assert runtime.reader.read_many(rows_body) == records
        columns, as_columns = runtime.batch_reader.read_json(columns_body(bodies))
        assert as_columns
        for batch in (columns, runtime.batch_reader.read_json(rows_body)[0]):
            assert batch.to_pylist() == records, write.__name__
            assert runtime.predict_columns(batch).prediction.to_pylist() == expected, write.__name__
    texts = pa.Table.from_pylist([{name: row[name] for name in schema.feature_names} for row in rows])
    frame = pa.Table.from_pandas(data.frame.head(len(rows)), preserve_index=False).select(schema.feature_names)
    for table in (texts, frame):
        batch = runtime.batch_reader.read_arrow(stream(table))
        assert runtime.predict_columns(batch).prediction.to_pylist() == expected
        assert batch.equals(columns)


def assert_files_get_the_predictions_of_their_rows(
    trained: Trained, data: LoadedDataset, csv: Path, folder: Path
) -> None:
    """The training file, and its typed rows and its text as Parquet."""
    schema = trained.schema
    expected = trained.model.predict(schema.select(data.frame)).tolist()
    runtime = Runtime("m", "1", "digest", schema, SklearnEngine(trained.model, schema), "scikit-learn")
    data.frame.to_parquet(folder / "typed.parquet")
    texts = text_rows(csv.read_bytes(), DECLARED[csv.stem].get("separator", ","))
    pq.write_table(pa.Table.from_pylist(texts), folder / "texts.parquet")
    for source in (csv, folder / "typed.parquet", folder / "texts.parquet"):
        target = folder / f"of_{source.stem}.parquet"
        config = trained.config.dataset.model_dump()
        prediction_of(ProductionModel(runtime), config, source, target).run(lambda share, rows: None)
        assert pq.read_table(target).column("prediction").to_pylist() == expected, source


def assert_no_drift(data: LoadedDataset) -> None:
    report = compare(data.frame, profile_rows(data.frame, data.schema), Drift(method="psi"), "1")
    assert set(report.figures) == {field.name for field in data.schema.features if field.type != "time"}
    assert set(report.figures.values()) <= {0.0}
    assert report.drifted == ()


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.glob("*.csv")))
def test_the_text_of_a_file_gets_the_prediction_of_its_row(case: str, tmp_path: Path) -> None:
    config = config_of(case)
    trained, data = fit(config), load_dataset(config.dataset, config.task)
    rows = text_rows((CASES / f"{case}.csv").read_bytes(), DECLARED[case].get("separator", ","))
    assert_rows_get_their_predictions(trained, data, rows)
    assert_files_get_the_predictions_of_their_rows(trained, data, CASES / f"{case}.csv", tmp_path)
    assert_no_drift(data)


@pytest.mark.parametrize("use_case", [*BUNDLED, *FETCHED])
def test_the_text_of_a_bundled_data_set_gets_the_prediction_of_its_row(use_case: str, site: Site) -> None:
    config = baseline(use_case, site)
    trained, data = fit(config), load_dataset(config.dataset, config.task)
    rows = text_rows(canonical_csv(data.frame.head(ROWS)))
    assert_rows_get_their_predictions(trained, data, rows)
    assert_no_drift(data)


def baseline(use_case: str, site: Site) -> TrainingConfig:
    if use_case in FETCHED:
        return served(site, Path(use_case, "baseline.yaml"), "evaluate.minimum=null", "evaluate.maximum=null")
    return load_config(CONFIGS / use_case / "baseline.yaml")


# Files of the old reader's mistakes: what is right for them.
@pytest.mark.parametrize(
    ("case", "column", "categories"),
    [
        ("zips", "zip", ("00501", "02116", "10001", "94110")),
        ("releases", "release", ("1.1", "1.10", "1.2", "1.20")),
        ("devices", "device", tuple(f"158221819562593894{digit}" for digit in "5678")),
        ("countries", "country", ("BW", "NA", "ZA")),
    ],
)
def test_categories_keep_their_text(case: str, column: str, categories: tuple[str, ...]) -> None:
    schema = load_dataset(config_of(case).dataset, "classification").schema
    assert next(field for field in schema.features if field.name == column).categories == categories


def test_a_word_of_pandas_for_a_missing_value_is_a_class() -> None:
    assert load_dataset(config_of("disorders").dataset, "classification").schema.labels == (
        "Apnea",
        "Insomnia",
        "None",
    )


def test_labels_that_are_declared_a_category_keep_their_zeros(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "".join(f"{number},{'007' if number % 2 else '012'}\n" for number in range(20)))
    for columns in ({}, {"y": {"type": "category"}}):
        config = config_of("costs").model_dump()["dataset"] | {"path": path, "target": "y", "columns": columns}
        dataset = TrainingConfig.model_validate(config_of("costs").model_dump() | {"dataset": config}).dataset
        assert load_dataset(dataset, "classification").schema.labels == ("007", "012")


def test_a_declared_nullable_column_takes_null_without_a_gap_in_training(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("x,word,y\n" + "".join(f"{n},{'ab'[n % 2]},{'no' if n < 20 else 'yes'}\n" for n in range(40)))
    declared = {"x": {"nullable": True}, "word": {"nullable": True}}
    config = config_of("costs").model_dump()
    config["dataset"] |= {"path": path, "target": "y", "columns": declared}
    trained = fit(TrainingConfig.model_validate(config))
    runtime = Runtime("m", "1", "d", trained.schema, SklearnEngine(trained.model, trained.schema), "scikit-learn")
    records = [runtime.reader.read(body) for body in (b'{"x": null, "word": null}', b'{"x": "", "word": ""}', b"{}")]
    assert records[:2] == [{"x": None, "word": None}] * 2
    assert len({answer.probabilities["no"] for answer in runtime.predict(records) if answer.probabilities}) == 1
