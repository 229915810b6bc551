"""What a verdict on a million rows costs, beside the usual libraries of drift, and whether memory stays small.

Run as ``.venv/bin/python benchmarks/drift.py [--rounds N]``. 1,000,000 x 10 normal numbers, two columns shifted by
0.75 standard deviations, against a reference of 100,000 rows. Every side is a process of its own that loads the rows,
warms up on 5,000 of them, and times the comparison alone, imports and the preparation of the reference left out:

- **ours**: ``compare`` with PSI, Jensen–Shannon and K-S;
- **Evidently**: ``DataDriftPreset`` with PSI and the same threshold, from this repository's environment;
- **NannyML**, **alibi-detect**: their univariate equivalents, from an environment of the benchmark's own, which is made
  in the user's cache. Where they do not install, the result says so and goes without;
- **floor**: each column read once and added up.

Then 1, 3 and 10 million rows from Parquet: seconds a row and peak memory, beside reading the file and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from measure import ROOT, Command, Target, Timing, describe_machine, in_turn, rounds_asked_for, write_result
from rich.console import Console
from rich.table import Table
from table import targets_table

sys.path.insert(0, str(ROOT))

from ratchet.data.schema import Field, Schema
from ratchet.model.package.profiling import profile_rows

PEERS = Path(__file__).resolve().parent / "drift_peers"
PEER_PACKAGES = ("nannyml==0.13.1", "alibi-detect==0.13.0", "statsmodels")
REFERENCE_ROWS, ROWS = 100_000, 1_000_000
SIZES = (1_000_000, 3_000_000, 10_000_000)
COLUMNS = tuple(f"x{i}" for i in range(10))
DRIFTED = ["x0", "x1"]
FREE_BYTES = 6e9

OURS = {"psi": "ours, PSI", "jensen_shannon": "ours, Jensen–Shannon", "ks": "ours, K-S"}
EVIDENTLY, FLOOR = "Evidently, PSI", "floor, one sum a column"
NANNYML = {"jensen_shannon": "NannyML, Jensen–Shannon", "ks": "NannyML, K-S"}
NANNYML_METHODS = {"jensen_shannon": "jensen_shannon", "ks": "kolmogorov_smirnov"}
ALIBI = "alibi-detect, K-S"


def main() -> None:
    """Measure, write the result, and print it."""
    rounds = rounds_asked_for(__doc__)
    interpreter, reason = _peers()
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        if shutil.disk_usage(scratch).free < FREE_BYTES:
            sys.exit(f"{scratch}: {FREE_BYTES / 1e9:g} GB of free space are needed")
        _write_rows(scratch)
        sides = _outcomes(in_turn(_sides(scratch, interpreter), rounds, scratch))
        large = _outcomes(in_turn(_large(scratch), rounds, scratch))
    _refuse_other_verdicts(sides | large)
    targets = _targets(sides, large)
    more = {
        "rows": ROWS,
        "reference_rows": REFERENCE_ROWS,
        "columns": len(COLUMNS),
        "sides": sides,
        "parquet": large,
        "peers": {"packages": list(PEER_PACKAGES), "left_out": reason},
    }
    path = write_result("drift", describe_machine(), rounds, targets, **more)
    _print(sides | large, targets)
    print(f"written: {path.relative_to(ROOT)}")


def _peers() -> tuple[Path | None, str | None]:
    """The interpreter of the peers' environment, made if it is not there; None and the reason where it cannot be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "ratchet-bench" / "drift-peers"
    python, uv = folder / "bin" / "python", str(ROOT / ".venv" / "bin" / "uv")
    steps = (
        (uv, "venv", "--quiet", "--clear", str(folder)),
        (uv, "pip", "install", "--quiet", "--python", str(python), *PEER_PACKAGES),
        (str(python), "-W", "ignore", "-c", "import nannyml, alibi_detect.cd"),
    )
    environment = _environment()
    for step in steps[-1:] if python.is_file() else steps:
        done = subprocess.run(step, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            return None, f"they do not install here: {done.stderr.strip().splitlines()[-1]}"
    return python, None


def _environment(**more: str) -> dict[str, str]:
    """The environment of this process, with the peers' reports to their makers switched off."""
    return {**os.environ, "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", **more}


def _rows(generator: np.random.Generator, n_rows: int, shift: float) -> npt.NDArray[np.float64]:
    rows = generator.normal(size=(n_rows, len(COLUMNS)))
    rows[:, : len(DRIFTED)] += shift
    return rows


def _write_rows(scratch: Path) -> None:
    generator = np.random.default_rng(0)
    reference = _rows(generator, REFERENCE_ROWS, 0.0)
    np.save(scratch / "reference.npy", reference)
    np.save(scratch / "current.npy", _rows(generator, ROWS, 0.75))
    schema = Schema(features=tuple(Field(name=name, type="number", nullable=False) for name in COLUMNS), target="y")
    profile = profile_rows(pd.DataFrame(reference, columns=list(COLUMNS)), schema)
    (scratch / "profile.json").write_text(profile.model_dump_json())
    for size in SIZES:
        with pq.ParquetWriter(
            scratch / f"{size}.parquet", pa.schema([(name, pa.float64()) for name in COLUMNS])
        ) as file:
            for _ in range(size // ROWS):
                part = _rows(generator, ROWS, 0.75)
                file.write_table(pa.table({name: part[:, at] for at, name in enumerate(COLUMNS)}))


def _sides(scratch: Path, peers: Path | None) -> list[Command]:
    own = _environment(PYTHONPATH=str(ROOT))

    def side(name: str, python: str, script: str, *words: str) -> Command:
        return Command(name, (python, str(PEERS / script), str(scratch), *words), own)

    sides = [side(name, sys.executable, "ours.py", method) for method, name in OURS.items()]
    sides += [side(EVIDENTLY, sys.executable, "evidently_preset.py"), side(FLOOR, sys.executable, "floor.py")]
    if peers is not None:
        nannyml = {name: NANNYML_METHODS[method] for method, name in NANNYML.items()}
        sides += [side(name, str(peers), "nannyml_univariate.py", method) for name, method in nannyml.items()]
        sides += [side(ALIBI, str(peers), "alibi_detect_ks.py")]
    return sides


def _large(scratch: Path) -> list[Command]:
    own, script, profile = _environment(PYTHONPATH=str(ROOT)), str(PEERS / "from_parquet.py"), scratch / "profile.json"
    return [
        Command(
            _large_name(act, size),
            (sys.executable, script, str(scratch / f"{size}.parquet"), str(profile), act),
            own,
        )
        for size in SIZES
        for act in ("compare", "read")
    ]


def _large_name(act: str, size: int) -> str:
    return f"{act} {size:,} rows of Parquet"


def _outcomes(timings: Mapping[str, Timing]) -> dict[str, dict[str, Any]]:
    """The median of each figure that a side printed, and its verdict."""
    outcomes = {}
    for name, timing in timings.items():
        rounds = [json.loads(output.strip().splitlines()[-1]) for output in timing.outputs]
        figures = [key for key, value in rounds[0].items() if isinstance(value, float)]
        medians = {key: round(statistics.median(line[key] for line in rounds), 6) for key in figures}
        outcomes[name] = medians | {"drifted": rounds[0]["drifted"]}
    return outcomes


def _refuse_other_verdicts(outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    """A faster answer that is another answer is worth nothing; only alibi-detect, without a threshold, may differ."""
    silent = (FLOOR, ALIBI, *(_large_name("read", size) for size in SIZES))
    for name, outcome in outcomes.items():
        if name not in silent and outcome["drifted"] != DRIFTED:
            raise RuntimeError(f"{name}: expected {DRIFTED} to have drifted, got {outcome['drifted']}")


def _targets(sides: Mapping[str, Mapping[str, Any]], large: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    pairs = [(EVIDENTLY, OURS["psi"], 50.0)]
    pairs += [(NANNYML[method], OURS[method], 1.0) for method in NANNYML] + [(ALIBI, OURS["ks"], 1.0)]
    ratios = [
        Target(f"{peer} / ours", sides[peer]["seconds"] / sides[own]["seconds"], limit, "at_least", "×")
        for peer, own, limit in pairs
        if peer in sides
    ]
    smallest, largest = (large[_large_name("compare", size)] for size in (SIZES[0], SIZES[-1]))
    a_row = (largest["seconds"] / SIZES[-1]) / (smallest["seconds"] / SIZES[0])
    return [
        *ratios,
        Target("10,000,000 rows of Parquet: peak memory above import", largest["peak_mb"], 500.0, "at_most", "MB"),
        Target("time a row, 10,000,000 rows / 1,000,000 rows", a_row, 1.2, "at_most", "×"),
    ]


def _print(outcomes: Mapping[str, Mapping[str, Any]], targets: Sequence[Target]) -> None:
    table = Table("side", title="Medians")
    for heading in ("seconds", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, outcome in outcomes.items():
        table.add_row(name, f"{outcome['seconds']:.4f}", f"{outcome['peak_mb']:.0f}" if "peak_mb" in outcome else "")
    console = Console(highlight=False)
    console.print(table)
    console.print(targets_table([{"script": "drift", "targets": [target.as_dict() for target in targets]}]))


if __name__ == "__main__":
    main()
