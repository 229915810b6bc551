"""Batches of 10,000 rows: processor time beside predict_proba, and what a client of batches costs /predict.

The service answers the same rows as an Arrow stream, as JSON columns and as JSON rows, in turn with ``predict_proba``
of the same pipeline in this process. Its processor time is that of all of its processes, with what they do after the
response. Then wrk loads ``/predict``, in turn alone and beside one client that sends one batch after the other.

Run it as ``.venv/bin/python benchmarks/batches.py``; the result is benchmarks/results/batches.json.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pyarrow as pa
from measure import ROOT, Command, Target, describe_machine, rounds_asked_for, run_once, write_result
from sklearn.datasets import load_iris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from serving_peers.load import put_load, require_wrk, write_script
from serving_peers.servers import HOST, RECORD, SIDES, Model, Server, serving

ROWS, REQUESTS = 10_000, 50
WORKERS, LOAD_S, DRAIN_S, SETTLE_S = 2, 3, 1.0, 0.5
ARROW = "application/vnd.apache.arrow.stream"
# Config, overrides and the largest share of predict_proba's time by form.
MODELS = {
    "logistic regression": ("baseline.yaml", (), {"arrow": 1.5, "columns": 2.5, "rows": 5.0}),
    "random forest": (
        "variation_random_forest.yaml",
        ("train.params.n_estimators=100",),
        {"arrow": 1.2, "columns": 1.2, "rows": 1.5},
    ),
}
Measured = tuple[list[Target], dict[str, Any]]
TITLES = {"arrow": "Arrow", "columns": "JSON columns", "rows": "JSON rows"}
MOST_LOST = 0.2
_OWN = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "ZENML_ANALYTICS_OPT_IN": "false"}


@dataclass(frozen=True)
class Form:
    """One way to send the rows."""

    body: bytes
    content_type: str


class Client:
    """Sends batches over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)

    def send(self, form: Form) -> bytes:
        """Send a batch, and return the answer.

        Raises
        ------
        RuntimeError: it is an error.
        """
        self._connection.request("POST", "/predict_batch", form.body, {"Content-Type": form.content_type})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"/predict_batch: status {response.status}: {answer[:400]!r}")
        return answer


def forms_of(frame: pd.DataFrame) -> dict[str, Form]:
    """The bodies of the same rows."""
    table, sink = pa.Table.from_pandas(frame, preserve_index=False), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    columns, rows = {"columns": frame.to_dict("list")}, {"rows": frame.to_dict("records")}
    return {
        "arrow": Form(sink.getvalue().to_pybytes(), ARROW),
        "columns": Form(json.dumps(columns).encode(), "application/json"),
        "rows": Form(json.dumps(rows).encode(), "application/json"),
    }


