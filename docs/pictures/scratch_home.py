"""A temporary home that commands run in, so that pictures show the same models on every machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from image_files import draw_screen, save_small

from tests.terminal import RUN, Screen, shown_by

ROOT = Path(__file__).resolve().parent.parent.parent
_START = 180.0


@dataclass(frozen=True)
class ScratchHome:
    """A home in a folder.

    Attributes
    ----------
    folder: all that the commands write.
    images: where the pictures go.
    """

    folder: Path
    images: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables of the home; of other homes there are none."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RATCHET_", "MLFLOW_", "ZENML_"))}
        places = {"HOME": "h", "MODELS_DIR": "models", "DATA_DIR": "data"}
        return (
            inherited
            | {f"RATCHET_{name}": f"{self.folder}/{place}" for name, place in places.items()}
            | {
                "RATCHET_PORT": str(free_ports(1)),
                "RATCHET_ACTOR": "ann",
                "RATCHET_POLL_INTERVAL": "1",
                "RATCHET_LINK_SECRET": "a secret for signed links of pictures",
            }
        )

    def run(self, words: str, *, status: int = 0) -> None:
        """Run a command, which has to end with a status.

        Raises
        ------
        SystemExit: it ended with another status.
        """
        done = subprocess.run(
            [sys.executable, "run.py", *shlex.split(words)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != status:
            sys.exit(f"run.py {words} ended with status {done.returncode}:\n{done.stdout}\n{done.stderr}")

    def picture(self, name: str, words: str, *, columns: int = 80) -> None:
        """Run a command in a terminal, and draw its final screen.

        Raises
        ------
        SystemExit: it did not end with status 0.
        """
        screen = shown_by([*RUN, *shlex.split(words)], columns=columns, **self.environment)
        if screen.status != 0:
            sys.exit(f"run.py {words} ended with status {screen.status}:\n{screen.text}")
        command = f"python run.py {words}".replace(f"{self.folder}/", "")
        save_small(draw_screen(command, self._shortened(screen), columns), self.images / f"{name}.png")
        print(f"{os.path.relpath(self.images / name)}.png", flush=True)

    def _shortened(self, screen: Screen) -> Screen:
        """Return a screen with the places of the temporary folder as those of a project."""
        pairs = {f"{self.folder}/h": ".ratchet", f"{self.folder}/": ""}
        lines, colours = [], []
        for line, shades in zip(screen.lines, screen.colours, strict=True):
            short, kept = line, list(shades)
            for long, replaced in pairs.items():
                while (at := short.find(long)) >= 0:
                    short = short[:at] + replaced + short[at + len(long) :]
                    del kept[at : at + len(long) - len(replaced)]
            lines.append(short)
            colours.append(tuple(kept))
        return replace(screen, lines=tuple(lines), colours=tuple(colours))

    def serving(self) -> contextlib.AbstractContextManager[None]:
        """Serve the version in Production during a block."""
        return self.started("serve", [f"http://127.0.0.1:{self.environment['RATCHET_PORT']}/readyz"])

    @contextlib.contextmanager
    def started(self, words: str, urls: list[str]) -> Iterator[None]:
        """Run a command until the end of a block, which begins when all addresses answer."""
        log = self.folder / f"{words.split(maxsplit=1)[0]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "run.py", *shlex.split(words)],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            for url in urls:
                _wait_for(url, process, log)
            yield
        finally:
            process.terminate()
            process.wait(60)


def free_ports(count: int) -> int:
    """Return the first of some ports that are free and follow each other."""
    while True:
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            probe = taken.enter_context(socket.create_server(("127.0.0.1", 0)))
            first = int(probe.getsockname()[1])
            for number in range(1, count):
                taken.enter_context(socket.create_server(("127.0.0.1", first + number)))
            return first


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5)
            return
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{url} does not answer:\n{log.read_text()[-2000:]}")
        time.sleep(0.3)
