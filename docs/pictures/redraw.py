"""``make pictures``: draw the pictures of the documentation again, in ``docs/images``.

It trains models in a temporary home, runs the commands in a pseudo-terminal and the pages in Chromium, and runs
``make demo-loop``. It takes about ten minutes. ``docs/images/pipeline.png`` is drawn by hand.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from pages import draw_pages
from scratch_home import ROOT, ScratchHome
from terminals import draw_figure_of_comparison, draw_report, draw_terminals

IMAGES = ROOT / "docs/images"


def main() -> None:
    """Draw all pictures."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:  # short, since it stands in the lines of commands
        home = ScratchHome(Path(folder), IMAGES)
        draw_terminals(home)
        draw_report(home)
        draw_pages(home)
        draw_figure_of_comparison(home)
    subprocess.run([sys.executable, "docs/demos/loop.py", "--picture", str(IMAGES / "loop.png")], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
