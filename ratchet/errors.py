"""The exception hierarchy: errors that the user can fix, each with a message of one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ratchet.nearest_names import nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class RatchetError(Exception):
    """An error that the reader of the message can fix.

    The command line prints the message and exits with status 2. Any other exception is a bug and keeps its traceback.
    """


class ConfigError(RatchetError):
    """A config file, an override or a setting is invalid."""


class DataError(RatchetError):
    """A data set breaks its schema or cannot be read."""


class TrainingError(RatchetError):
    """An estimator cannot be fitted on the data."""


class PackageError(RatchetError):
    """A model package is damaged, untrusted, or no longer gives its golden predictions."""


class RegistryError(RatchetError):
    """The model registry is unreachable or in a state that needs an operator."""


class StateError(RatchetError):
    """The home cannot be used: it is read-only or locked by another process."""


class RejectedRowError(StateError):
    """The store refuses a row for what is in it, so that another attempt cannot succeed."""


class UnavailableError(RatchetError):
    """A dependency is temporarily unavailable; a later attempt may succeed."""


@dataclass(frozen=True)
class Problem:
    """An invalid field of a request, and the reason."""

    field: str
    message: str


class InputError(RatchetError):
    """A request has invalid fields.

    Parameters
    ----------
    problems: one for each invalid field.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in self.problems))


def explain(problem: ErrorDetails, keys: Sequence[str]) -> str:
    """Return one problem of a pydantic ``ValidationError`` in one line: the key, the value, and what was expected.

    ``keys`` lead to the value, outermost first; a key that is missing or unknown is not one of them.
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
