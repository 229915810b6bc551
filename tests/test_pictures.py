"""The pictures of the documentation, and the functions that draw them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.terminal import Screen

PICTURES = sorted((ROOT / "docs/images").glob("*.png"))


@pytest.fixture(scope="module")
def image_files() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_files", ROOT / "docs/pictures/image_files.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_smaller_than_200_kb(path: Path) -> None:
    assert path.stat().st_size < 200_000
    Image.open(path).verify()


def test_each_picture_that_a_page_shows_exists() -> None:
    files = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pages = {page: (ROOT / page).read_text() for page in files.split()}
    shown = [(page, link) for page, text in pages.items() for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)]
    assert shown
    assert [(page, link) for page, link in shown if not (ROOT / page).parent.joinpath(link).is_file()] == []


def test_a_screen_is_drawn_with_its_command_and_colours(image_files: ModuleType) -> None:
    screen = Screen(("passed", "failed"), (("green",) * 6, ("red",) * 6), (), 0)
    one, two = (image_files.draw_screen(command, screen, 20) for command in ("ls", "ls and twenty more characters"))
    assert one.width == two.width, "a long command takes a second line"
    assert one.height < two.height
    pixels = np.asarray(one).astype(int)
    rows = {name: np.flatnonzero((dominant(pixels) == at).any(axis=1)) for at, name in enumerate(("red", "green"))}
    assert 0 < rows["green"].max() < rows["red"].min(), "the lines are in order, each in its colour"


def dominant(pixels: np.ndarray) -> np.ndarray:
    """The channel that is far above the others in each pixel, or -1."""
    above = [pixels[..., at] - np.max(np.delete(pixels, at, axis=2), axis=2) > 60 for at in range(3)]
    return np.select(above, [0, 1, 2], default=-1)


def test_a_picture_gets_fewer_colours_until_it_is_small_enough(
    image_files: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    image_files.save_small(noise, tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").stat().st_size
    monkeypatch.setattr(image_files, "LARGEST", whole - 1)
    image_files.save_small(noise, tmp_path / "small.png")
    assert (tmp_path / "small.png").stat().st_size < whole
    monkeypatch.setattr(image_files, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"large.png: \d+ bytes with 16 colours, expected at most 100"):
        image_files.save_small(noise, tmp_path / "large.png")
    assert not (tmp_path / "large.png").exists()
