"""``make demo-loop``: the whole loop in a temporary home, and a figure of it in ``.ratchet/demos``.

A service predicts, ``watch`` checks the triggers, and a simulation sends drifting rows. Each command runs as a process
of its own, and its output is printed after its name. The status is 0 if quality recovered.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from loop_events import read_events
from loop_figure import draw

from ratchet.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
STREAM = "--config simulate.yaml --set stream.rows=6000 --set stream.rate=20"
WATCH = (
    "--config continuous_training.yaml --set triggers.interval=1 --set triggers.cooldown=5"
    " --set triggers.cron=null --set triggers.every_k_labels=null --set report=false"
)
# Lines that watch prints every second without an event.
REPEATED = ("nothing to do", "cooling down")
# The share of the lost quality that has to recover, and the number of rows of the last version that it is measured on.
RECOVERED, MINIMUM_ROWS = 0.8, 300


def main() -> None:
    """Run the loop until quality has recovered or the time limit, print its events, and draw them."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))
    with tempfile.TemporaryDirectory(prefix="ratchet-demo-") as folder, contextlib.ExitStack() as running:
        os.environ |= _environment(folder)
        settings, record = load_settings(), Path(folder, "record.jsonl")
        print_line("# A baseline, trained on the undrifted flowers, is promoted.")
        with started("train", "--config baseline.yaml") as baseline:
            _require(baseline.wait() == 0, "the baseline was not trained")
        print_line(
            "\n# It is served, and watch checks the answers and labels; after 300 flowers the measurements drift."
        )
        service = running.enter_context(started("serve", "serve --workers 2", quiet=True))
        _wait_until_ready(service)
        watch = running.enter_context(started("watch", f"watch {WATCH}"))
        stream = running.enter_context(started("simulate", f"simulate {STREAM} --record {record}"))
        _until_recovered(settings, record, [service, watch, stream], options.seconds)
        stream.terminate()
        stream.wait(60)
        events = read_events(settings, record)
    print_line("\n# The events\n" + "\n".join(events.lines()))
    draw(events, options.picture)
    print_line(f"picture                {os.path.relpath(options.picture)}")
    _require(events.recovered >= RECOVERED, f"quality did not recover: {events.recovered:.0%} of the loss")


def print_line(line: str) -> None:
    """Print a line in one write, so that lines of several threads do not mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def started(name: str, words: str, *, quiet: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run a command of the project as a process for the duration of a block."""
    print_line(f"$ python run.py {words}")
    process = subprocess.Popen(  # noqa: S603 - the arguments are those above
        [sys.executable, "run.py", *shlex.split(words)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    reader = threading.Thread(target=_repeat, args=(name, process), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        _end(process)
        reader.join(5)


def _repeat(name: str, process: subprocess.Popen[str]) -> None:
    for line in process.stdout or ():
        if not any(repeated in line for repeated in REPEATED):
            print_line(f"{name:>8} | {line.rstrip()}")


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its children, with SIGTERM first."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _until_recovered(settings: Settings, record: Path, processes: list[subprocess.Popen[str]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and all(process.poll() is None for process in processes):
        time.sleep(1)
        if record.exists():
            events = read_events(settings, record)
            if events.rows_after >= MINIMUM_ROWS and events.recovered >= RECOVERED:
                return


def _wait_until_ready(service: subprocess.Popen[str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        _require(service.poll() is None and time.monotonic() < deadline, "the service did not start")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{os.environ['RATCHET_PORT']}/readyz", timeout=5)
            return
        time.sleep(0.2)


def _environment(folder: str) -> dict[str, str]:
    """Return variables for stores in a folder and a free port, and remove the caller's."""
    for name in [name for name in os.environ if name.startswith(("RATCHET_", "MLFLOW_", "ZENML_"))]:
        del os.environ[name]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    places = {f"RATCHET_{name}": f"{folder}/{place}" for name, place in _PLACES.items()}
    return {**places, "RATCHET_PORT": port, "RATCHET_POLL_INTERVAL": "1", "RATCHET_ACTOR": "ann", "COLUMNS": "120"}


_PLACES = {"HOME": "home", "MODELS_DIR": "models", "DATA_DIR": "data"}


def _require(condition: bool, message: str) -> None:
    if not condition:
        sys.exit(message)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    figure = os.path.relpath(ROOT / ".ratchet/demos/loop.png")
    parser.add_argument("--picture", type=Path, default=figure, help="the figure's file (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=240, help="the time limit of the stream")
    return parser.parse_args()


if __name__ == "__main__":
    main()
