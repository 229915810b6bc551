"""The version whose quality on the reference continuous training has to keep."""

from __future__ import annotations

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.registry.promote_challenger import anchor_of
from ratchet.settings import Settings
from ratchet.tracking import connect
from ratchet.tracking.lineage import PREFIX
from tests.ratchet.registry.conftest import register


def anchor(pointer: ProductionPointer) -> str | None:
    found = anchor_of(pointer, pointer.require_current())
    return found and found.version


def test_the_anchor_is_the_newest_version_without_production_data_that_is_registered(on_sqlite: Settings) -> None:
    client, model = connect(on_sqlite), register(on_sqlite, 4)
    pointer = ProductionPointer(on_sqlite, model)
    for version in ("3", "4"):
        client.set_model_version_tag(model, version, f"{PREFIX}snapshot", "hash")
    found = []
    for version in ("1", "2", "3", "4"):
        pointer.promote(version, "r", "a")
        found.append(anchor(pointer))
    assert found == [None, None, "2", "2"]
    client.delete_model_version(model, "3")
    assert anchor(pointer) == "2", "a deleted version in between is left out"
    client.delete_model_version(model, "2")
    assert anchor(pointer) == "1"
    client.delete_model_version(model, "1")
    assert anchor(pointer) is None
