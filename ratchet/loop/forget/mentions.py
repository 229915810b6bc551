"""The quoted texts of a file: reports name categories, in JSON, in HTML with JSON in it, and in sentences."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection

_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'")
# JSON in a text of JSON in a page.
_DEEPEST = 3


def mentions(content: str, texts: Collection[str]) -> bool:
    """Return whether a content has one of some texts in quotation marks, or as a field of CSV."""
    wanted = frozenset(texts)
    return bool(wanted) and not wanted.isdisjoint(_quoted(content))


def _quoted(content: str, depth: int = 0) -> set[str]:
    found = {field for line in content.splitlines() for field in line.split(",")} if depth == 0 else set()
    for token in _DOUBLE.findall(content):
        text = _decoded(token)
        found |= {token, text}
        if depth < _DEEPEST and ('"' in text or "'" in text):
            found |= _quoted(text, depth + 1)
    return found | {_evaluated(token) for token in _SINGLE.findall(content)}


def _evaluated(token: str) -> str:
    try:
        return str(ast.literal_eval(f"'{token}'"))
    except (ValueError, SyntaxError):
        return token


def _decoded(token: str) -> str:
    try:
        return str(json.loads(f'"{token}"'))
    except ValueError:
        return token
