"""The test of label bias: it finds a selection by the answer, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, chi2_contingency, ks_2samp

from ratchet.feedback.audit_sample import is_audited
from ratchet.monitoring.label_bias import (
    LEVEL,
    Comparison,
    LabelCheck,
    check_labels,
    check_newest_labels,
    compare_categories,
    compare_numbers,
    holm,
)
from ratchet.monitoring.production_rows import AskedRow
from ratchet.store.database import Store
from tests.labels import Stream

Chance = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]], npt.NDArray[np.float64]]


def asked(
    seed: int,
    n_rows: int,
    chance: Chance,
    delay: float = 30.0,
    versions: int = 1,
    source: Callable[[int, bool], str] = lambda at, wrong: "user",
    n_classes: int = 3,
) -> list[AskedRow]:
    """Return one prediction a second with calibrated scores; labels that come after the last prediction are missing."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.full(n_classes, 0.6), n_rows)
    classes, scores = shares.argmax(axis=1), shares.max(axis=1)
    wrong = generator.random(n_rows) > scores
    labelled = generator.random(n_rows) < chance(classes, scores, wrong)
    labelled_at = np.arange(n_rows) + generator.exponential(delay, n_rows)
    rows = []
    for at in range(n_rows):
        known = bool(labelled[at] and labelled_at[at] < n_rows)
        rows.append(
            AskedRow(
                f"{at:036d}",
                str(1 + at * versions // n_rows),
                f"class {classes[at]}",
                float(scores[at]),
                float(at),
                float(labelled_at[at]) if known else None,
                source(at, bool(wrong[at])) if known else None,
                float(wrong[at]) if known else None,
            )
        )
    return rows


def share(value: float) -> Chance:
    return lambda classes, scores, wrong: np.full(len(classes), value)


def biased(rows: list[AskedRow]) -> LabelCheck:
    return check_labels(rows, None, classes=True)


def differing(check: LabelCheck) -> set[str]:
    return {found.aspect for found in check.comparisons if found.differs}


@pytest.mark.parametrize(
    ("n_rows", "chance", "options"),
    [
        pytest.param(60, 0.4, {}, id="few rows"),
        pytest.param(400, 0.1, {}, id="few labels"),
        pytest.param(1000, 0.3, {}, id="some labels"),
        pytest.param(1000, 0.95, {}, id="nearly all labels", marks=pytest.mark.slow),
        pytest.param(800, 0.5, {"delay": 300.0}, id="late labels", marks=pytest.mark.slow),
        pytest.param(800, 0.5, {"versions": 3}, id="three versions"),
        pytest.param(600, 0.2, {"n_classes": 40}, id="many classes", marks=pytest.mark.slow),
    ],
)
def test_unbiased_labels_are_called_biased_at_most_at_the_level(
    n_rows: int, chance: float, options: dict[str, float]
) -> None:
    histories = 200
    found = sum(biased(asked(seed, n_rows, share(chance), **options)).biased for seed in range(histories))
    assert found <= binom.ppf(0.999, histories, LEVEL)


def test_labels_whose_share_changes_with_time_are_not_called_biased() -> None:
    """Both the labelling and the predictions change in the middle."""
    histories = 200
    found, named = 0, 0
    for seed in range(histories):
        early = asked(seed, 500, share(0.1), n_classes=2)
        late = asked(seed + 1000, 500, share(0.6), n_classes=4)
        moved = [
            row._replace(created_at=row.created_at + 500, labelled_at=row.labelled_at and row.labelled_at + 500)
            for row in late
        ]
        check = biased(early + moved)
        found += check.biased
        named += "time" in differing(check)
    assert found <= binom.ppf(0.999, histories, LEVEL)
    assert named > 0.9 * histories, "but it is reported"


SELECTIONS: dict[str, Chance] = {
    "wrong answers": lambda classes, scores, wrong: wrong.astype(float),
    "wrong answers, and some right ones": lambda classes, scores, wrong: np.where(wrong, 0.6, 0.1),
    "right answers": lambda classes, scores, wrong: (~wrong).astype(float) * 0.5,
    "one class": lambda classes, scores, wrong: np.where(classes == 0, 0.5, 0.1),
    "unsure answers": lambda classes, scores, wrong: np.where(scores < 0.7, 0.5, 0.1),
    "sure answers": lambda classes, scores, wrong: np.where(scores > 0.9, 0.5, 0.1),
}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_labels_that_depend_on_the_answer_are_found(selection: str) -> None:
    found = [biased(asked(seed, 1000, SELECTIONS[selection])) for seed in range(20)]
    assert all(check.biased and check.evidence == "none" for check in found)
    assert all(differing(check) & {"prediction", "score"} for check in found)


def test_sources_that_disagree_on_the_model_are_found() -> None:
    """Half of the rows have a label; users answer the wrong ones, and operators the others."""
    rows = asked(1, 1000, share(0.5), source=lambda at, wrong: "link" if wrong else "batch")
    assert differing(biased(rows)) == {"source"}
    rows = asked(1, 1000, share(0.5), source=lambda at, wrong: "link" if at % 2 else "batch")
    assert not biased(rows).biased


def test_a_trifle_is_not_called_biased_however_many_rows_there_are() -> None:
    """The difference is significant, and smaller than the least effect."""
    rows = asked(1, 100_000, lambda classes, scores, wrong: np.where(classes == 0, 0.32, 0.3))
    check = biased(rows)
    (of_prediction,) = (found for found in check.comparisons if found.aspect == "prediction")
    assert of_prediction.p_value < LEVEL
    assert not check.biased


@pytest.mark.parametrize(("n_rows", "chance"), [(15, 1.0), (500, 0.01), (30, 0.9)])
def test_too_few_rows_are_not_compared(n_rows: int, chance: float) -> None:
    check = biased(asked(1, n_rows, share(chance), delay=0.001))
    assert (check.evidence, check.biased) == ("all", False)
    assert not {found.aspect for found in check.comparisons} & {"prediction", "score"}


def test_without_scores_and_for_numbers_the_prediction_is_compared() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=600)
    rows = [
        AskedRow(
            f"{at:036d}", "1", float(value), None, float(at), *((at + 1.0, "user", 0.1) if value > 1 else (None,) * 3)
        )
        for at, value in enumerate(values)
    ]
    check = check_labels(rows, None, classes=False)
    assert check.biased
    assert differing(check) == {"prediction"}


