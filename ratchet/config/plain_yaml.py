"""YAML of plain values, read strictly and within limits, and written so that it reads back the same.

Plain values are null, booleans, numbers, text, lists and mappings. ``YAML 1.1 <https://yaml.org/spec/1.1/>``_, with two
differences: ``1e-3`` is a number, and a date is text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ratchet.errors import ConfigError

# Limits that no written config reaches, and that keep a hostile one from using memory: bytes of the file, values with
# each alias counted as often as it is used, and levels of nesting.
MOST_BYTES = 2**20
_MOST_VALUES = 100_000
MOST_LEVELS = 100
# Characters of a line with a compact list or mapping.
_LONGEST_LINE = 110
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_SEPARATORS = re.compile("[\x85\u2028\u2029]")
_EXPONENT = ("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


class _StrictLoader(yaml.SafeLoader):
    """A loader of plain values that refuses repeated keys, cycles, and what exceeds the limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = 0
        self._sizes: dict[int, int] = {}  # values in a node, by its id; the document keeps all nodes alive
        self._levels: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, and measure it before any alias is expanded."""
        is_alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._level += 1
        if self._level > MOST_LEVELS:
            raise _refusal(f"nested more than {MOST_LEVELS} levels deep", mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        if is_alias and id(node) not in self._sizes:
            raise _refusal("an alias within the value that it repeats", mark)
        if node is not None and not is_alias:
            self._measure(node)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, and refuse a repeated key; keys that ``<<`` brings may be repeated."""
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refusal("a key is a list or a mapping, expected text or a number", key_node.start_mark)
            key = "<<" if key_node.tag == _MERGE else self.construct_object(key_node)
            if key in seen:
                raise _refusal(f"the key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Compose a scalar, and refuse escapes of characters that no file can be named or written with."""
        node = super().compose_scalar_node(anchor)
        if _UNUSABLE.search(node.value):
            raise _refusal("an escape of U+0000 or of half a character (U+D800 to U+DFFF)", node.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; a number of more digits than Python converts, or text with another tag, is refused."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, OverflowError):
            raise _refusal(f"{str(node.value)[:40]!r} is not a value of its type", node.start_mark) from None

    def _measure(self, node: yaml.Node) -> None:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
        size = 1 + sum(self._sizes[id(child)] for child in children)
        level = 1 + max((self._levels[id(child)] for child in children), default=0)
        if size > _MOST_VALUES or level > MOST_LEVELS:
            raise _refusal(
                f"more than {_MOST_VALUES:,} values or {MOST_LEVELS} levels, with each alias counted where it is used",
                node.start_mark,
            )
        self._sizes[id(node)], self._levels[id(node)] = size, level


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(*_EXPONENT)
_StrictLoader.yaml_constructors = {
    tag: constructor for tag, constructor in yaml.SafeLoader.yaml_constructors.items() if tag in {*_PLAIN_TAGS, None}
}
for _tag in (_MERGE, "tag:yaml.org,2002:value"):  # << and = as values
    _StrictLoader.yaml_constructors[_tag] = yaml.SafeLoader.construct_yaml_str


class _PlainDumper(yaml.SafeDumper):
    """A dumper that quotes text like ``1e-3``, which the loader reads as a number, and repeats values in full."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return True: each value is written where it is used."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML reads the line separators of Unicode as a space unless they are escaped.
    style = '"' if _SEPARATORS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_PlainDumper.add_implicit_resolver(*_EXPONENT)
_PlainDumper.add_representer(str, _represent_text)


def read_yaml(text: str, where: str) -> Any:
    """Return the plain values of a YAML document; no two parts of the result are the same object.

    Parameters
    ----------
    where: the file or option, for the error.

    Raises
    ------
    ConfigError: it is not valid YAML, has a value that is not plain, or exceeds a limit.
    """
    try:
        return _separated(yaml.load(text, Loader=_StrictLoader))  # noqa: S506 (a SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}, line {line}: the character U+{ord(text[error.position]):04X} is not allowed in YAML:"
            " save the file as UTF-8 text"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_of = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line_of}: not valid YAML: {error.problem or error.context}") from None


def write_yaml(value: Any, *, compact: bool = False) -> str:
    """Return plain values as YAML that ``read_yaml`` reads back the same; the order of keys is kept.

    Parameters
    ----------
    compact: write each list or mapping that has no other in it on one line.
    """
    flow, width = (None, _LONGEST_LINE) if compact else (False, None)
    return yaml.dump(
        value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=width
    )


def _separated(value: Any) -> Any:
    """Copy what aliases share, so that an override changes one place only."""
    if isinstance(value, dict):
        return {key: _separated(part) for key, part in value.items()}
    return [_separated(part) for part in value] if isinstance(value, list) else value


def _refusal(problem: str, mark: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)
