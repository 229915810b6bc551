"""``make demo-loop``: the whole loop in a scratch home that is thrown away, and a picture of it.

A service answers, ``watch`` looks on, and a simulation sends rows that drift. Each is the command that a person types,
run as a process of its own; what it says is printed behind its name. The status is 0 if quality recovered.
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

from loop_picture import draw
from loop_story import read_story

from ratchet.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
STREAM = "--config simulate.yaml --set stream.rows=6000 --set stream.rate=20"
WATCH = (
    "--config continuous_training.yaml --set triggers.interval=1 --set triggers.cooldown=5"
    " --set triggers.cron=null --set triggers.every_k_labels=null --set report=false"
)
# What watch says every second while it only looks.
DULL = ("nothing to do", "cooling down")
# The quality that is lost has to come back to this share, over so many rows of the version that answers at the end.
RECOVERED, ENOUGH = 0.8, 300


def main() -> None:
    """Run the loop until quality has recovered or the time is up, tell the story, and draw it."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    with tempfile.TemporaryDirectory(prefix="ratchet-demo-") as folder, contextlib.ExitStack() as running:
        os.environ |= _environment(folder)
        settings, record = load_settings(), Path(folder, "record.jsonl")
        say("# A baseline, trained on the flowers as they are, goes into Production.")
        with started("train", "--config baseline.yaml") as baseline:
            _require(baseline.wait() == 0, "the baseline was not trained")
        say("\n# It is served; watch looks at every answer and label; after 300 flowers the instrument is replaced.")
        service = running.enter_context(started("serve", "serve --workers 2", quiet=True))
        _wait_until_ready(service)
        watch = running.enter_context(started("watch", f"watch {WATCH}"))
        stream = running.enter_context(started("simulate", f"simulate {STREAM} --record {record}"))
        _until_recovered(settings, record, [service, watch, stream], options.seconds)
        stream.terminate()
        stream.wait(60)
        story = read_story(settings, record)
    say("\n# The story\n" + "\n".join(story.lines()))
    draw(story, options.picture)
    say(f"picture                {os.path.relpath(options.picture)}")
    _require(story.recovered >= RECOVERED, f"quality did not recover: {story.recovered:.0%} of the loss")


def say(line: str) -> None:
    """Tell a line, which stays whole among those of other threads."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def started(name: str, words: str, *, quiet: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A command of the project as a process, which has ended when the block has."""
    say(f"$ python run.py {words}")
    process = subprocess.Popen(  # noqa: S603 - the words are those above
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
        if not any(dull in line for dull in DULL):
            say(f"{name:>8} | {line.rstrip()}")


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it began, in order if it can be."""
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
            story = read_story(settings, record)
            if story.rows_after >= ENOUGH and story.recovered >= RECOVERED:
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
    """Stores in a folder of their own, whatever the caller's environment says, and a port that is free."""
    for name in [name for name in os.environ if name.startswith(("RATCHET_", "MLFLOW_", "ZENML_"))]:
        del os.environ[name]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    places = {f"RATCHET_{name}": f"{folder}/{place}" for name, place in _PLACES.items()}
    return {**places, "RATCHET_PORT": port, "RATCHET_POLL_INTERVAL": "1", "RATCHET_ACTOR": "ann", "COLUMNS": "120"}


_PLACES = {"HOME": "home", "MODELS_DIR": "models", "DATA_DIR": "data"}


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        sys.exit(otherwise)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/images/loop.png", help="where it is drawn")
    parser.add_argument("--seconds", type=float, default=240, help="the most that the stream may take")
    return parser.parse_args()


if __name__ == "__main__":
    main()
