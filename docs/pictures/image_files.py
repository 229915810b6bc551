"""Pictures as PNG files that are small enough for a repository."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from tests.terminal import Screen

# Bytes of a picture.
LARGEST = 200_000
# Colours of a palette, tried from the left until the file is small enough.
_COLOURS = (256, 128, 64, 32, 16)
_BACKGROUND, _TEXT, _PROMPT = "#1e1e1e", "#dddddd", "#ffffff"
_SHADES = {
    "red": "#ff6b6b",
    "green": "#69d58c",
    "brown": "#e5c07b",
    "yellow": "#e5c07b",
    "blue": "#7aa2f7",
    "magenta": "#d38ae0",
    "cyan": "#5fd7d7",
    "white": "#ffffff",
    "black": "#8a8a8a",
}
# Pixels; twice the size that it is shown at, for screens with a high resolution.
_FONT_SIZE, _LINE, _MARGIN = 24, 31, 28


def save_small(image: Image.Image, path: Path) -> None:
    """Write an image as a PNG file with as many colours as fit into ``LARGEST`` bytes.

    Raises
    ------
    ValueError: the file is larger even with the fewest colours.
    """
    for colours in _COLOURS:
        file = io.BytesIO()
        image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.getvalue())
            return
    raise ValueError(f"{path.name}: {file.tell()} bytes with {_COLOURS[-1]} colours, expected at most {LARGEST}")


def draw_screen(command: str, screen: Screen, columns: int) -> Image.Image:
    """Draw a command, and below it what the terminal shows at its end.

    Parameters
    ----------
    columns: the width of the terminal.
    """
    font = _font()
    advance = font.getlength("M")
    prompt = textwrap.wrap(f"$ {command}", columns - 2, subsequent_indent="    ", break_on_hyphens=False)
    lines = [(line, [_PROMPT] * len(line)) for line in [*(f"{line} \\" for line in prompt[:-1]), prompt[-1]]]
    shades = ([_shade(colour) for colour in colours] for colours in screen.colours)
    lines += zip(screen.lines, shades, strict=True)
    width, height = int(columns * advance) + 2 * _MARGIN, len(lines) * _LINE + 2 * _MARGIN
    image = Image.new("RGB", (width, height), _BACKGROUND)
    canvas = ImageDraw.Draw(image)
    for row, (line, colours) in enumerate(lines):
        for column, (letter, shade) in enumerate(zip(line, colours, strict=False)):
            if letter != " ":  # each in its cell, whatever its width in the font
                canvas.text((_MARGIN + column * advance, _MARGIN + row * _LINE), letter, font=font, fill=shade)
    return image


def _shade(colour: str) -> str:
    """Return the shade of a terminal's colour, which is a name or six hexadecimal digits."""
    if colour == "default":
        return _TEXT
    return _SHADES.get(colour.removeprefix("bright"), f"#{colour}" if len(colour) == 6 else _TEXT)


def _font() -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans Mono, which Matplotlib brings along."""
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSansMono.ttf"), _FONT_SIZE)
