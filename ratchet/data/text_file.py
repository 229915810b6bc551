"""A text file as a stream of UTF-8."""

from __future__ import annotations

import codecs
import io
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ratchet.data.encodings import other_encoding
from ratchet.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of a file that are searched at once.
_BLOCK = 1 << 20


class TextFile:
    """A text file in some encoding; only UTF-8 is not held in memory.

    Attributes
    ----------
    path: of the file.
    encoding: a name of Python's codecs.
    most: take the lines in the first bytes alone, so many of them; None takes all.
    quotes: whether a line may end inside quotation marks and go on.
    """

    def __init__(self, path: Path, encoding: str, most: int | None = None, *, quotes: bool = True) -> None:
        self.path, self.encoding, self.most, self.quotes = path, encoding, most, quotes

    def open(self) -> BinaryIO:
        """Return the content in UTF-8, without a byte order mark.

        Raises
        ------
        DataError: the file cannot be read, or is not in its encoding. UTF-8 is checked by ``refuse_encoding``.
        """
        if not self._is_utf8:
            return io.BytesIO(self._transcoded)
        stream = self.path.open("rb")
        if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            stream.seek(0)
        return stream

    def open_for_arrow(self) -> pa.NativeFile:
        """Return the content in UTF-8, perhaps after a byte order mark, as a stream without Python code.

        Arrow reads ahead in a thread. If that thread were to call Python while the interpreter ends, after Ctrl-C or an
        error, the process would abort.

        Raises
        ------
        DataError: as for ``open``.
        """
        import pyarrow as pa

        return pa.OSFile(os.fsencode(self.path)) if self._is_utf8 else pa.BufferReader(self._transcoded)

    def refuse_encoding(self) -> None:
        """Check that the whole content has the encoding.

        Raises
        ------
        DataError: it has another one, which the message names, or it has a null character.
        """
        try:
            content = self._content()
            other = other_encoding(content, self.encoding)
            if other is None:
                self._refuse_null(content.decode(self.encoding))
                return
        except (UnicodeError, LookupError) as error:
            raise DataError(f"{self.path}: not readable as {self.encoding} ({error}): set dataset.encoding") from None
        raise DataError(f"{self.path}: not readable as {self.encoding}, probably {other}: set dataset.encoding")

    def _refuse_null(self, text: str) -> None:
        place = text.find("\0")
        if place >= 0:
            line = text.count("\n", 0, place) + 1
            raise DataError(f"{self.path}: expected text, got the control character '\\x00' in line {line}: remove it")

    @cached_property
    def _is_utf8(self) -> bool:
        """Whether the config names UTF-8, and the content has neither the mark of UTF-16 nor a zero byte."""
        try:
            with self.path.open("rb") as stream:
                if codecs.lookup(self.encoding).name not in ("utf-8", "utf-8-sig") or self.most is not None:
                    return False
                if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                    return False
                stream.seek(0)
                return not any(b"\0" in block for block in iter(lambda: stream.read(_BLOCK), b""))
        except OSError as error:
            raise DataError(f"dataset.path {self.path}: {error.strerror}") from None
        except LookupError:
            return False

    @cached_property
    def _transcoded(self) -> bytes:
        self.refuse_encoding()
        return self._content().decode(self.encoding).encode().removeprefix(codecs.BOM_UTF8)

    def _content(self) -> bytes:
        """Return the bytes; of the first lines, up to one that ends outside quotation marks.

        A file in UTF-16 or UTF-32, where a byte of a line's end can be part of a letter, is read whole.
        """
        most = self.most
        if most is None or codecs.lookup(self.encoding).name.startswith(("utf-16", "utf-32")):
            return self.path.read_bytes()
        with self.path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) <= most:
            return content
        end = content.rfind(b"\n", 0, most)
        while self.quotes and end >= 0 and content.count(b'"', 0, end) % 2:
            end = content.rfind(b"\n", 0, end)
        return content[: end + 1] or self.path.read_bytes()
