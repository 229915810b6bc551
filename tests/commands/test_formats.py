"""Tables, cards, colours, links and times on a console of a given width."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console, RenderableType

from commands.console.formats import MEANING, ago, coloured, link, local_time, table, wide_console

COLUMNS = ("when", "version", "who", "why")
SHORT = [("3 min ago", "2", "ana", "better"), ("2 d ago", "1", "ben", "first")]
LONG = [(*SHORT[0][:3], "f1_macro 0.9667 is better than 0.9333 of version 1 on the same 30 held-out rows"), SHORT[1]]


def terminal(shown: RenderableType, width: int = 80) -> list[str]:
    """The lines of a terminal."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, markup=False, _environ={"TERM": "xterm"})
    console.print(shown)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def plain(shown: RenderableType, width: int = 80) -> list[str]:
    """The lines of a console that has no colours."""
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(shown)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_rows_that_fit_on_a_line_are_a_table_on_every_terminal() -> None:
    expected = ["when       version  who  why", "3 min ago  2        ana  better", "2 d ago    1        ben  first"]
    assert plain(table(COLUMNS, SHORT), 79) == plain(table(COLUMNS, SHORT), 200) == expected


def test_rows_that_do_not_fit_are_cards_below_100_columns() -> None:
    lines = plain(table(COLUMNS, LONG), 80)
    assert lines == [
        "when     3 min ago",
        "version  2",
        "who      ana",
        "why      f1_macro 0.9667 is better than 0.9333 of version 1 on the same 30",
        "         held-out rows",
        "",
        "when     2 d ago",
        "version  1",
        "who      ben",
        "why      first",
    ]


def test_from_100_columns_on_a_long_cell_is_wrapped_between_words() -> None:
    lines = plain(table(COLUMNS, LONG), 100)
    assert lines[1].startswith("3 min ago  2        ana  f1_macro 0.9667 is better")
    assert lines[2].strip() == "rows"
    assert all(len(line) <= 100 for line in lines)


def test_no_width_breaks_a_word_that_fits_a_line() -> None:
    words = {word for row in LONG for cell in row for word in cell.split()} | set(COLUMNS)
    for width in range(40, 140):
        assert {word for line in plain(table(COLUMNS, LONG), width) for word in line.split()} <= words


def test_a_card_leaves_out_empty_cells() -> None:
    assert plain(table(("a", "b", "c"), [("1", "", "x " * 60)]), 80)[:2] == ["a  1", f"c  {'x ' * 38}x"]


def test_numbers_are_aligned_to_the_right() -> None:
    assert plain(table(("kind", "rows"), [("a", "1"), ("b", "1,000")], right=("rows",)))[1] == "a         1"


def test_a_cell_cannot_send_control_sequences_to_the_terminal() -> None:
    assert "\x1b" not in "".join(plain(table(("why",), [("\x1b[31mred\x07",)])))


def test_output_that_is_no_terminal_is_neither_wrapped_nor_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    wide_console().print(table(COLUMNS, [(coloured("3 min ago", "failed"), *LONG[0][1:3], LONG[0][3] * 9)]))
    wide_console().print("word " * 100)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert not any(line.endswith("  ") for line in lines[:2])


def test_a_text_has_the_colour_of_its_meaning_unless_no_color_is_set() -> None:
    codes = {"promoted": "\x1b[32m", "refused": "\x1b[33m", "failed": "\x1b[31m", "detail": "\x1b[2m"}
    for meaning in MEANING:
        assert terminal(coloured("word", meaning))[0].startswith(codes[meaning])
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm", "NO_COLOR": "1"})
    console.print(coloured("word", "failed"))
    assert "\x1b[31m" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_link_is_a_hyperlink_on_a_terminal_and_plain_text_elsewhere() -> None:
    shown = link("run 1", "http://127.0.0.1:5000/#/runs/1")
    assert ";http://127.0.0.1:5000/#/runs/1\x1b\\run 1" in terminal(shown)[0]
    assert plain(shown) == ["run 1"]


@pytest.mark.parametrize(
    ("passed", "expected"),
    [(0.4, "just now"), (-30, "just now"), (5, "5 s ago"), (200, "3 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")],
)
def test_a_recent_time_is_relative(passed: float, expected: str) -> None:
    assert ago(1_000_000, now=1_000_000 + passed) == expected


def test_a_time_long_ago_or_in_the_future_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert local_time(0) == "1970-01-01 09:00"
        assert ago(0, now=2_000_000) == "1970-01-01 09:00"
        assert ago(90_000, now=0) == "1970-01-02 10:00"
    finally:
        monkeypatch.undo()
        time.tzset()
