"""A person's features are removed from every file of the home, and the loop goes on."""

from __future__ import annotations

import gzip
import io
import json
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from pipelines.continuous import run_continuous
from pipelines.forgotten_artifacts import PipelineArtifacts
from pipelines.report_runner import run_reporting
from pipelines.runner import RunOptions
from ratchet.config.plain_yaml import write_yaml
from ratchet.config.reporting import ReportingConfig
from ratchet.data.snapshots import production_rows, redaction_of, snapshot_path
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import ServedModel
from ratchet.loop.forget.selection import Selection
from ratchet.model.record_schema import Record
from ratchet.monitoring.production_rows import labelled_rows, newest_predictions
from ratchet.monitoring.reports.version_rows import training_rows
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.archive import PREDICTIONS, Archive
from ratchet.store.archive_columns import to_table
from ratchet.store.database import Store, open_store
from ratchet.store.prediction_batches import row_id
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import Prediction, first_id, insert_predictions
from ratchet.store.tables import feedback, prediction_batches, predictions
from tests.conftest import Cli
from tests.e2e.test_cli import refused
from tests.store_rows import batch_of, record_all
from tests.training_runs import config_for, train_in

MODEL = "forgetting"
# A category that nobody else has.
TOWN = "Ada's Zzyzx-4711"
OTHERS = 120
_BEGAN = 1_700_000_000.0


@dataclass(frozen=True)
class Home:
    """A home with the rows of a person.

    Attributes
    ----------
    single, batch, archived: the ids of the person's predictions.
    retrained: the version that was trained on some of them.
    """

    settings: Settings
    store: Store
    data: Path
    single: str
    batch: str
    archived: str
    retrained: str
    snapshot: str

    @property
    def ids(self) -> set[str]:
        return {self.single, self.batch, self.archived}


def training_data(folder: Path) -> Path:
    """A CSV of ages and towns."""
    draw = np.random.default_rng(0)
    age, town = draw.uniform(18, 80, 200).round(1), draw.choice(["Ely", "Ham", "Rye"], 200)
    rows = pd.DataFrame({"age": age, "town": town, "left": np.where((age > 50) ^ (town == "Rye"), "yes", "no")})
    path = folder / "people.csv"
    rows.to_csv(path, index=False)
    return path


def config_of(path: Path, name: str) -> Any:
    dataset = f"dataset={{source: csv, path: {path}, target: left}}"
    fast = ["train.params={n_estimators: 5}"] if name == "continuous_training" else []
    minimum = "evaluate={primary_metric: f1_macro, minimum: 0.1}"
    return config_for(MODEL, dataset, "embed={reducer: none}", minimum, *fast, name=name)


def row(number: int, features: Record, version: str = "1") -> Prediction:
    at = _BEGAN + number
    return {
        "id": f"{first_id(at)}-7000-8000-{number:012x}",
        "created_at": at,
        "model": MODEL,
        "version": version,
        "features": features,
        "prediction": "yes",
        "score": 0.6,
        "probabilities": {"no": 0.4, "yes": 0.6},
        "latency": 0.001,
    }


def other(number: int) -> Record:
    return {"age": 18.0 + number % 60, "town": ("Ely", "Ham", "Rye")[number % 3]}


def label_all(store: Store, ids: list[str]) -> None:
    record_all(store, [(Feedback(found, ("yes", "no")[at % 2]), ServedModel(MODEL)) for at, found in enumerate(ids)])


