"""The form of texts that are not words: numbers with other separators or a currency, dates, and digits of a code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ratchet.data.column_reader import PANDAS_MISSING

# The share of texts that have a form.
_MOST = 0.9
# So many different numbers can be categories.
_FEW = 10
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}\S*)?$")
_OTHER_DATE = re.compile(
    r"(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./]\d{1,2}[./]\d{1,2}|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4})"
    r"([ T]\d{1,2}:\d{2}.*)?$"
)
_CODE = re.compile(r"[+-]?(0\d+|\d{16,})$")
_DIGITS = re.compile(r"[+-]?\d+$")
_NUMBER = re.compile(
    r"(?P<before>[$€£¥₹]?)\s?[+-]?\s?(?P<currency>[$€£¥₹]?)\s?"
    r"(?P<digits>\d{1,3}(?P<group>[.,'’\s])\d{3}(?:(?P=group)\d{3})*|\d+)"
    r"(?P<fraction>[.,]\d+)?(?:[eE][+-]?\d+)?\s?(?P<after>[$€£¥₹%‰]|[A-Za-z]{1,3})?$"
)


@dataclass(frozen=True)
class NumberShape:
    """How the texts of a column write numbers.

    Attributes
    ----------
    decimal: the character before the fraction.
    thousands: the character between groups of three digits; None where no number has one.
    unit: the text around the number, such as ``$`` or ``%``; empty where there is none.
    """

    decimal: Literal[".", ","] = "."
    thousands: str | None = None
    unit: str = ""


def are_codes(texts: Sequence[str]) -> bool:
    """Whether texts are digits, some with a leading zero or more than a float64 can hold."""
    return all(map(_DIGITS.match, texts)) and any(map(_CODE.match, texts))


def date_shape(texts: Sequence[str]) -> Literal["iso", "other"] | None:
    """Return whether texts are dates in ISO 8601 or in another form; None where they are no dates."""
    if _share(_ISO_DATE, texts) >= _MOST:
        return "iso"
    return "other" if _share(_OTHER_DATE, texts) >= _MOST else None


def number_shape(texts: Sequence[str]) -> NumberShape | None:
    """Return how texts write numbers; None where most of them are no numbers."""
    found = [match for text in texts if (match := _NUMBER.match(text.strip()))]
    if len(found) < _MOST * len(texts) or not found:
        return None
    unit = next(
        (m["before"] or m["currency"] or m["after"] for m in found if any(m.group("before", "currency", "after"))), ""
    )
    groups = {m["group"] for m in found if m["group"]}
    fractions = {m["fraction"][0] for m in found if m["fraction"]}
    if "," in fractions or (groups == {","} and "." not in fractions and not _is_grouped(texts)):
        return NumberShape(",", next(iter(groups - {","}), None), unit)
    if groups == {"."}:  # one point is a decimal point
        is_grouped = any(m["digits"].count(".") > 1 for m in found)
        return NumberShape(",", ".", unit) if is_grouped else NumberShape(".", None, unit)
    return NumberShape(".", next(iter(groups), None), unit)


def word_among_numbers(texts: Sequence[str]) -> str | None:
    """Return the only one of different texts that is no number, such as ``?``; None where there is none or another.

    A word of letters among a few numbers, such as ``none`` among 1 and 2, is a category, and so are digits of a code.
    """
    words = [text for text in texts if not _NUMBER.match(text.strip())]
    numbers = [text for text in texts if text not in words[:1]]
    if len(words) != 1 or not numbers or are_codes(numbers):
        return None
    is_category = any(map(str.isalnum, words[0])) and len(numbers) <= _FEW and words[0] not in PANDAS_MISSING
    return None if is_category else words[0]


def _is_grouped(texts: Sequence[str]) -> bool:
    """Whether a comma stands before three digits in every text that has one, so that it is no decimal comma."""
    return all(re.search(r",\d{3}\b", text) for text in texts if "," in text)


def _share(form: re.Pattern[str], texts: Sequence[str]) -> float:
    return sum(form.match(text.strip()) is not None for text in texts) / len(texts) if texts else 0.0
