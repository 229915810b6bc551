"""The rules of feedback, on both kinds of store."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ratchet.errors import InputError, RatchetError, StateError
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.requests import read_feedback
from ratchet.feedback.table import (
    ContradictionError,
    FeedbackRow,
    GonePredictionError,
    MissingPredictionError,
    Recorded,
    Result,
    ServedModel,
    UnknownPredictionError,
    feedback_of,
    feedback_transaction,
    find_for_review,
    record_feedback,
)
from ratchet.monitoring.production_rows import labels_up_to, watermark
from ratchet.store.database import Store
from ratchet.store.predictions import insert_predictions
from ratchet.store.retention_positions import note_moved
from ratchet.store.tables import feedback, predictions
from tests.conftest import new_database
from tests.store_rows import prediction, record_all

LABELS = ("setosa", "versicolor", "virginica")
SHARES = dict(zip(LABELS, (0.5, 0.3, 0.2), strict=True))
IRIS = ServedModel("iris", LABELS)
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests, each of which has its own predictions."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path_factory.mktemp('feedback')}/store.db")
    else:
        store = Store(new_database(request.getfixturevalue("postgres"), "feedback"))
    yield store
    store.engine.dispose()


def predict(store: Store, **changes: Any) -> str:
    """Store a prediction of setosa by version 3 of iris, with changes; return its id."""
    row = prediction(next(NUMBERS), **{"probabilities": SHARES, **changes})
    insert_predictions(store, [row])
    return row["id"]


def record(store: Store, prediction_id: str, served: ServedModel = IRIS, **words: Any) -> Result:
    return record_all(store, [(Feedback(prediction_id, **words), served)])[0]


def accepted(
    store: Store, prediction_id: str, served: ServedModel = IRIS, **words: Any
) -> tuple[str, Any, bool | None, int]:
    """Record feedback, and return its status, target, correct and revision."""
    result = record(store, prediction_id, served, **words)
    assert isinstance(result, Recorded), result
    return result.status, result.current.target, result.current.correct, result.current.revision


def refused(store: Store, prediction_id: str, served: ServedModel = IRIS, **words: Any) -> RatchetError:
    result = record(store, prediction_id, served, **words)
    assert isinstance(result, RatchetError), result
    return result


def history(store: Store, prediction_id: str) -> list[tuple[int, Any, bool | None]]:
    return [(row.revision, row.target, row.correct) for row in feedback_of(store, prediction_id)]


def test_a_target_is_recorded_with_whether_the_prediction_was_right(store: Store) -> None:
    assert accepted(store, predict(store), target="versicolor") == ("recorded", "versicolor", False, 1)
    assert accepted(store, predict(store), target="setosa") == ("recorded", "setosa", True, 1)


def test_a_row_names_the_version_that_predicted_and_the_source(store: Store) -> None:
    one = predict(store, version="17")
    record(store, one, target="virginica", source="link")
    (row,) = feedback_of(store, one)
    assert row == FeedbackRow(one, 1, "iris", "17", "virginica", False, "link", row.created_at, row.seq, None)
    assert row.seq


def test_correct_means_the_target_is_the_prediction(store: Store) -> None:
    assert accepted(store, predict(store), correct=True) == ("recorded", "setosa", True, 1)


def test_wrong_of_two_classes_means_the_other_one(store: Store) -> None:
    two = predict(store, prediction="no", probabilities={"no": 0.6, "yes": 0.4})
    assert accepted(store, two, correct=False) == ("recorded", "yes", False, 1)


def test_wrong_of_more_classes_leaves_the_target_open(store: Store) -> None:
    assert accepted(store, predict(store), correct=False) == ("recorded", None, False, 1)


def test_a_target_and_correct_that_agree_are_accepted(store: Store) -> None:
    assert accepted(store, predict(store), target="setosa", correct=True)[:3] == ("recorded", "setosa", True)
    assert accepted(store, predict(store), target="virginica", correct=False)[:3] == ("recorded", "virginica", False)


@pytest.mark.parametrize(("target", "correct"), [("setosa", False), ("virginica", True)])
def test_a_target_and_correct_that_disagree_are_refused(store: Store, target: str, correct: bool) -> None:
    one = predict(store)
    error = refused(store, one, target=target, correct=correct)
    assert isinstance(error, InputError)
    assert error.problems[0].field == "correct"
    assert history(store, one) == []


@pytest.mark.parametrize("target", ["Setosa", "setos", "", "rose", 1, 1.5])
def test_a_target_that_is_no_class_of_the_model_is_refused_with_the_classes(store: Store, target: Any) -> None:
    one = predict(store)
    error = refused(store, one, target=target)
    assert isinstance(error, InputError)
    assert error.problems[0].field == "target"
    assert "setosa" in str(error)
    assert history(store, one) == []


def test_whole_numbers_keep_their_type_as_labels(store: Store) -> None:
    one = predict(store, prediction=1, probabilities={"0": 0.2, "1": 0.8})
    for target in ("zero", 0.5, 2, True):
        assert isinstance(refused(store, one, target=target), InputError)
    assert accepted(store, one, target=0) == ("recorded", 0, False, 1)
    assert isinstance(feedback_of(store, one)[0].target, int)


def test_the_classes_of_an_older_version_are_its_own(store: Store) -> None:
    old = predict(store, version="1", prediction="red", probabilities={"red": 0.5, "green": 0.5})
    assert isinstance(refused(store, old, target="setosa"), InputError)
    assert accepted(store, old, target="green") == ("recorded", "green", False, 1)


def test_without_probabilities_the_classes_are_those_served_and_the_predicted_one(store: Store) -> None:
    bare = {"prediction": "rose", "probabilities": None, "score": None}
    assert accepted(store, predict(store, **bare), target="virginica")[1] == "virginica"
    assert accepted(store, predict(store, **bare), correct=True)[1] == "rose"
    assert isinstance(refused(store, predict(store, **bare), target="tulip"), InputError)


def test_a_label_with_unknown_classes_can_only_be_right_or_wrong(store: Store) -> None:
    unknown = ServedModel("iris")
    bare = {"probabilities": None, "score": None}
    assert accepted(store, predict(store, **bare), unknown, correct=True)[1:3] == ("setosa", True)
    assert accepted(store, predict(store, **bare), unknown, correct=False)[1:3] == (None, False)
    assert isinstance(refused(store, predict(store, **bare), unknown, target="virginica"), InputError)


@pytest.fixture
def number(store: Store) -> str:
    """A regression's prediction of 152.5."""
    return predict(store, model="diabetes", prediction=152.5, probabilities=None, score=None)