@pytest.fixture(scope="module")
def home(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Predictions of a person in the store, a batch and the archive, and a version that was trained on them."""
    data = training_data(tmp_path_factory.mktemp("people"))
    train_in(settings, config_of(data, "baseline"))
    store = open_store(settings)
    single = row(1, {"age": 36.5, "town": TOWN})
    rows = [single, *(row(number, other(number)) for number in range(2, OTHERS))]
    members = [row(500, other(7)), row(500, {"age": 37.5, "town": TOWN})]
    batch = batch_of(members, model=MODEL, version="1", batch_id=members[0]["id"], created_at=_BEGAN + 500)
    archived = row(0, {"age": 35.5, "town": TOWN})
    insert_predictions(store, [*rows, batch])
    in_batch = row_id(batch.id, 1)
    label_all(store, [*(each["id"] for each in rows), in_batch])
    table = to_table([archived], predictions)
    day = datetime.fromtimestamp(archived["created_at"], UTC).date()
    Archive(settings).write(PREDICTIONS, MODEL, day, archived["id"], table)
    run_reporting(ReportingConfig(pipeline="reporting", model=MODEL), settings, RunOptions("test"))
    summary = run_continuous(config_of(data, "continuous_training"), settings, RunOptions("test"))
    version, snapshot = str(summary.run.version), str(summary.run.snapshot)
    return Home(settings, store, data, single["id"], in_batch, archived["id"], version, snapshot)


def holders(home: Home, value: str) -> set[Path]:
    """The files of the home and of its data folder that hold a value, also in compressed files."""
    folders = (home.settings.home, home.settings.data_dir)
    files = [path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    return {path for path in files if any(value in text for text in texts_of(path))}


def texts_of(path: Path) -> Iterator[str]:
    # In another process: one that closes a file loses its POSIX locks on it, by which SQLite knows that the file is in
    # use, and the next command to end would delete the write-ahead log of this process.
    content = subprocess.run(["cat", str(path)], check=True, capture_output=True).stdout
    if content.startswith(b"PAR1"):
        yield repr(pd.read_parquet(io.BytesIO(content)).to_dict(orient="records"))
    elif content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name).decode("latin-1") for name in archive.namelist())
    elif content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content).decode("latin-1")
    yield content.decode("latin-1")


def of_models(path: Path) -> bool:
    """Whether a file belongs to a package in MLflow, which is named and not rewritten."""
    return "models" in path.parts and "mlartifacts" in path.parts


def where(home: Home, town: str = TOWN) -> tuple[str, ...]:
    return ("forget", "--model", MODEL, "--where", f"town={town}")


@pytest.mark.slow
def test_a_person_is_forgotten_everywhere_and_the_loop_goes_on(home: Home, here: Cli) -> None:
    before = holders(home, "Zzyzx")
    kinds = {path.suffix.removesuffix("-wal") for path in before}  # the store's newest pages may be in its log alone
    assert kinds >= {".db", ".parquet", ".json", ".html"}
    counts = table_counts(home.store)
    planned = here(*where(home), "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.startswith(f"{MODEL}: 3 predictions with features match\n")
    assert f"trained on some of them: {home.retrained}\n" in planned.stdout
    assert max(map(len, planned.stdout.splitlines())) <= 120
    assert holders(home, "Zzyzx") == before, "a dry run changes nothing"

    done = here(*where(home), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["predictions"], found["trained"]) == (3, [home.retrained])
    assert found["places"] == {"journal": 0, "snapshots": 2, "pipelines": 2, "archive": 1, "store": 2}
    assert {path for path in holders(home, "Zzyzx") if not of_models(path)} == set()
    assert table_counts(home.store) == counts
    kept = find_prediction(home.store, home.single)
    assert kept == row(1, {}) | {"features": None}
    assert json.loads(here("forget", "--model", MODEL, "--history", "--json").stdout)[0]["n_predictions"] == 3
    assert TOWN not in here("forget", "--model", MODEL, "--history").stdout

    again = here(*where(home), "--yes")
    assert (again.returncode, again.stdout) == (
        0,
        f"{MODEL}: no prediction with features matches; there is nothing to remove\n",
    )
    the_version_is_not_reproduced(home, here)
    the_loop_goes_on(home, here)


@pytest.mark.slow
def test_an_erasure_that_is_killed_among_the_artifacts_of_pipelines_is_continued(
    home: Home, here: Cli, cli: Cli
) -> None:
    one = row(20, {})["id"]
    words = ("forget", "--model", MODEL, "--prediction", one, "--yes")
    artifacts, wanted = PipelineArtifacts(home.settings), Selection(ids=frozenset([one]))
    assert artifacts.find(wanted) == {one}
    killed = cli(*words, RATCHET_FAILPOINT="erasure_artifact")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert artifacts.find(wanted) == {one}, "an interrupted erasure finds the run again"
    assert here(*words).returncode == 0
    (newest, *_) = json.loads(here("forget", "--model", MODEL, "--history", "--json").stdout)
    assert (newest["state"], newest["n_predictions"]) == ("completed", 1)
    assert artifacts.find(wanted) == set()


def the_version_is_not_reproduced(home: Home, here: Cli) -> None:
    message = refused(here("reproduce", home.retrained, "--model", MODEL))
    assert f"{MODEL} version {home.retrained} cannot be trained again: training rows of it were forgotten on" in message
    config = str(home.settings.home / "config.yaml")
    Path(config).write_text(write_yaml(config_of(home.data, "continuous_training").to_plain()))
    message = refused(here("--config", config, "--snapshot", home.snapshot))
    redaction = redaction_of(home.settings, home.snapshot)
    assert redaction is not None
    assert redaction.rows == 2
    assert f"the remaining rows are the snapshot {redaction.replaced_by}" in message
    assert "erasure 1 on" in json.dumps(json.loads(here("lineage", home.retrained, "--model", MODEL, "--json").stdout))


def the_loop_goes_on(home: Home, here: Cli) -> None:
    """Reports, exports, lineage and continuous training work on what remains."""
    rows = labelled_rows(home.store, MODEL, "1", 1000)
    assert len(rows) == OTHERS
    assert {found.prediction_id for found in rows if not found.features} == {home.single, home.batch}
    assert not home.ids & {found.prediction_id for found in newest_predictions(home.store, MODEL, "1", 1000)}
    assert json.loads(here("lineage", home.single, "--json").stdout)["prediction"]["features"] is None
    version = ProductionPointer(home.settings, MODEL).require_current()
    training_rows(home.settings, version)  # of a redacted snapshot, if the version was trained on one
    new = [row(1000 + number, other(number)) for number in range(60)]
    insert_predictions(home.store, new)
    label_all(home.store, [each["id"] for each in new])
    summary = run_continuous(config_of(home.data, "continuous_training"), home.settings, RunOptions("test"))
    assert str(summary.run.version) not in ("None", home.retrained)
    rows = production_rows(snapshot_path(home.settings, str(summary.run.snapshot)))
    assert rows is not None
    assert not home.ids & set(rows.index)
    assert len(rows) == OTHERS - 2 + 60
    assert {path for path in holders(home, "Zzyzx") if not of_models(path)} == set()


def table_counts(store: Store) -> list[int]:
    with store.reading() as connection:
        tables = (predictions, prediction_batches, feedback)
        return [int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0) for table in tables]