def test_in_one_stratum_the_tests_are_pearsons_and_kolmogorov_smirnovs() -> None:
    generator = np.random.default_rng(1)
    group, one = generator.random(400) < 0.3, np.zeros(400, dtype=np.int64)
    names, numbers = generator.choice(list("abcd"), 400).tolist(), generator.normal(size=400)
    table = np.array(
        [
            [sum(n == c and g == side for n, g in zip(names, group, strict=True)) for c in "abcd"]
            for side in (True, False)
        ]
    )
    pearson = chi2_contingency(table, correction=False)
    _, p_value = compare_categories(group, names, one) or (0.0, 0.0)
    assert p_value == pytest.approx(pearson.pvalue, rel=0.02)
    expected = ks_2samp(numbers[group], numbers[~group], method="asymp")
    distance, p_value = compare_numbers(group, numbers, one) or (0.0, 0.0)
    assert distance == pytest.approx(expected.statistic * (~group).mean())
    assert p_value == pytest.approx(expected.pvalue)


def test_the_effect_is_the_difference_to_all_rows() -> None:
    """Of 100 rows 50 are labelled: 40 of class a and 10 of class b; of all rows 50 are of class a."""
    names = ["a"] * 50 + ["b"] * 50
    group = np.array([True] * 40 + [False] * 10 + [True] * 10 + [False] * 40)
    effect, _ = compare_categories(group, names, np.zeros(100, dtype=np.int64)) or (0.0, 0.0)
    assert effect == pytest.approx(0.8 - 0.5)


def test_holms_rule() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_the_audit_sample_counts_if_nearly_all_of_it_has_a_label() -> None:
    rows = asked(1, 4000, lambda classes, scores, wrong: np.ones(len(classes)))
    chosen = random.Random(1)

    def kept(row: AskedRow, answered: float) -> AskedRow:
        audit = is_audited(row.prediction_id, 0.1) and chosen.random() < answered
        return row if audit or row.error else row._replace(labelled_at=None, source=None, error=None)

    complete = check_labels([kept(row, 0.95) for row in rows], 0.1, classes=True)
    assert (complete.evidence, complete.biased) == ("audit", True)
    assert complete.reason.endswith("labelled rows of the audit sample count")
    partial = check_labels([kept(row, 0.4) for row in rows], 0.1, classes=True)
    assert partial.evidence == "none"
    assert "of the audit sample have a label, 80% are needed" in partial.reason
    small = check_labels([kept(row, 0.95) for row in rows], 0.002, classes=True)
    assert small.evidence == "none"


def _without_scores(rows: list[AskedRow], audit_share: float, outside: Callable[[AskedRow], bool]) -> list[AskedRow]:
    """Return rows of a model without scores, whose labels are those of the audit sample and of chosen rows."""
    return [
        row._replace(score=None)
        if is_audited(row.prediction_id, audit_share) or outside(row)
        else row._replace(score=None, labelled_at=None, source=None, error=None)
        for row in rows
    ]


