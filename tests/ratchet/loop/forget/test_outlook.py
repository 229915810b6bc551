"""What an erasure says that it did not reach."""

from __future__ import annotations

from pathlib import Path

from ratchet.loop.forget.outlook import outlook
from ratchet.loop.machines import register
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import Store
from tests.homes import prepared
from tests.store_rows import url_of


def test_other_homes_on_the_store_are_named_with_their_command(any_store: Store, tmp_path: Path) -> None:
    settings = Settings(home=prepared(tmp_path / "home"), database_url=url_of(any_store))
    register(Settings(home=tmp_path / "other", database_url=url_of(any_store)))
    left = outlook(settings, ProductionPointer(settings, "iris"), [], notes=["a note"], erasure=7)
    assert left.not_reached[0] == "a note"
    assert left.not_reached[-1].endswith("other: run python run.py forget --repeat 7 there")
    assert (left.trained, left.in_production, left.retrain) == ((), None, ())


def test_versions_that_were_trained_or_are_unknown_are_named(tmp_path: Path) -> None:
    settings = Settings(home=prepared(tmp_path / "home"))
    left = outlook(settings, ProductionPointer(settings, "iris"), ["2", "4"], ["3"])
    assert "packages of the versions 2, 4" in left.not_reached[0]
    assert left.not_reached[1] == "the versions 3, whose training rows are not known"
    assert not [line for line in left.not_reached if "--repeat" in line]
