"""The one exception hierarchy: what a person can mend, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class RatchetError(Exception):
    """Something the reader of the message can mend.

    The command line prints the message as one line and exits with status 2; anything that is not a
    ``RatchetError`` is a bug of ours and keeps its traceback.
    """


class ConfigError(RatchetError):
    """A config file, an override or a setting that cannot be used as it is."""


class DataError(RatchetError):
    """A data set that breaks its schema or cannot be read."""


class TrainingError(RatchetError):
    """An estimator that could not be fitted on this data."""


class PackageError(RatchetError):
    """A model package that is damaged, untrusted, or does not do what it did when it was made."""


class RegistryError(RatchetError):
    """The model registry is unreachable or in a state that has to be looked at first."""


class StateError(RatchetError):
    """Ratchet's own home cannot be used: read-only, or in use by somebody else."""


class UnavailableError(RatchetError):
    """Something that an answer needs is not there just now; asking again later may succeed."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what a client sent: the field, and what is wrong with it."""

    field: str
    message: str


class InputError(RatchetError):
    """What a client sent is not what the model takes.

    Parameters
    ----------
    problems: one for each field that is wrong.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in self.problems))


def explain(problem: ErrorDetails, keys: Sequence[str]) -> str:
    """Return one problem of a pydantic ``ValidationError`` in one line: the key, the value, and what was expected.

    Parameters
    ----------
    problem: an item of ``ValidationError.errors()``.
    keys: the keys that lead to the value, outermost first; without the key that is missing or unknown.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "unknown_key":  # from ratchet.config.section
        return f"unknown key {'.'.join([*keys, context['key']])!r}{nearest(context['key'], context['known'])}"
    if kind == "missing":
        return f"the key {'.'.join([*keys, str(problem['loc'][-1])])!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return ": ".join([*([".".join(keys)] if keys else []), message])
    return f"{'.'.join(keys) or '(top level)'}: got {problem['input']!r}: {message[0].lower()}{message[1:]}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The hint ``; did you mean 'x'?`` for a mistyped word, or the list of what there is.

    Parameters
    ----------
    word: what was written.
    known: the words that would have been right.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are: {', '.join(names)}" if names else ""


def one_line(error: object) -> str:
    """Return the text of an error in one line, or the name of its class where it has no text.

    A `RatchetError` is shown whole. Of other errors the first line is taken: libraries add explanations, SQL and links
    on further lines. An error of SQLAlchemy is replaced by the driver's own.
    """
    text = str(getattr(error, "orig", None) or error)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines) if isinstance(error, RatchetError) else lines[0]