DIABETES = ServedModel("diabetes")


def test_a_regression_accepts_any_finite_number(store: Store, number: str) -> None:
    for status in ("recorded", "repeated"):
        assert repr(accepted(store, number, DIABETES, target=-3)) == repr((status, -3.0, None, 1))


def test_a_regression_can_predict_a_whole_number(store: Store) -> None:
    whole = predict(store, model="diabetes", prediction=152.0, probabilities=None, score=None)
    assert accepted(store, whole, DIABETES, target=151.5) == ("recorded", 151.5, None, 1)
    assert repr(find_for_review(store, whole, DIABETES).predicted.prediction) == "152.0"


@pytest.mark.parametrize("target", ["152,5", "inf", True, float("nan"), float("inf"), 10**400])
def test_a_regression_accepts_nothing_else(store: Store, number: str, target: Any) -> None:
    error = refused(store, number, DIABETES, target=target)
    assert isinstance(error, InputError)
    assert "expected a finite number" in str(error)


def test_a_regression_is_right_or_wrong_only_if_the_client_sends_it(store: Store, number: str) -> None:
    assert accepted(store, number, DIABETES, correct=False) == ("recorded", None, False, 1)
    assert accepted(store, number, DIABETES, target=140.0) == ("completed", 140.0, None, 2)
    other = predict(store, model="diabetes", prediction=1.0, probabilities=None)
    assert accepted(store, other, DIABETES, correct=True) == ("recorded", 1.0, True, 1)


def test_the_same_answer_again_changes_nothing(store: Store) -> None:
    one = predict(store)
    first = accepted(store, one, target="versicolor")
    for words in ({"target": "versicolor"}, {"target": "versicolor", "correction": True}, {"correct": False}):
        assert accepted(store, one, **words) == ("repeated", *first[1:])
    assert history(store, one) == [(1, "versicolor", False)]


def test_a_target_completes_a_bare_wrong(store: Store) -> None:
    one = predict(store)
    record(store, one, correct=False)
    assert accepted(store, one, correct=False)[0] == "repeated"
    assert accepted(store, one, target="virginica") == ("completed", "virginica", False, 2)
    assert history(store, one) == [(1, None, False), (2, "virginica", False)]


CONTRADICTIONS = [
    ({"target": "versicolor"}, {"target": "virginica"}),
    ({"target": "versicolor"}, {"target": "setosa"}),
    ({"target": "versicolor"}, {"correct": True}),
    ({"target": "setosa"}, {"correct": False}),
    ({"correct": True}, {"target": "virginica"}),
    ({"correct": False}, {"correct": True}),
    ({"correct": False}, {"target": "setosa"}),
]


@pytest.mark.parametrize(("first", "second"), CONTRADICTIONS)
def test_a_contradiction_is_refused_with_the_current_feedback(store: Store, first: Any, second: Any) -> None:
    one = predict(store)
    before = accepted(store, one, **first)
    error = refused(store, one, **second)
    assert isinstance(error, ContradictionError)
    assert (error.current.target, error.current.correct) == before[1:3]
    assert '"correction": true' in str(error)
    assert len(history(store, one)) == 1


