"""Config files: found, read as strict YAML, overridden, and validated as the config that their ``pipeline`` names."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ratchet.config import TrainingConfig
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.reporting import ReportingConfig
from ratchet.config.simulation import SimulationConfig
from ratchet.config.tuning import TuningConfig
from ratchet.errors import ConfigError, nearest

Config = TrainingConfig | ContinuousTrainingConfig | TuningConfig | ReportingConfig | SimulationConfig
# What ``pipeline`` may be; a config without it is one of training.
PIPELINES: dict[str, type[Config]] = {
    "training": TrainingConfig,
    "continuous_training": ContinuousTrainingConfig,
    "tuning": TuningConfig,
    "reporting": ReportingConfig,
    "simulation": SimulationConfig,
}
# The keys that say which kind of section it is.
_DISCRIMINATORS = ("source", "kind", "type")


class _StrictLoader(yaml.SafeLoader):
    """YAML with two traps closed: a key given twice, and ``1e-3`` read as text."""

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


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader of our own
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML: {error.problem}") from None


def find_config(name: str, root: Path) -> Path:
    """The file a config name stands for: the path itself, else the name in ``configs/``.

    Parameters
    ----------
    name: a path, or a bare file name with or without ``.yaml``.
    root: the project folder, which holds ``configs/``.

    Raises
    ------
    ConfigError: there is no such file; names the nearest there is.
    """
    folder = root / "configs"
    names = (name, f"{name}.yaml")
    for candidate in [*(Path(n) for n in names), *(folder / n for n in names)]:
        if candidate.is_file():
            return candidate
    known = [path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")]
    raise ConfigError(f"no config file {name!r}, neither here nor in configs/{nearest(name, known)}")


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``data`` with each ``a.b=value`` set; the value is read as YAML.

    Raises
    ------
    ConfigError: an override without ``=``, or through a value that has no keys.
    """
    result: dict[str, Any] = json.loads(json.dumps(data, default=str))
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override}: expected key.key=value, such as train.params.C=0.1")
        node = result
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {override}: {key!r} is a value, it has no keys")
        node[keys[-1]] = _parse_yaml(text, f"--set {override}")
    return result


def load_config(path: Path, overrides: Sequence[str] = ()) -> Any:
    """Read and validate a config file.

    Parameters
    ----------
    path: a YAML file.
    overrides: ``a.b=value`` texts, applied in order before validation.

    Returns
    -------
    The config of the class that ``PIPELINES`` has for its ``pipeline``.

    Raises
    ------
    ConfigError: the file cannot be read, is not a mapping, or breaks the schema; the message names file and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    data = _parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(data).__name__}")
    return parse_config(apply_overrides(data, overrides), str(path))


def parse_config(data: Mapping[str, Any], where: str = "config") -> Any:
    """Validate a mapping as a config.

    Raises
    ------
    ConfigError: in one line, every key that is wrong and what was expected there.
    """
    kind = data.get("pipeline", "training")
    if kind not in PIPELINES:
        raise ConfigError(f"{where}: unknown pipeline {kind!r}{nearest(str(kind), PIPELINES)}")
    try:
        return PIPELINES[kind].model_validate(data)
    except ValidationError as error:
        problems = [_explain(dict(problem), PIPELINES[kind]) for problem in error.errors()]
        raise ConfigError(f"{where}: {'; '.join(problems)}") from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of all configs, told apart by their ``pipeline``; one without it is of training."""
    schema = TypeAdapter(Annotated[Config, Field(discriminator="pipeline")]).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Config", **schema}


def _explain(problem: dict[str, Any], model: type[BaseModel]) -> str:
    path, known = _walk(problem["loc"], model)
    key = ".".join(path) or "(top level)"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(path[-1], known)}"
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message if key == "(top level)" else f"{key}: {message}"
    return f"{key}: got {problem['input']!r}: {message[0].lower()}{message[1:]}"


def _walk(loc: Sequence[int | str], model: type[BaseModel]) -> tuple[list[str], list[str]]:
    """A place as it is written in the file, and the keys that are valid beside its last one.

    Parameters
    ----------
    loc: as pydantic tells it, with the kind of a section after the key of the section.
    model: whose annotations are walked.
    """
    path: list[str] = []
    known: list[str] = []
    current: Any = model
    for part in loc:
        if isinstance(current, list):
            current = next((kind for kind in current if _is_of_kind(kind, part)), None)
            continue
        path.append(str(part))
        known = list(current.model_fields) if _is_section(current) else []
        current = _inside(current, part)
    return path, known


def _inside(annotation: Any, part: int | str) -> Any:
    """The annotation of what a key or a position leads to; None where nothing is said of it."""
    if _is_section(annotation):
        field = annotation.model_fields.get(str(part))
        return _unwrap(field.annotation) if field else None
    if get_origin(annotation) in (dict, tuple):
        return _unwrap(get_args(annotation)[get_origin(annotation) is dict])
    return None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_of_kind(annotation: Any, kind: int | str) -> bool:
    fields = annotation.model_fields if _is_section(annotation) else {}
    return any(kind in get_args(fields[key].annotation) for key in _DISCRIMINATORS if key in fields)


def _unwrap(annotation: Any) -> Any:
    """An annotation without what is beside it and without None; a list where several kinds of section may be."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_unwrap(arg) for arg in get_args(annotation) if arg is not type(None)]
        return kinds[0] if len(kinds) == 1 else kinds
    return annotation
