"""Texts that a report names, however they are quoted."""

from __future__ import annotations

import json

import pytest

from ratchet.loop.forget.mentions import mentions

NAMES = ["Zzyzx", "O'Hara", 'the "Rye"', "日本", "back\\slash", "two\nlines", "a, b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_found_in_json_in_json_in_a_page_and_in_a_note(name: str) -> None:
    content = json.dumps({"counts": {name: 1}})
    assert mentions(content, [name])
    assert mentions(json.dumps({"notes": [f"town: 2 rows never seen ({name!r})"]}), [name])
    assert mentions(f"<script>let page = {json.dumps(content)};</script>", [name])
    assert mentions(json.dumps({"values": [name]}, ensure_ascii=False), [name])


def test_a_field_of_csv_is_found() -> None:
    assert mentions("town,rows\nZzyzx,3\n", ["Zzyzx"])


@pytest.mark.parametrize("content", ["", "Zzyzx", json.dumps({"town": "Zzyzx-2"}), "in Zzyzx, town"])
def test_a_part_of_a_text_or_of_a_sentence_is_none(content: str) -> None:
    assert not mentions(content + " ", ["Zzyz"])
    assert not mentions(content, [])
