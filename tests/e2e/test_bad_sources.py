"""Invalid data and search spaces on the command line: one line, status 2."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Cli
from tests.e2e.test_cli import refused
from tests.web_server import Site, serving

CSV = b"size,kind\n" + b"".join(b"%d,%s\n" % (row, b"ab"[row % 2 : row % 2 + 1]) for row in range(40))
SHA, OTHER = hashlib.sha256(CSV).hexdigest(), hashlib.sha256(b"other").hexdigest()

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


def test_a_download_resumes_after_a_cut_and_its_copy_survives_a_change(run: Any, site: Site, tmp_path: Path) -> None:
    url = site.put("/sizes.csv", CSV, cut=100)
    assert url in refused(run(source="http", url=url, sha256=SHA))
    assert not list((tmp_path / "data").glob("*"))
    site.put("/sizes.csv", CSV)
    assert run(source="http", url=url, sha256=SHA).returncode == 0
    message = refused(run(source="http", url=url, sha256=OTHER))
    assert SHA in message
    assert OTHER in message
    assert [path.read_bytes() for path in (tmp_path / "data").iterdir()] == [CSV]


@pytest.mark.parametrize(
    ("content", "hint"),
    [(b"size;kind\n1;a\n2;b\n", "separator"), ("gr\u00f6\u00dfe,kind\n1,a\n2,b\n".encode("utf-16"), "encoding")],
)
def test_a_wrong_separator_or_encoding_ends_a_training_run_with_one_line(
    cli: Cli, tmp_path: Path, content: bytes, hint: str
) -> None:
    path = tmp_path / "sizes.csv"
    path.write_bytes(content)
    found = cli("--config", config(tmp_path, source="csv", path=str(path)), RATCHET_HOME=str(tmp_path / "home"))
    assert found.returncode == 2
    assert hint in found.stderr.strip().splitlines()[-1]
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("gamma", 0.0, 1.0), ("C", 2.0, 1.0), ("C", -1.0, 1.0)],
    ids=["not of the estimator", "upside down", "out of its range"],
)
def test_an_invalid_search_space_is_refused_and_starts_no_study(
    cli: Cli, tmp_path: Path, name: str, low: float, high: float
) -> None:
    space = {f"train.params.{name}": {"type": "float", "low": low, "high": high}}
    content = yaml.safe_load((ROOT / "configs" / "iris" / "baseline.yaml").read_text())
    path = tmp_path / "tuning.yaml"
    path.write_text(yaml.safe_dump({**content, "pipeline": "tuning", "search": {"space": space}}))
    assert name in refused(cli("--config", str(path), RATCHET_HOME=str(tmp_path / "home")))
    assert list((tmp_path / "home").glob("*.db")) == []
