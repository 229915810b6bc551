"""Descriptions in MLflow."""

from __future__ import annotations

import pytest

from ratchet.tracking.markdown import description, escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("f1_macro 0.9", "f1_macro 0.9"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y\>"),
        ("a|b", r"a\|b"),
        ("[text](http://example.org)", r"\[text\](http://example.org)"),
        ("*a* `b` ~c~ \\", r"\*a\* \`b\` \~c\~ \\"),
        ("one\n# two", "one # two"),
        (3, "3"),
    ],
)
def test_a_text_is_shown_as_it_is(text: object, shown: str) -> None:
    assert escaped(text) == shown


def test_a_description_ends_before_the_paragraph_that_is_too_long_for_mlflow() -> None:
    assert description("a", "", "b") == "a\n\nb"
    assert description("a", "b" * 5000, "c") == "a"
