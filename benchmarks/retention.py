"""p99 of ``/predict`` while retention moves a year of predictions into the archive, and the size of the store.

Run as ``.venv/bin/python benchmarks/retention.py [--rows N] [--rounds N] [--durability MODE]``; it needs wrk. The Iris
baseline is trained into a scratch home. Its store gets N predictions over 365 days: nine tenths as rows of batches of
10,000, the others as single rows, and feedback on one single row in a hundred. Then the service answers the same load
twice in each round: alone, and while ``run.py retention`` moves everything older than 30 days; the order alternates.
Retention is killed after each load, and the next one continues. Then the answers to the load are deleted, retention
runs to its end without load, and every prediction of the year has to be in the store or in the archive, once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import ROOT, Command, Target, describe_machine, run_once, write_result
from rich.console import Console
from serving_peers.load import CONNECTIONS, Load, put_load, require_wrk, write_script
from serving_peers.servers import CLASSES, LABEL, RECORD, SIDES, Model, serving
from table import targets_table

from ratchet.settings import Settings, quiet_environment
from ratchet.store.archive import Archive
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch, to_array, to_struct
from ratchet.store.predictions import first_id

MODEL, WORKERS, LOAD_S, WARM_UP_S = "iris", 2, 8, 2
DAY, YEAR, KEPT = 86400.0, 365, 30
BATCH = 10_000
LIMIT = 1.2
_FOREIGN = ("RATCHET_", "MLFLOW_", "ZENML_", "BENTOML_", "UVICORN_")


def main() -> None:
    """Measure, write the result, and print it."""
    asked = _arguments()
    require_wrk()
    quiet_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server of the moment is stopped too
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        environment = _environment(scratch, asked.durability)
        _train(environment, scratch)
        database = scratch / "home" / "ratchet.db"
        started = time.perf_counter()
        made = fill(database, asked.rows)
        print(f"{made:,} predictions in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        before, filled = _size(database), time.time()
        loads = _loads(environment, scratch, asked.rounds)
        _delete_served(database, first_id(filled))
        started = time.perf_counter()
        run_once(_retention(environment), scratch)
        seconds = time.perf_counter() - started
        after, archive = _size(database), Archive(Settings(home=scratch / "home"))
        archived = sum(archive.read(file, ["id"]).num_rows for file in archive.files("predictions"))
        _check(made, archived, _count(database, ""))
        size = sum(file.size for file in archive.files())
    alone, beside = ([load.p99_ms for load in side] for side in loads)
    ratio = statistics.median(beside) / statistics.median(alone)
    targets = [Target("p99 of /predict beside retention / alone", ratio, LIMIT, "at_most", "ratio")]
    figures = {
        "rows": made,
        "archived": archived,
        "rest_s": round(seconds, 1),
        "store_mb": {"before": round(before / 1e6, 1), "after": round(after / 1e6, 1)},
        "archive_mb": round(size / 1e6, 1),
        "p99_ms": {"alone": alone, "beside": beside},
        "rps": {"alone": [load.rps for load in loads[0]], "beside": [load.rps for load in loads[1]]},
    }
    load = {"connections": CONNECTIONS, "workers": WORKERS, "load_s": LOAD_S, "durability": asked.durability}
    write_result("retention", describe_machine(), asked.rounds, targets, load=load, **figures)
    Console(highlight=False).print(targets_table([{"script": "retention", "targets": [t.as_dict() for t in targets]}]))
    print(json.dumps(figures, indent=1))


def fill(database: Path, rows: int) -> int:
    """Insert a year of predictions in the order of their ids; return their number."""
    Store(f"sqlite:///{database}").engine.dispose()  # the tables
    batches = round(rows * 0.9 / BATCH)
    single = rows - batches * BATCH
    now, content = time.time(), [_batch_content(seed) for seed in range(5)]
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for number in range(batches):
            at = now - DAY * YEAR * (1 - number / batches)
            row = (_id(at, number), at, MODEL, "1", BATCH, 0.01, content[number % len(content)])
            connection.execute("INSERT INTO prediction_batches VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        shares = json.dumps(dict(zip(CLASSES, (0.9, 0.07, 0.03), strict=True)))
        times = ((number, now - DAY * YEAR * (1 - number / single)) for number in range(single))
        values = (
            (_id(at, number), at, MODEL, "1", json.dumps(_record(number)), json.dumps(LABEL), 0.9, shares, 0.0005)
            for number, at in times
        )
        connection.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        connection.execute(
            "INSERT INTO feedback (prediction_id, revision, model, version, target, correct, source, created_at)"
            f" SELECT id, 1, model, version, '\"{LABEL}\"', 1, 'user', created_at + 60 FROM predictions"
            " WHERE abs(random()) % 100 = 0 ORDER BY id"
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return batches * BATCH + single


def _id(at: float, number: int) -> str:
    return f"{first_id(at)}-7000-8000-{number:012x}"


def _record(number: int) -> dict[str, float]:
    return {name: round(value + number % 97 / 50, 2) for name, value in RECORD.items()}


def _batch_content(seed: int) -> bytes:
    generator = random.Random(seed)
    records = [_record(generator.randrange(10_000)) for _ in range(BATCH)]
    batch = PredictionBatch.from_columns(
        "b",
        0.0,
        MODEL,
        "1",
        0.0,
        features=to_struct(records),
        prediction=to_array([generator.choice(CLASSES) for _ in range(BATCH)]),
        score=to_array([generator.random() for _ in range(BATCH)]),
        probabilities=to_struct([{name: generator.random() for name in CLASSES} for _ in range(BATCH)]),
    )
    return batch.content


def _loads(environment: Mapping[str, str], scratch: Path, rounds: int) -> tuple[list[Load], list[Load]]:
    """Put load on the service, alone and beside retention, in an order that alternates."""
    script = write_script(scratch / "load.lua", dict(RECORD))
    model = Model(MODEL, "Iris", scratch / "models" / MODEL / "model.joblib", scratch)
    alone, beside = [], []
    with serving(SIDES["ratchet"], model, WORKERS, environment, scratch) as server:
        put_load(server.url("/predict"), script, WARM_UP_S)
        for number in range(rounds):
            for side in (alone, beside) if number % 2 else (beside, alone):
                if side is alone:
                    alone.append(put_load(server.url("/predict"), script, LOAD_S))
                    continue
                with _retaining(environment, scratch):
                    beside.append(put_load(server.url("/predict"), script, LOAD_S))
            print(f"round {number + 1}: alone {alone[-1]}; beside {beside[-1]}", file=sys.stderr, flush=True)
    return alone, beside


@contextmanager
def _retaining(environment: Mapping[str, str], scratch: Path) -> Iterator[None]:
    """Run retention while a block runs; it has to have begun before the block, and to be at work at its end."""
    before, command = _count(scratch / "home" / "ratchet.db", ""), _retention(environment)
    process = subprocess.Popen(command.argv, env=dict(environment), cwd=scratch, stdout=subprocess.DEVNULL)
    try:
        while _count(scratch / "home" / "ratchet.db", "") >= before:
            if process.poll() is not None:
                raise RuntimeError("retention had nothing to do: give more rows")
            time.sleep(0.1)
        yield
        if process.poll() is not None:
            raise RuntimeError("retention ended during the load: give more rows")
    finally:
        process.kill()
        process.wait()


def _retention(environment: Mapping[str, str]) -> Command:
    return Command("retention", (sys.executable, str(ROOT / "run.py"), "retention"), environment)


def _count(database: Path, after: str) -> int:
    """Return the number of predictions with higher ids, in both tables."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        single = connection.execute("SELECT count(*) FROM predictions WHERE id > ?", (after,)).fetchone()[0]
        batch = "SELECT coalesce(sum(n_rows), 0) FROM prediction_batches WHERE id > ?"
        return int(single + connection.execute(batch, (after,)).fetchone()[0])


