"""The file of a data set has the hash that every run records."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from ratchet.config import Dataset
from ratchet.data import dataset_version, open_source
from ratchet.data.fingerprint import canonical_csv, frame_version
from ratchet.data.materialise import file_name, materialise, recorded_version
from ratchet.errors import DataError, StateError
from tests.web_server import serving

IRIS = {"source": "sklearn", "name": "iris", "target": "species"}
OTHER = "0" * 32


def dataset(**section: Any) -> Any:
    return TypeAdapter(Dataset).validate_python(section or IRIS)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def written(config: Any, folder: Path, name: str = "data") -> Path:
    """The file of a data set, written into a folder."""
    path = file_name(config, folder, name)
    materialise(config, path)
    return path


@pytest.fixture
def wine_csv(tmp_path: Path) -> Path:
    path = tmp_path / "wine.csv"
    path.write_text("a,b\n1,x\n2,y\n")
    return path


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes", "fraud", "churn"])
def test_the_file_of_a_data_set_has_its_version_as_hash(tmp_path: Path, name: str) -> None:
    generated = {"source": "generated", "rows": 200}
    config = dataset(name=name, target="goal", **(generated if name in ("fraud", "churn") else {"source": "sklearn"}))
    path = written(config, tmp_path / "data")
    assert path == tmp_path / "data" / f"{name}.csv"
    assert md5(path) == dataset_version(config)
    assert len(pd.read_csv(path)) == len(open_source(config).read())


def test_canonical_csv_has_a_header_line_feeds_and_the_shortest_floats() -> None:
    frame = pd.DataFrame({"size": [0.1, 1e-7], "name": ["ä,b", None]}, index=[5, 6])
    assert canonical_csv(frame) == 'size,name\n0.1,"ä,b"\n1e-07,\n'.encode()
    assert frame_version(frame) == hashlib.md5(canonical_csv(frame)).hexdigest()


def test_a_file_with_the_right_hash_is_not_written(tmp_path: Path) -> None:
    path = written(dataset(), tmp_path)
    before = path.stat()
    again = materialise(dataset(), path)
    assert not again.written
    assert again.version == md5(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_with_other_bytes_is_refused_with_both_hashes(tmp_path: Path) -> None:
    path = written(dataset(), tmp_path)
    right = md5(path)
    path.write_text("mine")
    with pytest.raises(DataError, match=f"its hash is {md5(path)}, and the source gives {right}.*--force"):
        materialise(dataset(), path)
    assert path.read_text() == "mine"
    assert materialise(dataset(), path, force=True).written
    assert md5(path) == right


def test_data_with_another_hash_than_dvc_recorded_are_refused(tmp_path: Path) -> None:
    path = file_name(dataset(), tmp_path, "x")
    with pytest.raises(DataError, match=rf"the hash {dataset_version(dataset())}, and DVC has recorded {OTHER}"):
        materialise(dataset(), path, recorded=OTHER)
    assert not path.exists()
    assert materialise(dataset(), path, recorded=OTHER, force=True).written


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    path = file_name(dataset(), tmp_path / "data", "x")
    with pytest.raises(DataError, match="there is no such file"):
        materialise(dataset(), path, write=False)
    assert not path.parent.exists()
    written(dataset(), tmp_path / "data")
    assert not materialise(dataset(), path, write=False).written


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(StateError, match=r"iris\.csv cannot be written"):
        written(dataset(), tmp_path / "data")


def test_a_local_file_is_not_copied(wine_csv: Path, tmp_path: Path) -> None:
    config = dataset(source="csv", path=wine_csv, target="b")
    assert written(config, tmp_path / "data") == wine_csv
    assert not (tmp_path / "data").exists()


def test_the_rows_of_a_query_are_a_file_with_the_models_name(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "own.db") as database:
        database.execute("CREATE TABLE seen AS SELECT 1 AS a, 'x' AS b UNION SELECT 2, 'y'")
    database.close()
    url = f"sqlite:///{tmp_path}/own.db"
    config = dataset(source="sql", url=url, query="SELECT * FROM seen ORDER BY a", target="b")
    path = written(config, tmp_path / "data", "flowers")
    assert (path.name, path.read_text()) == ("flowers.csv", "a,b\n1,x\n2,y\n")
    assert md5(path) == dataset_version(config)


def test_a_download_is_copied_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_DOWNLOADS_DIR", str(tmp_path / "downloads"))
    body = b"a\tb\r\n1\tx\r\n2\ty\r\n"
    with serving() as site:
        config = dataset(source="http", url=site.put("/own.tsv", body), target="b")
        path = written(config, tmp_path / "data", "flowers")
    assert (path.name, path.read_bytes()) == ("flowers.tsv", body)
    assert md5(path) == dataset_version(config)


@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_a_missing_file_that_dvc_tracks_names_the_command_to_pull_it(tmp_path: Path, source: str) -> None:
    path = tmp_path / f"own.{source}"
    config = dataset(source=source, path=path, target="b")
    with pytest.raises(DataError, match=r"No such file or directory$"):
        dataset_version(config)
    path.with_name(f"{path.name}.dvc").write_text("outs: []")
    with pytest.raises(DataError, match=rf"run dvc pull .*own\.{source}\.dvc$"):
        dataset_version(config)


def lock(root: Path, section: dict[str, Any], version: str) -> None:
    stage = {
        "params": {"configs/iris/baseline.yaml": {"dataset": section}},
        "outs": [{"path": "data/iris.csv", "hash": "md5", "md5": version}],
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"data@iris": stage}}))


def test_the_recorded_hash_is_that_of_the_same_dataset_section(tmp_path: Path) -> None:
    path = tmp_path / "data" / "iris.csv"
    assert recorded_version(tmp_path, path, dataset()) is None
    lock(tmp_path, IRIS, OTHER)
    assert recorded_version(tmp_path, path, dataset()) == OTHER
    assert recorded_version(tmp_path, path, dataset(source="sklearn", name="iris", target="kind")) is None
    lock(tmp_path, {"source": "gone"}, OTHER)
    assert recorded_version(tmp_path, path, dataset()) is None


def test_a_yes_in_dvc_lock_is_text(tmp_path: Path) -> None:
    section = {"source": "generated", "name": "churn", "target": "churned", "positive": "yes"}
    section |= {"costs": {"false_negative": 2, "false_positive": 1}}  # no truth values, though they begin with one
    lock(tmp_path, section, OTHER)
    written = (tmp_path / "dvc.lock").read_text().replace("'yes'", "yes")
    (tmp_path / "dvc.lock").write_text(written.replace("iris", "churn"))
    assert recorded_version(tmp_path, tmp_path / "data" / "churn.csv", dataset(**section)) == OTHER


def test_the_recorded_hash_of_a_local_file_is_in_its_dvc_file(wine_csv: Path, tmp_path: Path) -> None:
    config = dataset(source="csv", path=wine_csv, target="b")
    content = {"outs": [{"md5": OTHER, "size": 12, "hash": "md5", "path": wine_csv.name}]}
    (tmp_path / "wine.csv.dvc").write_text(yaml.safe_dump(content))
    assert recorded_version(tmp_path, wine_csv, config) == OTHER


def test_a_damaged_lock_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("stages: [")
    with pytest.raises(DataError, match=r"dvc\.lock: cannot be read"):
        recorded_version(tmp_path, tmp_path / "iris.csv", dataset())
