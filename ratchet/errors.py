"""The one exception hierarchy: what a person can mend, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
