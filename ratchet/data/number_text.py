"""Numbers that are written as text, with a decimal comma or thousands; one rule for a column and for one value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

# From here on, a float64 does not hold every integer, and a whole number is more likely an id.
MOST_DIGITS = 15
_INFINITY = "inf|infinity"


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

    text = pc.ascii_trim_whitespace(text)
    if any(_has_leading_zero(chunk) for chunk in text.chunks):
        return True
    limit = 10**MOST_DIGITS
    large = pc.or_(pc.greater_equal(numbers, limit), pc.less_equal(numbers, -limit))
    if not pc.any(large).as_py():
        return False
    pattern = rf"^[+-]?[0-9]{{{MOST_DIGITS + 1},}}$"
    return bool(pc.any(pc.match_substring_regex(text.filter(large), pattern)).as_py())


def _cast(text: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return text.cast(pa.int64())
    except pa.ArrowInvalid:
        return text.cast(pa.float64())


def _has_hexadecimal(text: pa.ChunkedArray, numbers: pa.ChunkedArray) -> bool:
    """Whether Arrow has read hexadecimal digits, or the word nan."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(numbers.type):
        return bool(pc.any(pc.is_nan(numbers)).as_py())
    if not any(_has_leading_zero(chunk, "xX") for chunk in text.chunks):
        return False
    return bool(pc.any(pc.match_substring_regex(text, "^[+-]?0x", ignore_case=True)).as_py())


def _has_leading_zero(text: pa.Array, followers: str = "0123456789") -> bool:
    """Whether a value begins with 0 and one of the characters, after a sign; reads Arrow's buffers."""
    text = text.drop_null()
    if not len(text):
        return False
    _, offsets_buffer, data_buffer = text.buffers()
    if data_buffer is None or data_buffer.size == 0:
        return False
    offsets = np.frombuffer(offsets_buffer, dtype=_offset_type(text))[text.offset : text.offset + len(text) + 1]
    data = np.append(np.frombuffer(data_buffer, dtype=np.uint8), np.zeros(2, dtype=np.uint8))
    starts, ends = offsets[:-1], offsets[1:]
    signed = np.isin(data[starts], np.frombuffer(b"+-", dtype=np.uint8))
    starts = starts + signed
    zero = (data[starts] == ord("0")) & (ends - starts > 1)
    return bool(np.isin(data[starts[zero] + 1], np.frombuffer(followers.encode(), dtype=np.uint8)).any())


def _offset_type(text: pa.Array) -> type[np.signedinteger]:
    import pyarrow as pa

    return np.int64 if pa.types.is_large_string(text.type) else np.int32
