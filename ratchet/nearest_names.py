"""The hint at the end of a message on an unknown name: the nearest valid names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# So few names are listed; of more, the two nearest are.
_FEW = 3
# The similarity from which a name is taken for a misspelling of another, from 0 to 1.
_CLOSE = 0.6


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return the hint that ends a message on an unknown name; empty without choices.

    Parameters
    ----------
    name: what was given; upper and lower case are equal here. It is empty where a name is missing.
    choices: the valid names.

    Returns
    -------
    ``; did you mean 'x' or 'y'?`` if at most two names are similar, else ``; known are: …`` with all of at most three
    names, else ``; the nearest of 40 are 'x' and 'y'``.
    """
    names = sorted(set(choices))
    ranked = sorted(names, key=lambda choice: -_similarity(name, choice))
    close = [repr(choice) for choice in ranked[:2] if _similarity(name, choice) >= _CLOSE]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if len(names) <= _FEW:
        return f"; known are: {', '.join(names)}" if names else ""
    listed = " and ".join(map(repr, ranked[:2]))
    return f"; the nearest of {len(names)} are {listed}" if name else f"; there are {len(names)}, such as {listed}"


def _similarity(name: str, choice: str) -> float:
    if name.isdecimal() and choice.isdecimal():  # versions: 9 is nearer to 10 than to 1
        return 1 / (1 + abs(int(name) - int(choice)))
    return difflib.SequenceMatcher(None, choice.casefold(), name.casefold()).ratio()
