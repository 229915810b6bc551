"""Acknowledged feedback a second, beside bare SQLite that commits the same rows in groups of the same size.

Run as ``.venv/bin/python benchmarks/feedback.py [--rounds N]``; it needs wrk (``apt-get install wrk``). The Iris
baseline is trained by ``run.py`` into a scratch home and served by ``run.py serve`` with 2 workers and its defaults:
SQLite, with durability on. wrk posts over 16 connections, each post for another prediction. An answer counts when its
row is in the store afterwards; no answer may be an error.

The floor is one process that inserts the same rows into a table with the same indices, 16 to a commit, with the same
durability (``synchronous = FULL``): it reads no request, looks nothing up, and decides nothing. It takes turns with the
service.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uuid_utils
from measure import ROOT, Command, Target, describe_machine, rounds_asked_for, run_once, write_result
from rich.console import Console
from serving_peers.load import CONNECTIONS, Load, put_load, require_wrk, write_script
from serving_peers.servers import CLASSES, LABEL, RECORD, SIDES, Model, serving
from table import targets_table

from ratchet.settings import quiet_environment
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction, insert_predictions

MODEL, WORKERS = "iris", 2
SETTLE_S, WARM_UP_S, LOAD_S, FLOOR_S = 0.5, 2, 5, 3
# More than any machine acknowledges in one load.
IDS = 60_000
LEAST = 1000.0

_FOREIGN = ("RATCHET_", "MLFLOW_", "ZENML_", "BENTOML_", "UVICORN_")
_NEXT = """
local ids, at = {{}}, 0
for id in io.lines("{ids}") do ids[#ids + 1] = id end

request = function()
  at = at + 1
  return wrk.format(nil, nil, nil, '{{"prediction_id": "' .. ids[at] .. '", "target": "versicolor"}}')
end
"""


def main() -> None:
    """Measure, write the result, and print it."""
    rounds = rounds_asked_for(__doc__, default=3)
    require_wrk()
    quiet_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server of the moment is stopped too
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        environment = _environment(scratch)
        _train(environment, scratch)
        loads, floors = [], []
        for number in range(1, rounds + 1):
            loads.append(_measure(environment, scratch))
            floors.append(_floor(scratch / "floor.db"))
            print(
                f"round {number} of {rounds}: {loads[-1]}; floor {floors[-1]:,.0f} rows/s", file=sys.stderr, flush=True
            )
    posts, floor = statistics.median(load.rps for load in loads), statistics.median(floors)
    targets = [Target("acknowledged feedback on SQLite, durable", posts, LEAST, "at_least", "posts/s")]
    medians = {
        "posts_per_s": round(posts, 1),
        "p50_ms": round(statistics.median(load.p50_ms for load in loads), 3),
        "p99_ms": round(statistics.median(load.p99_ms for load in loads), 3),
        "floor_rows_per_s": round(floor, 1),
        "posts / floor": round(posts / floor, 4),
    }
    every = {
        "posts_per_s": [round(load.rps, 1) for load in loads],
        "floor_rows_per_s": [round(one, 1) for one in floors],
    }
    load = {"connections": CONNECTIONS, "workers": WORKERS, "warm_up_s": WARM_UP_S, "load_s": LOAD_S}
    path = write_result("feedback", describe_machine(), rounds, targets, load=load, medians=medians, every_round=every)
    Console(highlight=False).print(targets_table([{"script": "feedback", "targets": [t.as_dict() for t in targets]}]))
    print(f"posts / floor: {posts / floor:.2f} (no target); written: {path.relative_to(ROOT)}")


def _environment(scratch: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    places = {"RATCHET_HOME": str(scratch / "home"), "RATCHET_MODELS_DIR": str(scratch / "models")}
    return own | places | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _train(environment: Mapping[str, str], scratch: Path) -> None:
    options = ("--set", f"model={MODEL}", "--set", "promote.policy=always")
    run_once(
        Command("training", (sys.executable, str(ROOT / "run.py"), "--config", "baseline.yaml", *options), environment),
        scratch,
    )


def _measure(environment: Mapping[str, str], scratch: Path) -> Load:
    """Put load on a fresh service, and see that what it has acknowledged is in the store."""
    database = scratch / "home" / "ratchet.db"
    warm_up, script = _script(database, scratch / "warm"), _script(database, scratch / "load")
    model = Model(MODEL, "Iris", scratch / "models" / MODEL / "model.joblib", scratch)
    with serving(SIDES["ratchet"], model, WORKERS, environment, scratch) as server:
        time.sleep(SETTLE_S)  # one worker has answered; the other is about to
        put_load(server.url("/feedback"), warm_up, WARM_UP_S)
        before = _rows(database)
        load = put_load(server.url("/feedback"), script, LOAD_S)
        if (missing := load.rps * LOAD_S * 0.99 - (_rows(database) - before)) > 0:
            raise RuntimeError(f"{missing:.0f} acknowledged posts have no row")
    return load


def _script(database: Path, path: Path) -> Path:
    """What wrk is to send: feedback for predictions that nobody has said anything of."""
    ids = [str(uuid_utils.uuid7()) for _ in range(IDS)]
    store = Store(f"sqlite:///{database}")
    for start in range(0, IDS, 2000):
        insert_predictions(store, [_prediction(one) for one in ids[start : start + 2000]])
    store.engine.dispose()
    path.with_suffix(".ids").write_text("\n".join(ids))
    script = write_script(path.with_suffix(".lua"), {})
    with script.open("a") as file:
        file.write(_NEXT.format(ids=path.with_suffix(".ids")))
    return script


def _prediction(prediction_id: str) -> Prediction:
    shares = dict(zip(CLASSES, (0.9, 0.07, 0.03), strict=True))
    return {
        "id": prediction_id,
        "created_at": time.time(),
        "model": MODEL,
        "version": "1",
        "features": dict(RECORD),
        "prediction": LABEL,
        "score": 0.9,
        "probabilities": shares,
        "latency": 0.0005,
    }


def _rows(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM feedback").fetchone()[0])


def _floor(database: Path) -> float:
    """Rows a second that bare SQLite commits."""
    Store(f"sqlite:///{database}").engine.dispose()  # the same table
    insert = (
        "INSERT INTO feedback (prediction_id, revision, model, version, target, correct, source, created_at)"
        " VALUES (?, 1, ?, '1', '\"versicolor\"', 0, 'user', ?)"
    )
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        begun = time.perf_counter()
        for groups in count(1):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, _floor_rows())
            connection.execute("COMMIT")
            if (taken := time.perf_counter() - begun) > FLOOR_S:
                return groups * CONNECTIONS / taken
    raise AssertionError  # it counts for ever


def _floor_rows() -> Iterator[tuple[str, str, float]]:
    return ((str(uuid_utils.uuid7()), MODEL, time.time()) for _ in range(CONNECTIONS))


if __name__ == "__main__":
    main()
