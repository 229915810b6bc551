"""The values of one column: the text of a file, the values of a typed source, and JSON, read by one rule.

The rule comes from the config when a model is trained, and from the schema in its package afterwards, so that the text
that trained a model gives the same value in a request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from ratchet.config import BaseDataset, Column
from ratchet.data.columns import as_texts, as_time_text, row_number
from ratchet.data.number_text import NumberFormat, is_identifier
from ratchet.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

# The words that pandas.read_csv takes for a missing value.
PANDAS_MISSING = (
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
# A column of text in which more than this share are numbers is a column of numbers with errors.
_MOSTLY_NUMBERS = 0.5
# The first values, which show that a column is text without the time that Arrow takes to fail.
_SAMPLE = 10
_TRUTH = {"true": True, "false": False}
_ANY = Column()


class JsonNumber(str):
    """A number of a JSON text, as it is written there."""

    __slots__ = ()


def rule_of(config: BaseDataset, column: str) -> Column:
    """Return the whole rule of a column: its own, else that of the data set, with the type ``time`` for the time.

    A feature with bounds is a number, and one with allowed categories is a category. A lag has the rule of its
    column, unless it has its own.
    """
    lagged, _ = config.window.lag_columns.get(column, ("", 0)) if config.window else ("", 0)
    rule = config.columns.get(column) or config.columns.get(lagged) or Column()
    own = {name: value for name in ("missing", "decimal", "thousands") if (value := getattr(rule, name)) is not None}
    common = {"missing": config.missing, "decimal": config.decimal, "thousands": config.thousands}
    kind = "time" if column == config.time else rule.type
    if kind is None and column != config.target:
        has_bounds = (rule.minimum, rule.maximum) != (None, None)
        kind = "number" if has_bounds else None if rule.categories is None else "category"
    return rule.model_copy(update=common | own | {"type": kind})


@dataclass(frozen=True)
class ColumnReader:
    """Read the values of one column.

    Attributes
    ----------
    name: of the column.
    rule: type, missing words and format of numbers; an open type is inferred.
    boolean: whether the column has True and False, which are 1 and 0.
    categories: the known categories.
    """

    name: str
    rule: Column = _ANY
    boolean: bool = False
    categories: tuple[str, ...] = ()

    def from_text(self, text: pa.ChunkedArray, *, strict: bool = True) -> pa.ChunkedArray:
        """Return fields of a file, null where empty, in the column's type.

        Categories, texts and times stay text. A column of an open type is int64, float64 or boolean where each value
        reads as one, else text; numbers that would lose a leading zero or digits stay text.

        Parameters
        ----------
        strict: whether a few values that are no numbers, among numbers, are errors; else the column is text.

        Raises
        ------
        DataError: a value is no number.
        """
        import pyarrow as pa

        text = self._without_missing(text)
        if self.rule.type in ("category", "text", "time"):
            return text
        if text.null_count == len(text):
            return text.cast(pa.float64())
        if self.rule.type == "number":
            return self._numbers(text)
        return self._inferred(text, strict=strict)

    def from_values(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Return values of a typed source as the model takes them: float64, or text in an object column.

        A column of text stays text, unless it is declared a number. The index is the position of a row in the data set.

        Raises
        ------
        DataError: the column, what was expected, and an example row.
        """
        values = self.known(values)
        if self.rule.type == "time":
            return as_time_text(values)
        if self.rule.type in ("text", "category"):
            return values
        if pd.api.types.is_numeric_dtype(values):
            return self._finite(values.astype("float64"))
        kind = pd.api.types.infer_dtype(values, skipna=True)
        if self.rule.type is None and kind not in ("empty", "boolean", "decimal", "integer", "floating", "mixed",
                                                   "mixed-integer", "mixed-integer-float"):  # fmt: skip
            return as_texts(values)
        return self._as_numbers(values)

    def known(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Replace the missing words and numbers of a column by a missing value; categories and texts become text."""
        if self.rule.type in ("text", "category"):
            values = as_texts(values)
        if pd.api.types.is_numeric_dtype(values):
            numbers = self.missing_numbers if self.rule.type != "time" else frozenset()
            return values.mask(values.isin(list(numbers))) if numbers else values
        if isinstance(values.dtype, pd.CategoricalDtype):
            return values.cat.remove_categories([text for text in values.cat.categories if text in self.missing_words])
        if isinstance(values.dtype, pd.StringDtype) or values.dtype == object:
            return values.mask(values.isin(list(self.missing_words)), np.nan)
        return values

    def numbers(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Return numbers, or text in the column's format, as float64; NaN where a value is missing or no number."""
        if pd.api.types.is_numeric_dtype(values):
            return values.astype("float64")
        is_text = values.map(lambda value: isinstance(value, str)).to_numpy(dtype=bool)
        numbers = pd.to_numeric(values.mask(is_text), errors="coerce").astype("float64")
        parsed = [self._format.parse(text) for text in values[is_text]]
        numbers[is_text] = np.array([np.nan if number is None else number for number in parsed], dtype=np.float64)
        return numbers

    def from_json(self, value: Any) -> float | str | None:
        """Return a value of a JSON text, whose numbers are ``JsonNumber``, as a record has it; None where missing.

        Raises
        ------
        ValueError: the value does not fit the column; the message has a hint, or is empty.
        """
        if value is None or (isinstance(value, str) and value in self.missing_words):
            return None
        if self.rule.type == "number":
            return self._number_from_json(value)
        if isinstance(value, str) and not isinstance(value, JsonNumber):
            return self._time(value) if self.rule.type == "time" else value
        if self.rule.type == "category" and isinstance(value, JsonNumber | bool):
            return category_of(value, self._candidates)
        raise ValueError

    @cached_property
    def missing_words(self) -> frozenset[str]:
        """The texts of a missing value; none for text in packages from before the rule, whose empty text is a text."""
        if self.rule.missing is None and self.rule.type in ("category", "text", "time"):
            return frozenset()
        words = PANDAS_MISSING if self.rule.missing == "pandas" else self.rule.missing or ()
        return frozenset(("", *words))

    @cached_property
    def missing_numbers(self) -> frozenset[float]:
        """The numbers that stand for a missing value, such as -999."""
        found = {self._format.parse(word) for word in self.missing_words}
        return frozenset(number for number in found if number is not None and np.isfinite(number))

    @cached_property
    def _format(self) -> NumberFormat:
        return NumberFormat(self.rule.decimal or ".", self.rule.thousands)

    @cached_property
    def _candidates(self) -> Candidates:
        return Candidates(self.rule.categories or self.categories)

    def _without_missing(self, text: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.missing_words - {""}:
            return text
        is_missing = pc.is_in(text, pa.array(sorted(self.missing_words)))
        return pc.if_else(is_missing, pa.scalar(None, text.type), text)

    def _numbers(self, text: pa.ChunkedArray) -> pa.ChunkedArray:
        truth = _as_truth(text)
        if truth is not None:
            return truth
        try:
            return self._without_missing_numbers(self._format.cast(text))
        except ValueError:
            self._refuse(text.to_pandas())

    def _without_missing_numbers(self, numbers: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.missing_numbers:
            return numbers
        is_missing = pc.is_in(numbers.cast(pa.float64()), pa.array(sorted(self.missing_numbers)))
        return pc.if_else(is_missing, pa.scalar(None, numbers.type), numbers)

    def _inferred(self, text: pa.ChunkedArray, *, strict: bool) -> pa.ChunkedArray:
        truth = _as_truth(text)
        if truth is not None:
            return truth
        if all(self._format.parse(value) is not None for value in text[:_SAMPLE].drop_null().to_pylist()):
            try:
                numbers = self._format.cast(text)
            except ValueError:
                pass
            else:
                return text if is_identifier(text, numbers) else self._without_missing_numbers(numbers)
        if strict and self._is_mostly_numbers(text):
            self._refuse(text.to_pandas())
        return text

    def _is_mostly_numbers(self, text: pa.ChunkedArray) -> bool:
        """Whether more than half of the values are plain numbers, so that the others are probably errors."""
        import pyarrow as pa
        import pyarrow.compute as pc

        counts = text.drop_null().value_counts()
        values, weights = pa.chunked_array([counts.field(0)]), counts.field(1)
        numbers = values.filter(self._format.is_number(values))
        if not len(numbers) or is_identifier(numbers, self._format.cast(numbers)):
            return False
        share = pc.sum(weights.filter(pc.is_in(counts.field(0), numbers.combine_chunks()))).as_py()
        return bool(share > _MOSTLY_NUMBERS * pc.sum(weights).as_py())

    def _as_numbers(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Return text, or Python's numbers, as float64."""
        numbers = self.numbers(values)
        if (numbers.isna() & values.notna()).any():
            if self.rule.type is None and not numbers[values.notna()].notna().mean() > _MOSTLY_NUMBERS:
                return as_texts(values)
            self._refuse(values, numbers.isna() & values.notna())
        return self._finite(numbers.mask(numbers.isin(list(self.missing_numbers))))

    def _refuse(self, values: pd.Series[Any], wrong: pd.Series[bool] | None = None) -> NoReturn:
        if wrong is None:
            parsed = values.map(lambda text: self._format.parse(text) is None, na_action="ignore")
            wrong = parsed.fillna(False).astype(bool)
        examples = values[wrong]
        raise DataError(
            f"column {self.name!r}: expected a number, got {examples.iloc[0]!r} in row {row_number(examples.index[0])}"
            f" ({len(examples)} such); {_advice(examples.iloc[0])}"
        )

    def _finite(self, values: pd.Series[Any]) -> pd.Series[Any]:
        infinite = values.index[np.isinf(values)]
        if len(infinite):
            row = row_number(infinite[0])
            raise DataError(f"column {self.name!r}: expected a finite number, got infinity in row {row}")
        return values

    def _number_from_json(self, value: Any) -> float | None:
        if isinstance(value, JsonNumber):
            number: float | None = float(value)
        elif isinstance(value, bool):
            number = float(value) if self.boolean else None
        elif isinstance(value, str):
            is_word = self.boolean and value.lower() in _TRUTH
            number = float(_TRUTH[value.lower()]) if is_word else self._format.parse(value)
        else:
            number = None
        if number is None:
            raise ValueError("text has to be a number as the training file writes it" if isinstance(value, str) else "")
        return None if number in self.missing_numbers else number

    def _time(self, value: str) -> str:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
        try:
            return str(as_time_text(pd.Series([value], name=self.name, dtype=object)).iloc[0])
        except DataError:
            raise ValueError from None


def _as_truth(text: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return a column that has only True and False as booleans, in any case of letters; None for another column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = text[pc.index(text.is_valid(), True).as_py()].as_py()
    if first.lower() not in _TRUTH:
        return None
    lowered = pc.utf8_lower(text)
    known = pc.is_in(lowered, pa.array(["true", "false", None]))
    return pc.equal(lowered, "true") if pc.all(known).as_py() else None


def _advice(example: Any) -> str:
    if example in PANDAS_MISSING:
        return f"if it stands for a missing value, set dataset.missing to [{example}]"
    if isinstance(example, str) and "," in example:
        return "correct it, set dataset.decimal or dataset.thousands, or declare the column as type: category"
    return (
        "correct it, add it to dataset.missing if it stands for a missing value,"
        " or declare the column as type: category"
    )


class Candidates:
    """The texts that a JSON number, true or false may stand for.

    Parameters
    ----------
    texts: categories or labels.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.example = texts[0] if texts else ""
        self._by_number: Mapping[Decimal, list[str]] = defaultdict(list)
        self._by_truth: Mapping[str, list[str]] = defaultdict(list)
        for text in texts:
            self._by_truth[text.lower()].append(text)
            if (number := _decimal(text)) is not None:
                self._by_number[number].append(text)

    def find(self, value: JsonNumber | bool) -> list[str]:
        """Return the texts that have the value of a JSON number, true or false."""
        if isinstance(value, bool):
            return self._by_truth.get(str(value).lower(), [])
        number = _decimal(value)
        return [] if number is None else self._by_number.get(number, [])


def category_of(value: JsonNumber | bool, known: Candidates) -> str:
    """Return the known category that a JSON number, true or false stands for.

    It is the only one with that value: 2116 is ``02116``, and 1.0 is ``1``. Where two have it, such as ``1.1`` and
    ``1.10``, a number stands for one of them only as no encoder would write it: 1.10, and not 1.1.

    Raises
    ------
    ValueError: there is none, or more than one.
    """
    found = known.find(value)
    if len(found) == 1:
        return found[0]
    if isinstance(value, JsonNumber) and value in found and value not in (repr(float(value)), _whole(value)):
        return str(value)
    if found:
        raise ValueError(f"it may be {' or '.join(map(repr, found[:3]))}: send the text in quotation marks")
    example = f', such as "{known.example}"' if known.example else ""
    raise ValueError(f"no known category has this value: send its text in quotation marks{example}")


def _whole(number: str) -> str:
    return str(int(number)) if number.lstrip("-").isdigit() else ""


def _decimal(text: str) -> Decimal | None:
    if not text.isascii() or "_" in text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
