"""The command ``predict``: what it prints and writes, its errors, Ctrl-C, SIGTERM and its memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.runner import RunSummary
from ratchet.data import open_source
from tests.conftest import ROOT, Cli
from tests.process_groups import kill_group
from tests.serving.running import wait_until
from tests.terminal import RUN, Terminal

pytestmark = pytest.mark.usefixtures("first")


@pytest.fixture
def flowers(tmp_path: Path, first: RunSummary) -> Path:
    """The rows of Iris as a file."""
    path = tmp_path / "flowers.csv"
    open_source(first.config.dataset).read().to_csv(path, index=False)
    return path


def test_it_writes_a_file_beside_the_input_and_says_what_is_in_it(flowers: Path, here: Cli) -> None:
    done = here("predict", str(flowers), "--model", "iris")
    assert (done.returncode, done.stderr) == (0, "")
    out = pd.read_csv(flowers.with_name("flowers.predictions.csv"))
    assert (out["prediction"] == out["species"]).mean() > 0.9
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [name for name, _ in lines] == ["predicted", "model", "species", "file"]
    assert lines[0][1].startswith("150 rows in ")
    assert "setosa: 50" in lines[2][1]
    assert lines[3][1].strip() == str(flowers.with_name("flowers.predictions.csv"))


def test_a_version_and_an_output_are_chosen_and_printed_as_json(flowers: Path, here: Cli) -> None:
    out = flowers.with_name("scores.parquet")
    done = here("predict", str(flowers), "-m", "iris", "--version", "1", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["version"], found["rows"], found["file"]) == ("iris", "1", 150, str(out))
    assert pd.read_parquet(out)["prediction"].value_counts().to_dict() == found["labels"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.csv"], "none.csv: No such file or directory"),
        (["."], ".: expected a file whose name ends with .csv, .tsv or .parquet"),
        (["flowers.csv", "--version", "99"], "iris has no version '99'"),
        (["flowers.csv", "--out", "none/x.csv"], "none/x.csv: there is no folder none"),
        (["flowers.csv", "--out", "flowers.csv"], "flowers.csv: is the input"),
        (["wide.csv"], "wide.csv: columns 'wide', 'region' are no feature of iris"),
        (["renamed.csv"], "renamed.csv: column 'petal_width' is missing; is it 'petal_widht'?"),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_status_2(
    words: list[str], message: str, flowers: Path, here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flowers.parent)
    frame = pd.read_csv(flowers)
    frame.assign(wide=1, region=2).to_csv("wide.csv", index=False)
    frame.rename(columns={"petal_width": "petal_widht"}).to_csv("renamed.csv", index=False)
    before = {path.name for path in flowers.parent.iterdir()}
    done = here("predict", *words, "--model", "iris")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert {path.name for path in flowers.parent.iterdir()} == before


def many(path: Path, rows: int) -> Path:
    """Write a file with many flowers."""
    generator = np.random.default_rng(0)
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    values = generator.uniform(0.1, 8, (rows, 4)).round(1)
    pa.csv.write_csv(pa.table(dict(zip(names, values.T, strict=True))), path)
    return path


def partial_of(folder: Path) -> Path | None:
    return next(folder.glob(".ratchet-*.partial"), None)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_ctrl_c_during_the_bar_leaves_nothing(tmp_path: Path, columns: int) -> None:
    source = many(tmp_path / "many.csv", 4_000_000)
    with Terminal(
        [*RUN, "predict", str(source), "--model", "iris"], columns=columns, RATCHET_HOME=os.environ["RATCHET_HOME"]
    ) as terminal:
        terminal.wait_for("000 rows")
        wait_until(lambda: partial_of(tmp_path) is not None, 60)
        terminal.interrupt()
        screen = terminal.end()
    assert screen.status == 130
    assert screen.text.strip() == "interrupted"
    assert [path.name for path in tmp_path.iterdir()] == ["many.csv"]


@pytest.mark.slow
def test_a_stop_by_a_signal_leaves_nothing(tmp_path: Path) -> None:
    source = many(tmp_path / "many.csv", 4_000_000)
    words = [sys.executable, "run.py", "predict", str(source), "-m", "iris"]
    process = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    try:
        wait_until(lambda: partial_of(tmp_path) is not None, 120)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    finally:
        kill_group(process.pid)
        process.wait(30)
    assert [path.name for path in tmp_path.iterdir()] == ["many.csv"]


@pytest.mark.slow
def test_a_terminal_shows_the_result_after_the_bar(flowers: Path) -> None:
    with Terminal(
        [*RUN, "predict", str(flowers), "--model", "iris"], RATCHET_HOME=os.environ["RATCHET_HOME"]
    ) as terminal:
        terminal.wait_for("loading the model")
        screen = terminal.end()
    assert screen.status == 0
    assert [line.split()[0] for line in screen.lines if line[:1].strip()] == ["predicted", "model", "species", "file"]


@pytest.mark.slow
@pytest.mark.parametrize("write", [many, lambda path, rows: pd.read_csv(many(path, rows)).to_parquet(path)])
def test_memory_does_not_grow_with_the_rows(write: Callable[[Path, int], object], tmp_path: Path) -> None:
    suffix = ".csv" if write is many else ".parquet"
    peaks = []
    for rows in (100_000, 2_000_000):
        source = tmp_path / f"rows{suffix}"
        write(source, rows)
        code = "import resource, sys, run; run.app(sys.argv[1:], standalone_mode=False);"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        words = [sys.executable, "-c", code, "predict", str(source), "-m", "iris", "--json"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] < 1.2 * peaks[0]
