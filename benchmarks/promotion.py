"""What the ledger, the lease and the checks cost: a promotion and a rollback beside MLflow's bare stage change.

Run as ``.venv/bin/python benchmarks/promotion.py [--rounds N]``. All on one SQLite store, in turn: a promotion and a
rollback through the pointer without the golden-prediction check, and ``transition_model_version_stage`` on its own.
Then ``history`` of ten thousand ledger rows, beside reading the same rows with SQLAlchemy and nothing else.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import Target, describe_machine, rounds_asked_for, write_result

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings, quiet_environment
from ratchet.store.tables import promotions
from ratchet.tracking import DIGEST_TAG, connect

ENTRIES = 10_000


def main() -> None:
    """Measure, print, and write the result file."""
    quiet_environment()
    rounds = rounds_asked_for(__doc__ or "", default=30)
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        settings = Settings(home=Path(folder), models_dir=Path(folder) / "models")
        times = _pointer(settings, rounds)
        times |= _history(settings, max(3, rounds // 6))
    ms = {name: statistics.median(values) * 1000 for name, values in times.items()}
    for name, value in ms.items():
        print(f"{name:<16} {value:8.2f} ms  (median of {len(times[name])})")
    targets = [
        Target("promotion / bare stage change", ms["promotion"] / ms["bare"], 5.0, "at_most", "x"),
        Target("rollback / bare stage change", ms["rollback"] / ms["bare"], 5.0, "at_most", "x"),
    ]
    for target in targets:
        print(f"{target.name:<32} {target.value:.2f} x, at most {target.limit:g}")
    print(f"{'history of 10,000 / bare read':<32} {ms['history'] / ms['bare_read']:.2f} x (no target)")
    write_result("promotion", describe_machine(), rounds, targets, milliseconds=ms, ledger_rows=ENTRIES)


def _pointer(settings: Settings, rounds: int) -> dict[str, list[float]]:
    client, model = connect(settings), "bench"
    client.create_registered_model(model)
    for _ in range(4):
        client.create_model_version(model, settings.home.as_uri(), tags={DIGEST_TAG: "d"})
    client.create_registered_model("bare")
    for _ in range(2):
        client.create_model_version("bare", settings.home.as_uri())
    pointer = ProductionPointer(settings, model)
    pointer.promote("1", "warm-up", "bench")

    def bare(turn: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = str(1 + turn % 2)
            client.transition_model_version_stage("bare", number, "Production", archive_existing_versions=True)

    sides: dict[str, Callable[[int], object]] = {
        "promotion": lambda turn: pointer.promote(str(2 + turn % 2), "bench", "bench"),
        "rollback": lambda turn: pointer.rollback("bench", "bench"),
        "bare": bare,
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-2, rounds):
        for name, act in sides.items():
            begun = time.perf_counter()
            act(turn)
            if turn >= 0:
                times[name].append(time.perf_counter() - begun)
    return times


def _history(settings: Settings, rounds: int) -> dict[str, list[float]]:
    pointer = ProductionPointer(settings, "long")
    with pointer.store.transaction() as connection:
        connection.execute(
            sa.insert(promotions),
            [
                {
                    "operation_id": f"long-{i}",
                    "model": "long",
                    "kind": "promote",
                    "state": "completed",
                    "to_version": str(i + 1),
                    "reason": "bench",
                    "actor": "bench",
                    "gate": [{"name": "floor", "figure": 0.9, "limit": 0.8, "passed": True}],
                    "token": i,
                    "created_at": float(i),
                    "ended_at": float(i),
                }
                for i in range(ENTRIES)
            ],
        )

    def bare_read() -> None:
        with pointer.store.reading() as connection:
            connection.execute(sa.select(promotions).where(promotions.c.model == "long")).all()

    times: dict[str, list[float]] = {"history": [], "bare_read": []}
    for _ in range(rounds):
        for name, act in (("history", pointer.ledger.history), ("bare_read", bare_read)):
            begun = time.perf_counter()
            act()
            times[name].append(time.perf_counter() - begun)
    return times


if __name__ == "__main__":
    main()