def test_complaints_that_only_errors_show_are_found_by_an_audit_sample() -> None:
    rows = asked(1, 2000, lambda classes, scores, wrong: np.ones(len(classes)))
    complaints = _without_scores(rows, 0.1, lambda row: row.error == 1)
    check = check_labels(complaints, 0.1, classes=True)
    assert differing(check) == {"error"}
    assert (check.evidence, check.biased) == ("audit", True)
    assert not biased(complaints).biased, "without the sample nothing shows them"
    generator = np.random.default_rng(1)
    at_random = check_labels(_without_scores(rows, 0.1, lambda row: generator.random() < 0.3), 0.1, classes=True)
    assert (at_random.evidence, at_random.biased) == ("audit", False)


def test_without_scores_only_a_complete_audit_sample_is_evidence() -> None:
    """Clients ignore ``label_wanted``; the labels of wrong answers in the sample are all that it has."""
    rows = asked(1, 2000, lambda classes, scores, wrong: np.ones(len(classes)))
    complaints = [row if row.error else row._replace(labelled_at=None, source=None, error=None) for row in rows]
    answers = np.random.default_rng(2).choice(["class 0", "class 1"], 2000).tolist()
    hidden = [row._replace(score=None, prediction=said) for row, said in zip(complaints, answers, strict=True)]
    numbers = [row._replace(prediction=float(at % 7)) for at, row in enumerate(hidden)]
    for scoreless, classes in ((hidden, True), (numbers, False)):
        check = check_labels(scoreless, 0.1, classes=classes)
        assert (check.evidence, check.biased) == ("none", False)
        assert "no selection of labels by the answer was found; " in check.reason
        assert check.reason.endswith("80% are needed: send a label for each answer with label_wanted")
        few = check_labels(scoreless[:30], 0.1, classes=classes)
        assert (few.evidence, "label_wanted" in few.reason) == ("none", True)
        assert check_labels(scoreless, None, classes=classes).evidence == "all", "no sample is configured"
        assert check_labels(scoreless, 0.0, classes=classes).evidence == "all"
    assert check_labels([], 0.1, classes=True).evidence == "all"
    scored = asked(1, 2000, share(0.3))
    assert check_labels(scored, 0.1, classes=True).evidence == "all", "a selection shows in the scores"


def test_labels_for_large_errors_of_numbers_are_found_by_an_audit_sample() -> None:
    generator = np.random.default_rng(2)
    errors = np.abs(generator.normal(size=2000))
    rows = [
        AskedRow(f"{at:036d}", "1", float(value), None, float(at), at + 1.0, "user", float(errors[at]))
        for at, value in enumerate(generator.normal(size=2000))
    ]
    check = check_labels(_without_scores(rows, 0.1, lambda row: (row.error or 0.0) > 1.5), 0.1, classes=False)
    assert differing(check) == {"error"}
    assert check.evidence == "audit"


def test_an_audit_sample_is_random_nested_and_known_from_the_id() -> None:
    ids = [f"01a1fcb8-6a25-715a-ad2f-{at:012x}" for at in range(20_000)]
    tenth = {found for found in ids if is_audited(found, 0.1)}
    assert len(tenth) == pytest.approx(2000, abs=4 * np.sqrt(20_000 * 0.09))
    assert tenth <= {found for found in ids if is_audited(found, 0.3)}
    assert not any(is_audited(found, none) for found in ids[:100] for none in (None, 0.0))
    assert all(is_audited(found, 1.0) for found in ids[:100])
    assert [is_audited(found, 0.1) for found in ids[:40]].count(True) == 4, "the same in every release"


def test_predictions_that_still_wait_for_their_label_are_not_compared(any_store: Store) -> None:
    """Labels come late, and the newest answers are of another kind."""
    stream = Stream(any_store)
    generator = np.random.default_rng(1)
    old = stream.answer([{"x": 1.0}] * 400, generator.choice(["a", "b"], 400).tolist())
    stream.answer([{"x": 1.0}] * 400, "c")
    stream.label([found for found in old if generator.random() < 0.5], "a")
    check = check_newest_labels(any_store, "iris", None, classes=True)
    assert not check.biased
    assert check.n_rows < 400


def test_the_result_has_its_figures() -> None:
    check = biased(asked(1, 1000, SELECTIONS["wrong answers"]))
    score = next(found for found in check.comparisons if found.aspect == "score")
    assert isinstance(score, Comparison)
    assert score.effect > 0.2
    assert f"score ({score.effect:.0%})" in check.reason
    assert LabelCheck.model_validate(check.model_dump(mode="json")) == check
