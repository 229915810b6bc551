from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.config.files import load_config
from ratchet.config.plain_yaml import MOST_BYTES, read_yaml, write_yaml
from ratchet.errors import ConfigError
from tests.conftest import ROOT

BASELINE = ROOT / "configs" / "baseline.yaml"


def bomb(of_a_level: str) -> str:
    """Nine levels, each with nine aliases of the one before."""
    lines = ["a: &a {k: x}"]
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        aliases = ",".join([f"*{before}"] * 9)
        lines.append(f"{name}: &{name} {of_a_level.format(aliases)}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BASELINE.read_text().encode("utf-16-le"), "line 1: the character U+0000 is not allowed in YAML"),
        (BASELINE.read_text().encode("utf-16"), "save the file as UTF-8 text"),
        (b"seed: 1\nmodel: a\x07b\n", "line 2: the character U+0007 is not allowed in YAML: save the file as UTF-8"),
        (b"#" * (MOST_BYTES + 1), "has 1,048,577 bytes, expected a config of at most 1,048,576"),
    ],
)
def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_merge_keys_are_supported_nested_and_in_lists() -> None:
    text = """
    base: &base {C: 1, deep: {x: 1}}
    more: &more {tol: 2, C: 7}
    one: {<<: *base, C: 3}
    list: {<<: [*base, *more], max_iter: 1}
    nested: {<<: {<<: *more, C: 8}}
    """
    found = read_yaml(text, "here")
    assert found["one"] == {"C": 3, "deep": {"x": 1}}
    assert found["list"] == {"C": 1, "deep": {"x": 1}, "tol": 2, "max_iter": 1}
    assert found["nested"] == {"tol": 2, "C": 8}


def test_an_override_changes_one_place_of_a_repeated_value(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    text = BASELINE.read_text().replace("params: {C: 1.0, max_iter: 500}", "params: {a: &same {x: 1}, b: *same}")
    path.write_text(text)
    assert load_config(path, ["train.params.b.x=2"]).train.params == {"a": {"x": 1}, "b": {"x": 2}}


def test_an_override_of_thousands_of_keys_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^--set train\.params\.a\.a.{0,80}: expected key\.key=value"):
        load_config(BASELINE, [f"train.params{'.a' * 5000}=1"])


def test_an_override_finds_a_key_that_is_a_number() -> None:
    config = load_config(BASELINE, ["train.params.class_weight={0: 1, 1: 5}", "train.params.class_weight.1=2"])
    assert config.train.params["class_weight"] == {0: 1, 1: 2}


@pytest.mark.parametrize("level", ["[{}]", "{{<<: [{}]}}", "{{x: [{}]}}"])
def test_aliases_that_expand_to_millions_of_values_are_refused_before_they_do(level: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb(level))
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from ratchet.config.files import load_config\n"
        "from ratchet.errors import ConfigError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_config(Path(sys.argv[1]))\n"
        "except ConfigError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)),
    )
    message, grown = run.stdout.splitlines()
    assert "more than 100,000 values" in message
    assert int(grown) < 20_000, "kilobytes"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: " + "[" * 5000 + "]" * 5000,
        "a: " + "{a: " * 500 + "}" * 500,
        "a: " + "9" * 5000,
        "a: !!binary aGk=",
        "a: !!set {x}",
        "a: !!timestamp 2020-01-01",
        "a: !!python/object/apply:os.getcwd []",
        "a: !!int x",
        "a: !!int ''",
        "a: !!float x",
        "a: !!bool x",
        "a: !<x> y",
        "a: \tb\n\tc: d",
        "? [1]\n: 2",
        "x: 1\n---\ny: 2",
        "a: 1\na: 2",
        "1: a\ntrue: b",
        "<<: {a: 1}\n<<: {b: 2}",
        "<<: 1",
        "<<: [1]",
        "%YAML 9.9\n---\na: 1",
        "a: *nope",
        'a: "\\0"',
        'a: "\\ud800"',
        "a: 0b_",
        "'",
        "a: |\n  x\n y",
    ],
)
def test_what_is_not_plain_yaml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^here, line \d+: ") as caught:
        read_yaml(text, "here")
    assert "\n" not in str(caught.value)


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from("ab01 \t\n\r:-?[]{},&*!|>'\"%@`#<=.+_~\\\0\x07\x85é"), max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        read_yaml(text, "here")
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=8)
    | st.sampled_from(
        ["1e-3", "2026-01-31", "yes", "No", "1", "1.0", "~", "", "0x1", "12:30", "<<", "=", "1_0", "\x85"]
    )
)
KEYS = st.text(max_size=4, alphabet="abc01.e-~ ") | st.integers() | st.booleans() | st.floats(allow_nan=False)


def values() -> st.SearchStrategy[Any]:
    """Plain values, nested."""
    return st.recursive(
        SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=3), max_leaves=12
    )


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, with the same types, also of keys."""
    return repr(one) == repr(other)


@settings(max_examples=300)
@given(values())
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    text = write_yaml({"value": value})
    assert same(read_yaml(text, "here"), {"value": value})
    assert same(read_yaml(write_yaml({"value": value}, compact=True), "here"), {"value": value})
    if "e" not in text:  # PyYAML itself reads 1e22 as text
        assert same(yaml.safe_load(text), {"value": value}), "as earlier releases read it"
