"""The ledger of erasures."""

from __future__ import annotations

import pytest

from ratchet.store.database import Store
from ratchet.store.erasures import Erasures

IDS = [f"{number:036d}" for number in range(1203)]


def test_an_erasure_is_recorded_with_its_predictions_and_no_value(store: Store) -> None:
    ledger = Erasures(store, "iris")
    begun = ledger.begin("ann", "values of mail", reversed(IDS), {"store": 1203, "archive": 0}, ["2", "4"])
    assert (begun.state, begun.actor, begun.selection) == ("open", "ann", "values of mail")
    assert (begun.n_predictions, begun.places, begun.versions) == (1203, {"store": 1203, "archive": 0}, ("2", "4"))
    assert ledger.ids(begun) == IDS
    assert ledger.open() == [begun]
    ended = ledger.complete(begun)
    assert ended.state == "completed"
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.created_at
    assert ledger.history() == [ended]
    assert ledger.open() == []


def test_the_ledger_of_a_model_has_no_erasure_of_another_one(store: Store) -> None:
    begun = Erasures(store, "iris").begin("ann", "prediction ids", IDS[:1], {}, [])
    other = Erasures(store, "wine")
    assert other.history() == []
    assert other.of_prediction(IDS[0]) is None
    with pytest.raises(LookupError):
        other.get(begun.id)


def test_a_prediction_leads_to_its_newest_erasure(store: Store) -> None:
    ledger = Erasures(store, "iris")
    ledger.begin("ann", "prediction ids", IDS[:2], {}, [])
    second = ledger.begin("ann", "prediction ids", IDS[1:3], {}, [])
    assert ledger.of_prediction(IDS[1]) == second
    assert ledger.of_prediction(IDS[9]) is None


def test_an_erasure_without_all_of_its_predictions_is_discarded(store: Store) -> None:
    def interrupted() -> list[str]:
        yield from IDS[:700]
        raise KeyboardInterrupt

    ledger = Erasures(store, "iris")
    with pytest.raises(KeyboardInterrupt):
        ledger.begin("ann", "prediction ids", interrupted(), {}, [])
    assert ledger.open() == ledger.history() == []
    assert ledger.of_prediction(IDS[0]) is not None
    ledger.discard_unstarted()
    assert ledger.of_prediction(IDS[0]) is None
