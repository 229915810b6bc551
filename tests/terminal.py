"""Run a command in a pseudo-terminal, and read its final screen as a user sees it.

``shown_by([*RUN, "status"], columns=80, RATCHET_HOME=home)`` waits for the end of the command. ``Terminal`` also waits
for text, types, and sends Ctrl-C.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import pexpect
import pyte

from tests.conftest import ROOT, of_no_home
from tests.process_groups import kill_group

# The command line; the words of a command follow.
RUN = (sys.executable, "run.py")
# The widths of the terminals that every command is looked at in.
WIDTHS = (80, 120)
_SCROLLBACK = 10_000
# Colours and the width are the terminal's, not those of the process that runs the tests.
_DROPPED = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
_LINK = re.compile(rb"\x1b\]8;[^;]*;([^\x1b\x07]+)(?:\x1b\\|\x07)")


@dataclass(frozen=True)
class Screen:
    """What a terminal shows.

    Attributes
    ----------
    lines: the scrollback and the screen below it, without blanks at the end of a line and without empty last lines.
    colours: for each line the colour of each character: ``default``, ``green``, ``red``, ``brown`` (yellow), …
    links: the targets of the terminal's hyperlinks, each once.
    status: the exit status of the command; None while it runs.
    """

    lines: tuple[str, ...]
    colours: tuple[tuple[str, ...], ...]
    links: tuple[str, ...]
    status: int | None

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    @property
    def widest(self) -> int:
        """The length of the longest line."""
        return max(map(len, self.lines), default=0)

    def colour_of(self, text: str) -> str:
        """The colour of the first place of a text."""
        for line, colours in zip(self.lines, self.colours, strict=True):
            if text in line:
                return colours[line.index(text)]
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")


class Terminal:
    """A process in a pseudo-terminal, which ends with the ``with`` block.

    Parameters
    ----------
    command: program and arguments; it runs in the root of the repository.
    columns, rows: size of the terminal.
    env: variables added to the environment, such as ``RATCHET_HOME``.
    """

    def __init__(self, command: Sequence[str], *, columns: int = 80, rows: int = 24, **env: str) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=_SCROLLBACK)
        self._stream = pyte.ByteStream(self._screen)
        self._output = bytearray()
        inherited = {name: value for name, value in of_no_home().items() if name not in _DROPPED}
        self._process = pexpect.spawn(
            command[0],
            list(command[1:]),
            cwd=ROOT,
            env=inherited | {"TERM": "xterm-256color"} | env,
            dimensions=(rows, columns),
            preexec_fn=_take_interrupts,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.close(force=True)
        finally:
            kill_group(self.pid)  # a failed test can leave children of the command

    @property
    def pid(self) -> int:
        """The id of the process."""
        return int(self._process.pid)

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Read until a text is in the scrollback or on the screen; fail if it does not come in time."""
        deadline = time.monotonic() + seconds
        while text not in self.screen().text:
            is_open = self._read()
            assert text in self.screen().text or (is_open and time.monotonic() < deadline), (
                f"{text!r} did not come:\n{self.screen().text}"
            )

    def type(self, text: str) -> None:
        """Send characters, as typed on the keyboard."""
        self._process.send(text)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.sendintr()

    def end(self, seconds: float = 240) -> Screen:
        """Wait for the end of the process, and return the final screen; fail if it does not end in time."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"it did not end:\n{self.screen().text}"
        self._process.close(force=True)
        return self.screen()

    def screen(self) -> Screen:
        """Return what the terminal shows now."""
        buffer = self._screen.buffer
        rows = [*self._screen.history.top, *(buffer[y] for y in range(self._screen.lines))]
        cells = [[row[x] for x in range(self._screen.columns)] for row in rows]
        lines = ["".join(cell.data for cell in row).rstrip() for row in cells]
        height = max((at + 1 for at, line in enumerate(lines) if line), default=0)
        return Screen(
            lines=tuple(lines[:height]),
            colours=tuple(tuple(cell.fg for cell in row) for row in cells[:height]),
            links=tuple(dict.fromkeys(found.decode() for found in _LINK.findall(bytes(self._output)))),
            status=self._process.exitstatus,
        )

    def _read(self) -> bool:
        """Show what has come; return whether the process can write more."""
        try:
            block = self._process.read_nonblocking(65_536, timeout=1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self._output += block
        self._stream.feed(block)
        return True


def _take_interrupts() -> None:
    """Take SIGINT as in the foreground of a shell; tests in its background have inherited that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def shown_by(command: Sequence[str], *, columns: int = 80, rows: int = 24, seconds: float = 240, **env: str) -> Screen:
    """Run a command to its end in a terminal, and return the final screen."""
    with Terminal(command, columns=columns, rows=rows, **env) as terminal:
        return terminal.end(seconds)
