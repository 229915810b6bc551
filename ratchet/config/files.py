"""Config files: found by name, read as strict YAML, overridden, and validated by the model of their ``pipeline``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from ratchet.config import TrainingConfig
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.plain_yaml import MOST_BYTES, MOST_LEVELS, read_yaml
from ratchet.config.reporting import ReportingConfig
from ratchet.config.simulation import SimulationConfig
from ratchet.config.tuning import TuningConfig
from ratchet.errors import ConfigError, explain
from ratchet.nearest_names import nearest

Config = TrainingConfig | ContinuousTrainingConfig | TuningConfig | ReportingConfig | SimulationConfig
# The values of ``pipeline``; training is the default.
PIPELINES: dict[str, type[Config]] = {
    "training": TrainingConfig,
    "continuous_training": ContinuousTrainingConfig,
    "tuning": TuningConfig,
    "reporting": ReportingConfig,
    "simulation": SimulationConfig,
}
# The config that the name of its folder stands for.
_DEFAULT = "baseline.yaml"


def find_config(name: str, root: Path) -> Path:
    """Return the file of a config: a path, or a name in ``configs/``, each with or without ``.yaml``.

    The name of a folder stands for the baseline in it: ``fraud`` for ``configs/fraud/baseline.yaml``.

    Raises
    ------
    ConfigError: there is no such file; suggests the nearest names.
    """
    folder = root / "configs"
    names = (name, f"{name}.yaml", f"{name}/{_DEFAULT}")
    for candidate in [*map(Path, names), *(folder / one for one in names)]:
        if candidate.is_file():
            return candidate
    raise ConfigError(f"no config file {name!r}, neither here nor in configs/{nearest(name, config_names(root))}")


def config_names(root: Path) -> list[str]:
    """Return the names of the files in ``configs/``, and of a folder in place of the baseline in it."""
    folder = root / "configs"
    return sorted(path.relative_to(folder).as_posix().removesuffix(f"/{_DEFAULT}") for path in folder.rglob("*.yaml"))


def load_config(path: Path, overrides: Sequence[str] = ()) -> Any:
    """Read and validate a config file, with each override ``a.b=value`` set; the value is read as YAML.

    Raises
    ------
    ConfigError: the file cannot be read, is not a mapping, or has an invalid key; or an override has no ``=``, or a key
        of it belongs to a value that is not a mapping. The message names file and key.
    """
    data = read_yaml(_read_text(path), str(path))
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
    if not isinstance(kind, str) or kind not in PIPELINES:
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


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ConfigError(f"{path}: has {size:,} bytes, expected a config of at most {MOST_BYTES:,}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: {error}: save the file as UTF-8 text") from None


def _set(node: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not all([*parents, last]) or len(parents) > MOST_LEVELS:
        raise ConfigError(f"--set {override[:80]}: expected key.key=value, such as train.params.C=0.1")
    for key in parents:
        node = node.setdefault(_present(node, key), {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {override}: {key!r} is a value and has no keys")
    node[_present(node, last)] = read_yaml(text, f"--set {override}")


def _present(node: dict[Any, Any], text: str) -> Any:
    """Return the key with this text, which can be a number, else the text."""
    return next((key for key in node if str(key) == text), text)


def _keys(location: Sequence[int | str], data: Any) -> list[str]:
    """Return the keys that lead to a problem: pydantic's location without the kinds of sections, as ``csv``."""
    keys: list[str] = []
    for part in location:
        in_mapping = isinstance(data, Mapping) and part in data
        if in_mapping or (isinstance(data, list | tuple) and isinstance(part, int)):
            data = data[part]
            keys.append(str(part))
    return keys
