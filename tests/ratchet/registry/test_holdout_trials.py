"""How many challengers were tried on a holdout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from ratchet.data.row_identities import RowIdentities, identify, mix, prediction_ids
from ratchet.model.evaluation import evaluate_model
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.registry.gates import GateInput
from ratchet.registry.gates.alpha_spending import level_of
from ratchet.registry.gates.champion import against_champion
from ratchet.registry.holdout_trials import HoldoutTrials, tried_on_holdout
from ratchet.store import database
from ratchet.store.database import Store
from ratchet.store.tables import holdout_trials
from tests.fitted import Trained


def rows(first: int, last: int, source: str = "v1", contents: int = 10**9) -> RowIdentities:
    """Rows of a data version, whose contents are the same in every version and repeat after some rows."""
    places = np.arange(first, last, dtype=np.uint64)
    return RowIdentities(source, mix(places, source), mix(places % np.uint64(contents), "x"), last - first)


def test_challengers_on_one_holdout_are_counted(any_store: Store) -> None:
    trials = HoldoutTrials(any_store, "iris")
    assert [trials.enter(rows(0, 5000), f"model {at}") for at in range(5)] == [1, 2, 3, 4, 5]
    assert HoldoutTrials(any_store, "wine").enter(rows(0, 5000), "model 1") == 1, "another model has its own"


def test_the_same_trial_made_again_keeps_its_number(any_store: Store) -> None:
    trials = HoldoutTrials(any_store, "iris")
    assert [trials.enter(rows(0, 500), name) for name in ("a", "b", "a", "b", "c")] == [1, 2, 1, 2, 3]


@pytest.mark.parametrize(
    ("evidence", "number"),
    [
        (rows(0, 4000), 2),
        (rows(1000, 1400), 2),
        (rows(1000, 5000), 2),
        (rows(3000, 7000), 1),
        (rows(4000, 8000), 1),
        (rows(0, 4100, "v2"), 2),
        (rows(3900, 8000, "v2"), 1),
    ],
    ids=["the-same", "a-part", "mostly", "a-quarter", "fresh", "the-same-of-a-grown-file", "fresh-of-a-grown-file"],
)
def test_a_holdout_is_the_same_if_half_of_its_rows_were_tried_on(
    any_store: Store, evidence: RowIdentities, number: int
) -> None:
    trials = HoldoutTrials(any_store, "iris")
    trials.enter(rows(0, 4000), "first")
    assert trials.enter(evidence, "second") == number


def survey(n_rows: int) -> pd.DataFrame:
    """Return the first rows of a survey of four questions, in which few contents occur many times."""
    generator = np.random.default_rng(1)
    answers = {f"q{at}": generator.choice(list("abcd")[: 2 + at % 3], 4000) for at in range(4)}
    return pd.DataFrame(answers).assign(bought=generator.choice(["yes", "no"], 4000)).iloc[:n_rows]


@pytest.mark.parametrize("first", [survey(3000), survey(3000).drop_duplicates()], ids=["repeated", "unique"])
def test_a_row_appended_to_a_survey_restores_no_level(any_store: Store, first: pd.DataFrame) -> None:
    grown = pd.concat([first, survey(3001).iloc[-1:]])
    trials = HoldoutTrials(any_store, "survey")
    versions = [identify(rows, "bought", source, range(len(rows))) for rows, source in ((first, "v1"), (grown, "v2"))]
    numbers = [trials.enter(rows, f"{name} {at}") for at, rows in enumerate(versions) for name in "ab"]
    assert numbers == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("evidence", "number"),
    [
        (rows(0, 4000, "v2", contents=50), 2),
        (rows(0, 9000, "v2", contents=50), 1),
        (rows(0, 1000, "v2", contents=50), 2),
        (rows(60, 4060, "v2", contents=5000), 1),
    ],
    ids=["as-many-of-each", "twice-as-many-of-each", "a-part-of-each", "mostly-others"],
)
def test_equal_rows_of_another_version_count_by_multiplicity(
    any_store: Store, evidence: RowIdentities, number: int
) -> None:
    trials = HoldoutTrials(any_store, "iris")
    trials.enter(rows(0, 4000, contents=50), "first")
    assert trials.enter(evidence, "second") == number


@pytest.mark.parametrize(("repeated", "number"), [(0, 2), (300, 2), (900, 1)], ids=["none", "some", "most"])
def test_sketches_of_an_earlier_release_still_count(any_store: Store, repeated: int, number: int) -> None:
    """They have the contents that occur once, and none where these were the minority."""
    given, pairs = rows(0, 1000), np.arange(1000, dtype=np.uint64)
    pairs[:repeated] //= np.uint64(2)
    contents, counts = np.unique(mix(pairs, "x"), return_counts=True)
    single = contents[counts == 1]
    stored = {"contents": single[:256].tobytes() if len(single) >= 500 else b"", "ids": np.sort(given.ids).tobytes()}
    with any_store.transaction() as connection:
        connection.execute(
            sa.insert(holdout_trials).values(model="iris", trial="old", source="v1", created_at=1.0, **stored)
        )
    same = RowIdentities("v2", mix(given.ids, "v2"), mix(pairs, "x"), 1000)
    assert HoldoutTrials(any_store, "iris").enter(same, "new") == number


def test_fresh_rows_of_production_restore_the_level(any_store: Store) -> None:
    trials, reference = HoldoutTrials(any_store, "iris"), rows(0, 100)

    def with_production(first: int) -> RowIdentities:
        ids = prediction_ids([f"p{at}" for at in range(first, first + 300)])
        return RowIdentities("v1", np.append(reference.ids, ids), np.append(reference.contents, ids), 100)

    assert [trials.enter(with_production(first), "m") for first in (0, 50, 100, 400)] == [1, 2, 3, 1]


@pytest.fixture
def package(iris_package: tuple) -> Package:  # type: ignore[type-arg]
    return load_package(*iris_package)


def test_the_gate_judges_each_further_challenger_at_a_smaller_level(
    iris: Trained, package: Package, store: Store
) -> None:
    evaluation = evaluate_model(package.model, iris.holdout, iris.schema, iris.config.evaluate, seed=1)
    given = GateInput(iris.config, package, package, iris.holdout, iris.holdout_identities, evaluation)
    assert tried_on_holdout(store, replace(given, champion=None)) == 1
    challengers = [replace(given, challenger=replace(package, digest=name)) for name in ("a", "b", "a", "c")]
    results = [against_champion(replace(one, tried=tried_on_holdout(store, one))) for one in challengers]
    assert [result.tried for result in results] == [1, 2, 1, 3]
    assert [result.level for result in results] == pytest.approx([level_of(number, 0.025) for number in (1, 2, 1, 3)])
    assert "(level 0.0038 of 0.025, challenger 2 on 30 rows new to both)" in results[1].reason
    assert results[1].reason.endswith("fresh held-out rows restore the level 0.015")
    promote = iris.config.promote.model_copy(update={"policy": "not_worse", "margin": 0.05})
    milder = replace(challengers[0], config=iris.config.model_copy(update={"promote": promote}))
    assert tried_on_holdout(store, milder) == 1, "one interval answers for every policy and margin"
    another = replace(given, config=iris.config.model_copy(update={"seed": 1}))
    assert tried_on_holdout(store, another) == 4, "another draw of the bootstrap is another attempt"


def test_a_store_of_an_earlier_schema_has_no_trials(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def migrate(store: Store) -> None:
        with store.transaction() as connection:
            database._upgrade(connection, "0008")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_migrate", migrate)
        Store(store_url).engine.dispose()
    new = Store(store_url)
    assert HoldoutTrials(new, "iris").enter(rows(0, 40), "first") == 1
    with new.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(holdout_trials)) == 1
    new.engine.dispose()
