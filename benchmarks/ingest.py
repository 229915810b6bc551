"""Cost of ingest and embed: of a Parquet file larger than memory, and of a CSV file compared with pandas.

Run as ``.venv/bin/python benchmarks/ingest.py [--rounds N]``, or with ``--csv`` for the second part alone, which keeps
the figures of the first.

The first part checks that a Parquet file larger than memory needs the memory of two batches, in linear time. A file of
5,000,000 x 20 (19 normal numbers and a class, in 20 row groups), and the first half and quarter of it. Every side is a
process of its own that times itself, and tells its peak memory by the kernel's account:

- **ours**: ``ratchet.data.batches``, ingest (types, ranges, rules, split, samples) and embed (impute, scale, PCA);
- **pandas + scikit-learn**: the file read whole, split and fitted, with the same kinds of steps;
- **floor**: Arrow reads the batches and throws them away.

The constant in "two batches plus a constant" is the peak of the same process on a file of 1,000 rows. What is above it
hardly depends on the batch: ingest and embed look at 16,384 rows at a time.

The second part reads a CSV of 1,000,000 x 20 (16 numbers, 3 categories and a class), splits it, and encodes the
training rows: **ours** as the steps ingest and embed do, and **pandas + scikit-learn** with ``read_csv``,
``train_test_split`` and the same encoder.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from measure import RESULTS, ROOT, Command, Target, Timing, describe_machine, in_turn, rounds_asked_for, write_result
from rich.console import Console
from rich.table import Table
from table import targets_table

SIDES = Path(__file__).resolve().parent / "ingest_sides"
TINY, SIZES = 1000, (1_250_000, 2_500_000, 5_000_000)
FEATURES = tuple(f"x{i}" for i in range(19))
ROW_GROUP = 250_000
BATCHES = (200_000, 500_000, 1_000_000)
# The batch at which time is looked at.
TIMED = BATCHES[1]
ROW_BYTES = 8 * (len(FEATURES) + 1)
FREE_BYTES = 4e9
# The means of two different splits of 5,000,000 rows lie closer together than this.
SAME_MEANS = 0.01

PANDAS = "pandas + scikit-learn"
CSV_ROWS = 1_000_000
CSV_NUMBERS, CSV_CATEGORIES = 16, 3
CSV_OURS, CSV_PANDAS = "CSV, ours", f"CSV, {PANDAS}"
# Limits of the ratios to pandas + scikit-learn, by figure.
CSV_LIMITS = {"processor": 2.0, "peak_mb": 1.2}


def main() -> None:
    """Measure, write the result, and print it."""
    only_csv = "--csv" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--csv"]
    rounds = rounds_asked_for(__doc__)
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        if shutil.disk_usage(scratch).free < FREE_BYTES:
            sys.exit(f"{scratch}: {FREE_BYTES / 1e9:g} GB of free space are needed")
        parquet, targets = ({}, []) if only_csv else _measure_parquet(scratch, rounds)
        csv, csv_targets = _measure_csv(scratch, rounds)
    outcomes, targets = parquet | csv, [*targets, *csv_targets]
    figures = {
        name: {key: outcome[key] for key in ("seconds", "processor", "peak_mb")} for name, outcome in outcomes.items()
    }
    batch_mb = {f"{rows:,} rows": rows * ROW_BYTES / 1e6 for rows in BATCHES}
    kept = _kept(figures) if only_csv else {"targets": [], "sides": {}}
    path = write_result(
        "ingest",
        describe_machine(),
        rounds,
        [*(_target(target) for target in kept["targets"]), *targets],
        columns=len(FEATURES) + 1,
        batch_mb=batch_mb,
        sides=kept["sides"] | figures,
    )
    _print(outcomes, targets)
    print(f"written: {path.relative_to(ROOT)}")


def _measure_parquet(scratch: Path, rounds: int) -> tuple[dict[str, dict[str, Any]], list[Target]]:
    for size in (TINY, *SIZES):
        _write_rows(scratch / f"{size}.parquet", size)
    outcomes = _outcomes(in_turn(_sides(scratch), rounds, scratch))
    _refuse_other_means(outcomes)
    return outcomes, _targets(outcomes)


def _measure_csv(scratch: Path, rounds: int) -> tuple[dict[str, dict[str, Any]], list[Target]]:
    path, own = scratch / "rows.csv", {**os.environ, "PYTHONPATH": str(ROOT)}
    _write_csv(path)
    scripts = {CSV_OURS: "csv_ours.py", CSV_PANDAS: "csv_pandas.py"}
    sides = [Command(name, (sys.executable, str(SIDES / file), str(path)), own) for name, file in scripts.items()]
    outcomes = _outcomes(in_turn(sides, rounds, scratch))
    gap = np.abs(np.array(outcomes[CSV_OURS]["means"]) - np.array(outcomes[CSV_PANDAS]["means"])).max()
    if not gap < SAME_MEANS:
        raise RuntimeError(f"CSV: the means differ by {gap:g} from those of pandas")
    what = {"processor": "processor time", "peak_mb": "peak memory"}
    targets = [
        Target(
            f"{CSV_ROWS:,} x 20 of CSV: {what[key]} / {PANDAS}",
            outcomes[CSV_OURS][key] / outcomes[CSV_PANDAS][key],
            limit,
            "at_most",
            "×",
        )
        for key, limit in CSV_LIMITS.items()
    ]
    return outcomes, targets


def _write_csv(path: Path) -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        generator.normal(size=(CSV_ROWS, CSV_NUMBERS)), columns=[f"x{place}" for place in range(CSV_NUMBERS)]
    )
    for place in range(CSV_CATEGORIES):
        frame[f"c{place}"] = generator.choice(["north", "south", "east", "west"], CSV_ROWS)
    frame.assign(y=(frame["x0"] + frame["x1"] > 0).astype(int)).to_csv(path, index=False)


def _kept(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the targets and sides of the stored result that are not of the CSV."""
    stored = json.loads((RESULTS / "ingest.json").read_text())
    targets = [target for target in stored["targets"] if "of CSV" not in target["name"]]
    return {"targets": targets, "sides": {name: side for name, side in stored["sides"].items() if name not in figures}}


