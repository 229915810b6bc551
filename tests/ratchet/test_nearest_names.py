from __future__ import annotations

import pytest

from ratchet.nearest_names import nearest

METRICS = ("accuracy", "f1_macro", "f1_micro", "log_loss", "roc_auc")


@pytest.mark.parametrize(
    ("name", "choices", "hint"),
    [
        ("acuracy", METRICS, "; did you mean 'accuracy'?"),
        ("f1_makro", METRICS, "; did you mean 'f1_macro' or 'f1_micro'?"),
        ("F1_MACRO", ("f1_macro", "r2"), "; did you mean 'f1_macro'?"),
        ("xyz", ("b", "a"), "; known are: a, b"),
        ("xyz", [], ""),
        ("loss function", METRICS, "; the nearest of 5 are 'log_loss' and 'f1_macro'"),
        ("9", [str(version) for version in range(20, 9, -1)], "; the nearest of 11 are '10' and '11'"),
        ("", METRICS, "; there are 5, such as 'accuracy' and 'f1_macro'"),
    ],
)
def test_at_most_two_of_many_names_are_listed(name: str, choices: list[str], hint: str) -> None:
    assert nearest(name, choices) == hint


def test_the_hint_stays_short_whatever_the_choices() -> None:
    assert len(nearest("zzz", [f"column_{at}" for at in range(1000)])) < 80
