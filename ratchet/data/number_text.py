"""Numbers that are written as text, with a decimal comma or thousands; one rule for a column and for one value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

# From here on, a float64 does not hold every integer, and a whole number is more likely an id.
MOST_DIGITS = 15
_INFINITY = "inf|infinity"
# In the text of a number that is no integer: a point, an exponent, infinity.
_FRACTIONS = (b".", b"e", b"E", b"n", b"N")


@dataclass(frozen=True)
class NumberFormat:
    """The way in which a column's numbers are written.

    Attributes
    ----------
    decimal: the character before the fraction.
    thousands: the character between groups of three digits; None where there is none.
    """

    decimal: str = "."
    thousands: str | None = None

    def parse(self, text: str) -> float | None:
        """Return the number that a text is, which may be infinite; None where it is none."""
        found = text.strip(" \t\n\r\v\f")
        return float(self._plain(found)) if self._compiled.fullmatch(found) else None

    def cast(self, text: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column of text as int64, or as float64 where one value is no integer of 64 bits.

        Raises
        ------
        ValueError: a value is no number.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if self != NumberFormat():
            text = self._plain_column(text)
        try:
            numbers = _cast(text)
        except pa.ArrowInvalid:
            text = pc.replace_substring_regex(pc.ascii_trim_whitespace(text), r"^\+", "")
            numbers = _cast(text)
        if _has_hexadecimal(text, numbers):
            raise ValueError
        return numbers

    def is_number(self, text: pa.Array) -> pa.Array:
        """Return which values are numbers; null for a missing one."""
        import pyarrow.compute as pc

        pattern = f"^(?i:{self._pattern})$"
        return pc.match_substring_regex(pc.ascii_trim_whitespace(text), pattern)

    @property
    def _pattern(self) -> str:
        whole = "[0-9]+"
        if self.thousands is not None:
            whole += f"|[0-9]{{1,3}}(?:{re.escape(self.thousands)}[0-9]{{3}})+"
        point = re.escape(self.decimal)
        return rf"[+-]?(?:(?:(?:{whole})(?:{point}[0-9]*)?|{point}[0-9]+)(?:e[+-]?[0-9]+)?|{_INFINITY})"

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self._pattern, re.IGNORECASE)

    def _plain(self, text: str) -> str:
        if self.thousands is not None:
            text = text.replace(self.thousands, "")
        return text.replace(self.decimal, ".")

    def _plain_column(self, text: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        if not pc.all(self.is_number(text)).as_py():
            raise ValueError
        if self.thousands is not None:
            text = pc.replace_substring(text, self.thousands, "")
        return pc.replace_substring(text, self.decimal, ".")


def is_identifier(text: pa.ChunkedArray, numbers: pa.ChunkedArray) -> bool:
    """Whether a column of numbers has one with a leading zero, or an integer with more digits than ``MOST_DIGITS``.

    As a number it would lose the zero or its last digits.
    """
    import pyarrow.compute as pc

    if any(_has_leading_zero(chunk) for chunk in text.chunks):
        return True
    limit = 10**MOST_DIGITS
    ends = pc.min_max(numbers)
    if ends["max"].as_py() < limit and ends["min"].as_py() > -limit:
        return False
    large = pc.or_(pc.greater_equal(numbers, limit), pc.less_equal(numbers, -limit))
    pattern = rf"^\s*[+-]?[0-9]{{{MOST_DIGITS + 1},}}\s*$"
    return bool(pc.any(pc.match_substring_regex(text.filter(large), pattern)).as_py())


def _cast(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text as int64 or float64; Arrow takes long to fail, so integers are tried where no text has a fraction."""
    import pyarrow as pa

    if not any(mark in bytes(_characters(chunk)) for chunk in text.chunks for mark in _FRACTIONS):
        try:
            return text.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    return text.cast(pa.float64())


def _has_hexadecimal(text: pa.ChunkedArray, numbers: pa.ChunkedArray) -> bool:
    """Whether Arrow has read hexadecimal digits, or the word nan."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(numbers.type):
        return bool(pc.any(pc.is_nan(numbers)).as_py())
    return any(mark in bytes(_characters(chunk)) for chunk in text.chunks for mark in (b"x", b"X"))


def _has_leading_zero(text: pa.Array) -> bool:
    """Whether a value begins with 0 and a digit, after a sign."""
    import pyarrow.compute as pc

    text = text.drop_null()
    data = np.frombuffer(_characters(text), dtype=np.uint8)
    if not len(data):
        return False
    offsets = _offsets(text) - _offsets(text)[0]
    starts, last = offsets[:-1], len(data) - 1
    first = data[np.minimum(starts, last)]
    if (first <= ord(" ")).any():
        return _has_leading_zero(pc.ascii_trim_whitespace(text))
    is_signed = (first == ord("-")) | (first == ord("+"))
    if is_signed.any():
        starts = starts + is_signed
        first = data[np.minimum(starts, last)]
    starts = starts[(first == ord("0")) & (offsets[1:] - starts > 1)]
    second = data[starts + 1]
    return bool(((second >= ord("0")) & (second <= ord("9"))).any())


def _offsets(text: pa.Array) -> npt.NDArray[np.int32]:
    """Return where each value begins in the characters, and the end of the last one."""
    buffer = text.buffers()[1]
    return np.frombuffer(buffer, dtype=np.int32)[text.offset : text.offset + len(text) + 1]


def _characters(text: pa.Array) -> memoryview:
    """Return the characters of all values."""
    buffer = text.buffers()[2]
    if not len(text) or buffer is None:
        return memoryview(b"")
    offsets = _offsets(text)
    return memoryview(buffer)[offsets[0] : offsets[-1]]
