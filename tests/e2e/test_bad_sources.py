"""Data that cannot be had, and searches that cannot be made, through the command line: one line, status 2."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Cli
from tests.e2e.test_cli import refused
from tests.web_server import Site, serving

CSV = b"size,kind\n" + b"".join(b"%d,%s\n" % (row, b"ab"[row % 2 : row % 2 + 1]) for row in range(40))
SHA = hashlib.sha256(CSV).hexdigest()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def config(folder: Path, **dataset: Any) -> str:
    """A config of training on a data set."""
    path = folder / "config.yaml"
    content = {
        "model": "sizes",
        "dataset": {"target": "kind", **dataset},
        "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
        "evaluate": {"primary_metric": "accuracy"},
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> Any:
    """``run.py data`` in folders of the test's own."""

    def run(**dataset: Any) -> Any:
        places = {"RATCHET_DATA_DIR": str(tmp_path / "data"), "RATCHET_DOWNLOADS_DIR": str(tmp_path / "downloads")}
        return cli("data", "--config", config(tmp_path, **dataset), **places)

    return run


def test_a_file_that_changed_names_both_hashes_and_the_old_one_is_kept(run: Any, site: Site, tmp_path: Path) -> None:
    url = site.put("/sizes.csv", CSV)
    assert run(source="http", url=url, sha256=SHA).returncode == 0
    kept = (tmp_path / "data").iterdir().__next__()
    other = hashlib.sha256(b"other").hexdigest()
    said = refused(run(source="http", url=url, sha256=other))
    assert SHA in said
    assert other in said
    assert kept.read_bytes() == CSV


def test_a_download_that_is_cut_off_is_told_and_goes_on_later(run: Any, site: Site, tmp_path: Path) -> None:
    url = site.put("/cut.csv", CSV, cut=100)
    assert url in refused(run(source="http", url=url, sha256=SHA))
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())
    site.put("/cut.csv", CSV)
    assert run(source="http", url=url, sha256=SHA).returncode == 0
    assert [path.read_bytes() for path in (tmp_path / "data").iterdir()] == [CSV]


def test_an_address_where_nobody_answers_is_named(run: Any, site: Site) -> None:
    url = "http://127.0.0.1:9/sizes.csv"
    assert url in refused(run(source="http", url=url, sha256=SHA))
    said = refused(run(source="http", url=site.url + "/nowhere.csv", sha256=SHA))
    assert "/nowhere.csv" in said
    assert "404" in said


def test_a_query_that_gives_nothing_is_told(run: Any, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "sizes.db")
    database.execute("CREATE TABLE sizes (size REAL, kind TEXT)")
    database.commit()
    database.close()
    found = run(source="sql", url=f"sqlite:///{tmp_path}/sizes.db", query="SELECT * FROM sizes")
    assert "no rows" in refused(found)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"size;kind\n1;a\n2;b\n", "separator"), ("gr\u00f6\u00dfe,kind\n1,a\n2,b\n".encode("utf-16"), "encoding")],
)
def test_another_separator_or_encoding_is_named_by_a_training_run(
    cli: Cli, tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "sizes.csv"
    path.write_bytes(content)
    found = cli("--config", config(tmp_path, source="csv", path=str(path)), RATCHET_HOME=str(tmp_path / "home"))
    assert found.returncode == 2
    assert said in found.stderr.strip().splitlines()[-1]
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "search.space"),
        ({"train.params.gamma": {"type": "float", "low": 0, "high": 1}}, "gamma"),
        ({"train.params.C": {"type": "float", "low": 2.0, "high": 1.0}}, "train.params.C"),
        ({"train.params.C": {"type": "float", "low": -1.0, "high": 1.0}}, "train.params.C"),
    ],
    ids=["empty", "not of the estimator", "upside down", "out of its range"],
)
def test_a_search_space_that_cannot_be_searched_is_refused(
    cli: Cli, tmp_path: Path, space: dict[str, Any], said: str
) -> None:
    content = yaml.safe_load((ROOT / "configs" / "iris" / "baseline.yaml").read_text())
    path = tmp_path / "tuning.yaml"
    path.write_text(yaml.safe_dump({**content, "pipeline": "tuning", "search": {"space": space}}))
    assert said in refused(cli("--config", str(path), RATCHET_HOME=str(tmp_path / "home")))
    assert list((tmp_path / "home").glob("*.db")) == [], "no study was begun"
