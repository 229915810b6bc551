"""The terminal of the tests shows what a real one shows."""

from __future__ import annotations

import sys

import pytest

from tests.terminal import WIDTHS, Terminal, shown_by


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_program_sees_the_width_and_its_lines_scroll(columns: int) -> None:
    program = "import os; [print(n) for n in range(50)]; print('é' * os.get_terminal_size().columns); print('end')"
    screen = shown_by([sys.executable, "-c", program], columns=columns)
    assert screen.lines == (*map(str, range(50)), "é" * columns, "end")
    assert (screen.widest, screen.status) == (columns, 0)


def test_repainted_lines_colours_and_links_are_shown_as_they_end() -> None:
    program = (
        r"print('first\nsecond\r\x1b[1A\x1b[2K\x1b[31mred\x1b[0m', end='\n\n')"
        "\n"
        r"print('\x1b]8;id=1;http://localhost/x\x1b\\a link\x1b]8;;\x1b\\')"
    )
    screen = shown_by([sys.executable, "-c", program])
    assert screen.lines == ("red", "second", "a link")
    assert (screen.colour_of("red"), screen.colour_of("second")) == ("red", "default")
    assert screen.links == ("http://localhost/x",)


def test_ctrl_c_reaches_the_process() -> None:
    program = (
        "import signal\ntry: print('ready', flush=True); signal.pause()\nexcept KeyboardInterrupt: raise SystemExit(7)"
    )
    with Terminal([sys.executable, "-c", program]) as terminal:
        terminal.wait_for("ready")
        terminal.interrupt()
        assert terminal.end().status == 7
