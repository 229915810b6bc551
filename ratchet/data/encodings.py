"""Detection of a text encoding other than the one that a config names."""

from __future__ import annotations

import codecs
import re

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# These decode any bytes, so decoding does not show that the text has another encoding.
_ONE_BYTE = frozenset({"latin-1", "iso8859-1", "iso8859-15", "cp1252", "cp437", "cp850"})
# The share of zero bytes among the first ones from which a text is UTF-16, whose ASCII has one in each two bytes.
_ZEROS, _HEAD = 0.25, 1000


def other_encoding(content: bytes, named: str) -> str | None:
    """Return the encoding that a whole file appears to have, where it is not the one that the config names.

    UTF-8 is recognised by its byte order mark, or by letters beyond ASCII that are all valid UTF-8; UTF-16 by its mark,
    or by many zero bytes.

    Returns
    -------
    A value for ``dataset.encoding``; None where the named encoding decodes the text or no other does.

    Raises
    ------
    LookupError: there is no text encoding of that name.
    """
    codec = codecs.lookup(named).name
    " ".encode(named)  # raises LookupError for codecs of bytes, such as hex
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if marked is not None:
        return None if codec.startswith(marked) else marked
    head = content[:_HEAD]
    if head.count(b"\0") > _ZEROS * len(head) and not codec.startswith(("utf-16", "utf-32")):
        return "utf-16-le" if content[:1] != b"\0" else "utf-16-be"
    is_utf8 = not content.isascii() and _decodes(content, "utf-8")
    if _decodes(content, codec) and not (codec in _ONE_BYTE and is_utf8):
        return None
    # Windows has letters where ISO 8859-1 has control characters.
    one_byte = "cp1252" if re.search(rb"[\x80-\x9f]", content) else "latin-1"
    return next((name for name in ("utf-8", one_byte) if name != codec and _decodes(content, name)), None)


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeError:
        return False
    return True
