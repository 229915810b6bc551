"""The files of a first config: the baseline with its reasons as comments, two variations, and a data card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ratchet.config import LOSSES
from ratchet.config.files import load_config
from ratchet.config.plain_yaml import write_yaml
from ratchet.errors import ConfigError, StateError
from ratchet.experiments.first_config.data_card import data_card
from ratchet.experiments.first_config.decide import FirstConfig
from ratchet.experiments.first_config.estimators import Recipe

CARD = "data_card.md"
# Comments of one key, such as the reasons of columns that are left out.
_MOST_COMMENTS = 30
_LONGEST = 116


def free_folder(configs: Path, name: str) -> Path:
    """Return the folder of a model's configs.

    Raises
    ------
    ConfigError: it exists, or the name is that of a config file; the message has a name that is free.
    """
    folder, file = configs / name, configs / f"{name}.yaml"
    if not folder.exists() and not file.exists():
        return folder
    others = (f"{name}_{number}" for number in range(2, 10_000))
    free = next(one for one in others if not (configs / one).exists() and not (configs / f"{one}.yaml").exists())
    choose = f"choose another name, such as --name {free}"
    if folder.exists():
        raise ConfigError(f"{configs.name}/{name} exists, and init replaces no file: {choose}, or remove the folder")
    raise ConfigError(f"{configs.name}/{name}.yaml exists, and --config {name} reads that file: {choose}")


def write_files(first: FirstConfig, folder: Path) -> tuple[str, ...]:
    """Write the files into a new folder, all or none; return their names.

    Raises
    ------
    StateError: the folder cannot be written, or exists by now.
    """
    files = {f"{recipe.stem}.yaml": config_text(first, recipe) for recipe in first.recipes}
    files[CARD] = data_card(first)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            partial.chmod(0o755)
            for name, text in files.items():
                (partial / name).write_text(text, encoding="utf-8")
            for recipe in first.recipes:  # what is written is what a run reads
                load_config(partial / f"{recipe.stem}.yaml")
            partial.rename(folder)  # fails if another process has made the folder
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise StateError(f"{folder} cannot be written: {error.strerror or error}") from None
    return tuple(files)


def config_text(first: FirstConfig, recipe: Recipe) -> str:
    """Return a config as YAML, the baseline with the reason of each decision."""
    config = first.config(recipe)
    if recipe is not first.recipes[0]:
        return f"# {recipe.title}; all but the estimator is that of baseline.yaml.\n" + "".join(
            _yaml(key, value) for key, value in config.items()
        )
    lines = [f"# {recipe.title}. Written by run.py init; change what you know better.\n"]
    for key, value in config.items():
        if key == "dataset":
            lines.append("dataset:\n")
            for part, inner in value.items():
                lines += [f"  {line}\n" for line in _comments(first, f"dataset.{part}")]
                lines += [f"  {line}\n" for line in _yaml(part, inner).splitlines()]
            lines += _costs(first)
            continue
        lines += [f"{line}\n" for line in _comments(first, key)]
        lines += [_floor(first)] if key == "evaluate" else []
        lines.append(_yaml(key, value))
    return "".join(lines)


def _yaml(key: str, value: Any) -> str:
    return write_yaml({key: value}, compact=isinstance(value, dict | list))


def _comments(first: FirstConfig, key: str) -> Iterator[str]:
    found = [one for one in first.decisions if one.key == key or one.key.startswith(f"{key}.")]
    several = key in ("dataset.drop", "dataset.columns")
    for one in found[:_MOST_COMMENTS]:
        text = f"# {one.value}: {one.why}" if several else f"# {one.why[0].upper()}{one.why[1:]}."
        yield text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    if len(found) > _MOST_COMMENTS:
        yield f"# and {len(found) - _MOST_COMMENTS} more"


def _costs(first: FirstConfig) -> list[str]:
    if len(first.goal.shares) != 2 or first.goal.task != "classification":
        return []
    return [
        "  # If mistakes have known costs, set them here, and train.threshold: cost.\n",
        "  # costs: {false_negative: 10, false_positive: 1}\n",
    ]


def _floor(first: FirstConfig) -> str:
    is_loss = first.goal.metric in LOSSES
    key, better = ("maximum", "lower") if is_loss else ("minimum", "higher")
    return f"# Add {key}, the {first.goal.metric} from which on a model is of use ({better} is better): none is set.\n"