@pytest.mark.parametrize(("first", "second"), CONTRADICTIONS)
def test_a_correction_replaces_the_current_feedback_and_keeps_it(store: Store, first: Any, second: Any) -> None:
    one = predict(store)
    record(store, one, **first)
    status, target, correct, revision = accepted(store, one, **second, correction=True)
    assert (status, revision) == ("corrected", 2)
    old, new = feedback_of(store, one)
    assert (new.target, new.correct) == (target, correct)
    assert old.superseded_by == new.seq
    assert new.superseded_by is None


def test_a_correction_of_one_revision_replaces_no_other(store: Store) -> None:
    one = predict(store)
    assert accepted(store, one, target="versicolor", correction=True, expected_revision=0)[3] == 1
    assert accepted(store, one, target="virginica", correction=True, expected_revision=1)[3] == 2
    for stale in (0, 1, 3):
        assert isinstance(
            refused(store, one, target="setosa", correction=True, expected_revision=stale), ContradictionError
        )
        assert accepted(store, one, target="virginica", correction=True, expected_revision=stale)[0] == "repeated"
    assert len(history(store, one)) == 2


def test_a_correction_without_earlier_feedback_is_recorded(store: Store) -> None:
    assert accepted(store, predict(store), target="setosa", correction=True)[0] == "recorded"


def test_all_corrections_stay_in_the_history(store: Store) -> None:
    one = predict(store)
    for target in ("setosa", "versicolor", "setosa"):
        record(store, one, target=target, correction=True)
    rows = feedback_of(store, one)
    assert [row.superseded_by for row in rows] == [rows[1].seq, rows[2].seq, None]


def test_an_unknown_prediction_is_refused(store: Store) -> None:
    assert isinstance(refused(store, "nothing", target="setosa"), MissingPredictionError)
    with pytest.raises(MissingPredictionError):
        find_for_review(store, "nothing", IRIS)


def test_a_prediction_that_retention_moved_is_gone(store: Store) -> None:
    moved, kept, later = (predict(store) for _ in range(3))
    with store.transaction() as connection:
        connection.execute(sa.delete(predictions).where(predictions.c.id == moved))
        note_moved(store, connection, "iris", moved, archived=True)
    error = refused(store, moved, target="setosa")
    assert isinstance(error, GonePredictionError)
    assert "has been archived" in str(error)
    with pytest.raises(GonePredictionError):
        find_for_review(store, moved, IRIS)
    assert [accepted(store, one, target="setosa")[0] for one in (kept, later)] == ["recorded"] * 2
    assert not isinstance(refused(store, "f" * 36, target="setosa"), GonePredictionError)


def test_feedback_on_a_prediction_of_another_model_is_refused(store: Store) -> None:
    one = predict(store, model="wine")
    error = refused(store, one, target="setosa")
    assert isinstance(error, UnknownPredictionError)
    assert "'wine'" in str(error)
    assert "'iris'" in str(error)
    assert history(store, one) == []


def test_feedback_is_accepted_years_later(store: Store) -> None:
    assert accepted(store, predict(store, created_at=1_000_000.0), target="setosa")[0] == "recorded"


def test_items_of_one_transaction_count_as_if_each_came_alone_in_order(store: Store) -> None:
    one, other = predict(store), predict(store)
    items = [
        Feedback(one, target="versicolor"),
        Feedback("nothing", target="setosa"),
        Feedback(one, target="versicolor"),
        Feedback(one, target="setosa"),
        Feedback(other, target="rose"),
        Feedback(one, target="setosa", correction=True),
        Feedback(one, target="virginica", correction=True),
        Feedback(other, correct=True),
    ]
    results = record_all(store, [(each, IRIS) for each in items])
    statuses = [result.status if isinstance(result, Recorded) else type(result).__name__ for result in results]
    assert statuses == [
        "recorded",
        "MissingPredictionError",
        "repeated",
        "ContradictionError",
        "InputError",
        "corrected",
        "corrected",
        "recorded",
    ]
    first, second, third = feedback_of(store, one)
    assert (first.superseded_by, second.superseded_by) == (second.seq, third.seq)


def test_more_items_than_one_statement_can_select_are_recorded(store: Store) -> None:
    rows = [prediction(next(NUMBERS), probabilities=SHARES) for _ in range(1200)]
    insert_predictions(store, rows)
    results = record_all(store, [(Feedback(row["id"], target="setosa"), IRIS) for row in rows])
    assert [result.current.prediction_id for result in results if isinstance(result, Recorded)] == [
        row["id"] for row in rows
    ]


