from __future__ import annotations

import re
from pathlib import Path

import pytest

from ratchet.config.files import load_config
from ratchet.data import open_source
from tests.conftest import ROOT

CARDS = ROOT / "docs" / "reference" / "datasets"
# The rows of the table in every card.
ROWS_OF_A_CARD = ("Source", "Licence", "Rows", "Features", "Target", "How to get it")
CONFIGS = [path for path in sorted((ROOT / "configs").rglob("*.yaml")) if "dataset:" in path.read_text()]


def card_of(path: Path) -> Path:
    """The card with the name of the data set, else of the folder of its configs."""
    name = getattr(load_config(path).dataset, "name", None)
    return CARDS / f"{name or path.parent.name}.md"


def table_of(card: Path) -> dict[str, str]:
    """The first table of a card."""
    return dict(re.findall(r"^\| ([\w -]+) \| (.+) \|$", card.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_every_data_set_of_a_config_has_a_card(path: Path) -> None:
    assert set(ROWS_OF_A_CARD) <= set(table_of(card_of(path)))


@pytest.mark.parametrize("card", sorted(CARDS.glob("[!R]*.md")), ids=lambda card: card.stem)
def test_a_card_is_in_the_index_with_its_number_of_rows(card: Path) -> None:
    line = re.search(rf"^\| \[{card.stem}\]\({card.name}\) .*$", (CARDS / "README.md").read_text(), re.MULTILINE)
    assert line is not None
    assert f"| {table_of(card)['Rows']} |" in line[0]


def offline() -> list[Path]:
    """One config for each card whose data need no network."""
    found = {card_of(path): path for path in CONFIGS if load_config(path).dataset.source in ("sklearn", "generated")}
    return list(found.values())


@pytest.mark.parametrize("path", offline(), ids=lambda path: str(card_of(path).stem))
def test_a_card_has_the_right_numbers_of_rows_and_features_and_the_classes(path: Path) -> None:
    config, table = load_config(path).dataset, table_of(card_of(path))
    frame = open_source(config).read()
    assert (int(table["Rows"].replace(",", "")), int(table["Features"])) == (len(frame), frame.shape[1] - 1)
    for label in frame[config.target].unique() if frame[config.target].dtype == object else ():
        assert str(label) in table["Target"]