def _delete_served(database: Path, after: str) -> None:
    """Delete the answers to the load, so that the size of the store is that of the year."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM predictions WHERE id > ?", (after,))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _check(made: int, archived: int, left: int) -> None:
    if made != archived + left:
        raise RuntimeError(f"of {made:,} predictions {archived:,} are archived and {left:,} are in the store")


def _size(database: Path) -> int:
    return database.stat().st_size


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, metavar="N", help="predictions (default: 10,000,000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of two loads (default: 5)")
    parser.add_argument("--durability", default="", help="RATCHET_DURABILITY of the service (default: its own)")
    return parser.parse_args()


def _environment(scratch: Path, durability: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    places = {"RATCHET_HOME": str(scratch / "home"), "RATCHET_MODELS_DIR": str(scratch / "models")}
    mode = {"RATCHET_DURABILITY": durability} if durability else {}
    return own | places | mode | {"RATCHET_RETENTION_DAYS": str(KEPT), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _train(environment: Mapping[str, str], scratch: Path) -> None:
    options = ("--set", f"model={MODEL}", "--set", "promote.policy=always")
    run_once(
        Command("training", (sys.executable, str(ROOT / "run.py"), "--config", "baseline.yaml", *options), environment),
        scratch,
    )


if __name__ == "__main__":
    main()