def measure(server: Server, pipeline: Any, frame: pd.DataFrame, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of processor time for the rows, by form and by ``predict_proba``, of each round."""
    client, forms = Client(server.port), forms_of(frame)
    expected = pipeline.predict(frame).tolist()
    for name, form in forms.items():
        _check(name, client.send(form), expected)
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for name in list(forms) if number % 2 else list(forms)[::-1]:
            found[name].append(_milliseconds(lambda: server.cpu_s, lambda name=name: client.send(forms[name])))
            time_of_process = _milliseconds(time.process_time, lambda: pipeline.predict_proba(frame))
            found["predict_proba"].append(time_of_process)
    return found


def _milliseconds(clock: Callable[[], float], do: Callable[[], Any]) -> float:
    time.sleep(DRAIN_S)
    before = clock()
    for _ in range(REQUESTS):
        do()
    time.sleep(DRAIN_S)
    return (clock() - before) / REQUESTS * 1000


def _check(name: str, answer: bytes, expected: list[str]) -> None:
    if name == "arrow":
        found = pa.ipc.open_stream(answer).read_all().column("prediction").to_pylist()
    else:
        found = json.loads(answer)["predictions"]
        found = found if name == "columns" else [row["prediction"] for row in found]
    if found != expected:
        raise RuntimeError(f"{name}: other labels than those of the pipeline")


def lost_throughput(server: Server, form: Form, rounds: int, scratch: Path) -> tuple[float, list[float]]:
    """The share of ``/predict``'s throughput that one client of batches takes, and the batches a second."""
    script, url = write_script(scratch / "post.lua", RECORD), server.url("/predict")
    put_load(url, script, 1)
    alone, beside, batches = [], [], []
    for _ in range(rounds):
        alone.append(put_load(url, script, LOAD_S).rps)
        with _batches(server.port, form) as sent:
            beside.append(put_load(url, script, LOAD_S).rps)
        batches.append(len(sent) / LOAD_S)
    return 1 - statistics.median(beside) / statistics.median(alone), [round(rate, 1) for rate in batches]


@contextmanager
def _batches(port: int, form: Form) -> Iterator[list[int]]:
    """Send one batch after the other, and yield their sizes."""
    sent: list[int] = []
    stopped = threading.Event()

    def send() -> None:
        client = Client(port)
        while not stopped.is_set():
            sent.append(len(client.send(form)))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        stopped.set()
        thread.join()


def _train(title: str, config: str, overrides: tuple[str, ...], environment: Mapping[str, str], scratch: Path) -> Model:
    name = f"iris_{title.rpartition(' ')[2]}"
    values = (f"model={name}", "promote.policy=always", *overrides)
    options = [word for value in values for word in ("--set", value)]
    argv = (sys.executable, str(ROOT / "run.py"), "--config", config, *options)
    run_once(Command(f"training {name}", argv, environment), scratch)
    return Model(name, title, scratch / "models" / name / "model.joblib", scratch)


def _bench(model: Model, limits: Mapping[str, float], server: Server, rounds: int, scratch: Path) -> Measured:
    pipeline = joblib.load(model.joblib)
    flowers = load_iris(as_frame=True).data.set_axis(pipeline.feature_names_in_, axis="columns")
    frame = flowers.sample(ROWS, replace=True, random_state=0, ignore_index=True)
    found = measure(server, pipeline, frame, rounds)
    medians = {name: statistics.median(values) for name, values in found.items()}
    figures: dict[str, Any] = {"ms": {name: [round(value, 3) for value in values] for name, values in found.items()}}
    targets = []
    for name, form in forms_of(frame).items():
        ratio = medians[name] / medians["predict_proba"]
        targets.append(Target(f"{model.title}: {TITLES[name]} / predict_proba", ratio, limits[name], "at_most", "×"))
        lost, figures[f"batches_per_s_{name}"] = lost_throughput(server, form, rounds, scratch)
        title = f"{model.title}: share of /predict lost beside a client of {TITLES[name]}"
        targets.append(Target(title, lost, MOST_LOST, "at_most", ""))
    return targets, figures


def main() -> None:
    """Measure, write the result, and print it."""
    rounds = rounds_asked_for(__doc__)
    require_wrk()
    targets, figures = [], {}
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        places = {"RATCHET_HOME": str(scratch / "home"), "RATCHET_MODELS_DIR": str(scratch / "models")}
        environment = {**os.environ, **_OWN, **places}
        for title, (config, overrides, limits) in MODELS.items():
            model = _train(title, config, overrides, environment, scratch)
            with serving(SIDES["ratchet"], model, WORKERS, environment, scratch) as server:
                time.sleep(SETTLE_S)
                found, figures[title] = _bench(model, limits, server, rounds, scratch)
            targets += found
    for target in targets:
        print(f"{target.name}: {target.value:.2f} {target.unit} (at most {target.limit:g}; met: {target.met})")
    path = write_result("batches", describe_machine(), rounds, targets, rows=ROWS, requests=REQUESTS, models=figures)
    print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