def test_the_labels_at_a_watermark_never_change(store: Store) -> None:
    model = f"marked-{store.is_sqlite}"
    served, one, other = ServedModel(model, LABELS), predict(store, model=model), predict(store, model=model)
    record(store, one, served, target="versicolor")
    mark = watermark(store, model)
    record(store, one, served, target="virginica", correction=True)
    record(store, other, served, target="setosa")
    assert [row.target for row in labels_up_to(store, model, mark, 10)] == ["versicolor"]
    assert [row.target for row in labels_up_to(store, model, watermark(store, model), 10)] == ["virginica", "setosa"]


def test_concurrent_feedback_is_recorded_once(store: Store) -> None:
    ids = [predict(store) for _ in range(5)]
    outcomes: list[str] = []

    def speak(target: str) -> None:
        for one in ids:
            result = record(store, one, target=target)
            outcomes.append(result.status if isinstance(result, Recorded) else type(result).__name__)

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(speak, ("setosa", "virginica") * 4))
    assert outcomes.count("recorded") == len(ids)
    assert [outcomes.count("repeated"), outcomes.count("ContradictionError")] == [3 * len(ids), 4 * len(ids)]
    assert all(len(history(store, one)) == 1 for one in ids)


def test_numbers_follow_the_order_of_commits(store: Store) -> None:
    """A row that got its number first and was committed last would be missed by a reader with a later watermark."""
    started, order = threading.Event(), []

    def second() -> None:
        started.set()
        record(store, late, target="setosa")
        order.append("second")

    early, late = predict(store), predict(store)
    with feedback_transaction(store) as connection:
        thread = threading.Thread(target=second)
        thread.start()
        assert started.wait(10)
        thread.join(0.1)
        assert thread.is_alive(), "it waits for the other transaction"
        record_feedback(connection, [(Feedback(early, target="setosa"), IRIS)])
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert feedback_of(store, early)[0].seq < feedback_of(store, late)[0].seq


ANSWERS = {
    "setosa": [{"target": "setosa"}, {"correct": True}, {"target": "setosa", "correct": True}],
    "virginica": [{"target": "virginica"}, {"correct": False}, {"target": "virginica", "correct": False}],
}


@effort(max_examples=60, deadline=None)
@given(truth=st.sampled_from(sorted(ANSWERS)), data=st.data())
def test_feedback_that_agrees_has_one_result_in_any_order(store: Store, truth: str, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from(ANSWERS[truth]), min_size=1, max_size=8))
    ends = set()
    for order in (words, data.draw(st.permutations(words + words))):
        one = predict(store)
        shared = data.draw(st.booleans())
        if shared:
            results = record_all(store, [(Feedback(one, **each), IRIS) for each in order])
        else:
            results = [record(store, one, **each) for each in order]
        assert all(isinstance(result, Recorded) for result in results)
        rows = feedback_of(store, one)
        assert len([row for row in rows if row.superseded_by is None]) == 1
        assert rows[-1].superseded_by is None
        assert len(rows) <= 2
        ends.add((rows[-1].target, rows[-1].correct))
    assert len(ends) == 1


def test_a_prediction_for_review_has_its_record_and_the_current_feedback(store: Store) -> None:
    one = predict(store)
    case = find_for_review(store, one, IRIS)
    assert (case.predicted.prediction, case.predicted.labels, case.current) == ("setosa", LABELS, None)
    assert case.features == {"sepal_length": 5.1, "colour": "blue"}
    record(store, one, target="virginica")
    standing = find_for_review(store, one, IRIS).current
    assert standing is not None
    assert standing.target == "virginica"


def test_a_store_that_fails_records_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db", 0.1)
    one, other = predict(store), Store(f"sqlite:///{tmp_path}/store.db")
    with other.transaction(), pytest.raises(StateError):
        record(store, one, target="setosa")
    assert history(store, one) == []
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(feedback)) == 0
    store.engine.dispose()
    other.engine.dispose()


@pytest.mark.parametrize(
    ("labels", "sent", "recorded"),
    [
        ((0, 1), "1", 1),
        ((0, 1), 1.0, 1),
        (("007", "012"), 7, "007"),
        (("007", "012"), "012", "012"),
        (("False", "True"), True, "True"),
        (("None", "Apnea"), "None", "None"),
    ],
)
def test_a_label_may_be_sent_as_the_file_writes_it_or_as_its_json_value(
    store: Store, labels: tuple[Any, ...], sent: Any, recorded: Any
) -> None:
    one = predict(store, prediction=labels[0], probabilities={str(label): 0.5 for label in labels})
    body = json.dumps({"prediction_id": one, "target": sent}).encode()
    result = record(store, one, target=read_feedback(body).target)
    assert isinstance(result, Recorded)
    assert result.current.target == recorded
    assert type(result.current.target) is type(recorded)
