"""Which encoding the bytes of a text file look like, where they are not in the one that the config names."""

from __future__ import annotations

import codecs
from pathlib import Path

_BLOCK = 1 << 20
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Every byte is a letter to these: they read whatever they are given, and never say that it is something else.
_READ_ANYTHING = frozenset({"latin-1", "iso8859-1", "iso8859-15", "cp1252", "cp437", "cp850"})


def encoding_of(path: Path, named: str) -> str | None:
    """The encoding that a file looks like, if that is not the one it is said to have.

    UTF-8 is told by its byte order mark, or by letters beyond ASCII all of which are sound UTF-8, which text in another
    encoding hardly ever is. UTF-16 is told by its mark, or by zero bytes.

    Parameters
    ----------
    path: a text file.
    named: the encoding that the config names.

    Returns
    -------
    A name for ``dataset.encoding``; None where the file can be read as it is said.

    Raises
    ------
    LookupError: there is no encoding of text of that name.
    OSError: the file cannot be read.
    """
    codec = codecs.lookup(named).name
    " ".encode(named)  # says of rot13, hex and the like that they are no encodings of text
    with path.open("rb") as file:
        start = file.read(_BLOCK)
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if marked is not None:
        return None if codec.startswith(marked) else marked
    if b"\0" in start[:1000] and not codec.startswith(("utf-16", "utf-32")):
        return "utf-16-le" if start[:1] != b"\0" else "utf-16-be"
    if codec in _READ_ANYTHING and not start.isascii() and _reads(path, "utf-8"):
        return "utf-8"
    if _reads(path, named):
        return None
    return next((name for name in ("utf-8", _of_one_byte(path)) if name != codec and _reads(path, name)), None)


def _reads(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _of_one_byte(path: Path) -> str:
    """Windows has letters where ISO 8859-1 has control characters."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if any(0x80 <= byte < 0xA0 for byte in block):
                return "cp1252"
    return "latin-1"
