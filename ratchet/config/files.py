"""Config files: found by name, read as strict YAML, overridden, and validated by the model of their ``pipeline``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from ratchet.config import TrainingConfig
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.reporting import ReportingConfig
from ratchet.config.simulation import SimulationConfig
from ratchet.config.tuning import TuningConfig
from ratchet.errors import ConfigError, explain, nearest

Config = TrainingConfig | ContinuousTrainingConfig | TuningConfig | ReportingConfig | SimulationConfig
# The values of ``pipeline``; training is the default.
PIPELINES: dict[str, type[Config]] = {
    "training": TrainingConfig,
    "continuous_training": ContinuousTrainingConfig,
    "tuning": TuningConfig,
    "reporting": ReportingConfig,
    "simulation": SimulationConfig,
}


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a repeated key, and reads ``1e-3`` as a number and a date as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def find_config(name: str, root: Path) -> Path:
    """Return the file of a config: a path, or a name in ``configs/``, each with or without ``.yaml``.

    Raises
    ------
    ConfigError: there is no such file; suggests the nearest name.
    """
    folder = root / "configs"
    names = (name, f"{name}.yaml")
    for candidate in [*map(Path, names), *(folder / one for one in names)]:
        if candidate.is_file():
            return candidate
    known = [path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")]
    raise ConfigError(f"no config file {name!r}, neither here nor in configs/{nearest(name, known)}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Any:
    """Read and validate a config file, with each override ``a.b=value`` set; the value is read as YAML.

    Raises
    ------
    ConfigError: the file cannot be read, is not a mapping, or has an invalid key; or an override has no ``=``, or a key
        of it belongs to a value that is not a mapping. The message names file and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    data = _parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(data).__name__}")
    for override in overrides:
        _set(data, override)
    return parse_config(data, str(path))


def parse_config(data: Mapping[str, Any], where: str = "config") -> Any:
    """Validate a mapping as a config.

    Raises
    ------
    ConfigError: one line with every invalid key and what was expected.
    """
    kind = data.get("pipeline", "training")
    if kind not in PIPELINES:
        raise ConfigError(f"{where}: unknown pipeline {kind!r}{nearest(str(kind), PIPELINES)}")
    try:
        return PIPELINES[kind].model_validate(data)
    except ValidationError as error:
        problems = [explain(problem, _keys(problem["loc"], data)) for problem in error.errors()]
        raise ConfigError(f"{where}: {'; '.join(problems)}") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of all configs, with ``pipeline`` as the discriminator; training is the default."""
    schema = TypeAdapter(Annotated[Config, Field(discriminator="pipeline")]).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Config", **schema}


def _set(node: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not all([*parents, last]):
        raise ConfigError(f"--set {override}: expected key.key=value, such as train.params.C=0.1")
    for key in parents:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {override}: {key!r} is a value and has no keys")
    node[last] = _parse_yaml(text, f"--set {override}")


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML: {error.problem}") from None


def _keys(location: Sequence[int | str], data: Any) -> list[str]:
    """Return the keys that lead to a problem: pydantic's location without the kinds of sections, as ``csv``."""
    keys: list[str] = []
    for part in location:
        in_mapping = isinstance(data, Mapping) and part in data
        if in_mapping or (isinstance(data, list | tuple) and isinstance(part, int)):
            data = data[part]
            keys.append(str(part))
    return keys
