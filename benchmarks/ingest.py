"""Whether a Parquet file larger than memory is ingested and embedded in the memory of two batches, in linear time.

Run as ``.venv/bin/python benchmarks/ingest.py [--rounds N]``. A file of 5,000,000 x 20 (19 normal numbers and a class,
in 20 row groups), and the first half and quarter of it. Every side is a process of its own that times itself,
imports left out, and tells its peak memory by the kernel's account:

- **ours**: ``ratchet.data.batches``, ingest (types, ranges, rules, split, samples) and embed (impute, scale, PCA);
- **pandas + scikit-learn**: the file read whole, split and fitted, with the same kinds of steps;
- **floor**: Arrow reads the batches and throws them away.

The constant in "two batches plus a constant" is the peak of the same process on a file of 1,000 rows. What is above it
hardly depends on the batch: ingest and embed look at 16,384 rows at a time.
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
import pyarrow as pa
import pyarrow.parquet as pq
from measure import ROOT, Command, Target, Timing, describe_machine, in_turn, rounds_asked_for, write_result
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


def main() -> None:
    """Measure, write the result, and print it."""
    rounds = rounds_asked_for(__doc__)
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        if shutil.disk_usage(scratch).free < FREE_BYTES:
            sys.exit(f"{scratch}: {FREE_BYTES / 1e9:g} GB of free space are needed")
        for size in (TINY, *SIZES):
            _write_rows(scratch / f"{size}.parquet", size)
        outcomes = _outcomes(in_turn(_sides(scratch), rounds, scratch))
    _refuse_other_means(outcomes)
    targets = _targets(outcomes)
    figures = {name: {key: outcome[key] for key in ("seconds", "peak_mb")} for name, outcome in outcomes.items()}
    batch_mb = {f"{rows:,} rows": rows * ROW_BYTES / 1e6 for rows in BATCHES}
    path = write_result(
        "ingest", describe_machine(), rounds, targets, columns=len(FEATURES) + 1, batch_mb=batch_mb, sides=figures
    )
    _print(outcomes, targets)
    print(f"written: {path.relative_to(ROOT)}")


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
        medians = {key: round(statistics.median(line[key] for line in rounds), 4) for key in ("seconds", "peak_mb")}
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
    for heading in ("seconds", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, outcome in outcomes.items():
        table.add_row(name, f"{outcome['seconds']:.2f}", f"{outcome['peak_mb']:.0f}")
    console = Console(highlight=False)
    console.print(table)
    console.print(targets_table([{"script": "ingest", "targets": [target.as_dict() for target in targets]}]))


if __name__ == "__main__":
    main()