def _target(stored: Mapping[str, Any]) -> Target:
    return Target(**{key: value for key, value in stored.items() if key != "met"})


def _write_rows(path: Path, n_rows: int) -> None:
    """The first so many rows of one and the same sequence, a row group at a time."""
    generator = np.random.default_rng(0)
    schema = pa.schema([*((name, pa.float64()) for name in FEATURES), ("y", pa.int64())])
    with pq.ParquetWriter(path, schema) as file:
        for first in range(0, n_rows, ROW_GROUP):
            values = generator.normal(size=(ROW_GROUP, len(FEATURES)))[: n_rows - first]
            columns = {name: values[:, at] for at, name in enumerate(FEATURES)}
            file.write_table(pa.table({**columns, "y": (values[:, 0] + values[:, 1] > 0).astype(int)}, schema))


def _sides(scratch: Path) -> list[Command]:
    own = {**os.environ, "PYTHONPATH": str(ROOT)}

    def side(name: str, script: str, size: int, *words: str) -> Command:
        return Command(name, (sys.executable, str(SIDES / script), str(scratch / f"{size}.parquet"), *words), own)

    largest = SIZES[-1]
    runs = [(size, batch) for batch in BATCHES for size in (TINY, largest)]
    runs += [(size, TIMED) for size in SIZES[:-1]]
    return [
        *(side(_ours(size, batch), "ours.py", size, str(batch)) for size, batch in runs),
        side(PANDAS, "pandas_whole.py", largest),
        *(side(_floor(batch), "read.py", largest, str(batch)) for batch in BATCHES),
    ]


def _ours(size: int, batch: int) -> str:
    return f"ours, {size:,} rows in batches of {batch:,}"


def _floor(batch: int) -> str:
    return f"floor, {SIZES[-1]:,} rows read in batches of {batch:,}"


def _outcomes(timings: Mapping[str, Timing]) -> dict[str, dict[str, Any]]:
    """The median of each figure that a side printed, and what it learned."""
    outcomes = {}
    for name, timing in timings.items():
        rounds = [json.loads(output.strip().splitlines()[-1]) for output in timing.outputs]
        medians = {
            key: round(statistics.median(line[key] for line in rounds), 4)
            for key in ("seconds", "processor", "peak_mb")
        }
        outcomes[name] = medians | {"means": rounds[0]["means"]}
    return outcomes


def _refuse_other_means(outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    """A smaller answer that is another answer is worth nothing."""
    expected = np.array(outcomes[PANDAS]["means"])
    for batch in BATCHES:
        gap = np.abs(np.array(outcomes[_ours(SIZES[-1], batch)]["means"]) - expected).max()
        if not gap < SAME_MEANS:
            raise RuntimeError(f"batches of {batch}: the means differ by {gap:g} from those of pandas")


def _targets(outcomes: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    first, largest = TIMED, SIZES[-1]
    memory = [
        Target(
            f"{largest:,} x 20 of Parquet: peak memory above that of {TINY:,} rows, batches of {batch:,}",
            (outcomes[_ours(largest, batch)]["peak_mb"] - outcomes[_ours(TINY, batch)]["peak_mb"])
            / (batch * ROW_BYTES / 1e6),
            2.0,
            "at_most",
            "batches",
        )
        for batch in BATCHES
    ]
    times = [
        Target(
            f"time at twice the rows / twice the time, {more:,} rows",
            outcomes[_ours(more, first)]["seconds"] / (2 * outcomes[_ours(less, first)]["seconds"]),
            1.25,
            "at_most",
            "×",
        )
        for less, more in pairwise(SIZES)
    ]
    return [*memory, *times]


def _print(outcomes: Mapping[str, Mapping[str, Any]], targets: Sequence[Target]) -> None:
    table = Table("side", title="Medians")
    for heading in ("seconds", "processor", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, outcome in outcomes.items():
        table.add_row(name, f"{outcome['seconds']:.2f}", f"{outcome['processor']:.2f}", f"{outcome['peak_mb']:.0f}")
    console = Console(highlight=False)
    console.print(table)
    console.print(targets_table([{"script": "ingest", "targets": [target.as_dict() for target in targets]}]))


if __name__ == "__main__":
    main()
