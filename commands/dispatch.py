"""``run.py --config FILE``: the config's ``pipeline`` selects the function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from commands import loop, training, tuning
from commands.request import Request, read_request

# A new kind of config is a line here and a function that takes the config and the request.
PIPELINES: dict[str, Callable[[Any, Request], None]] = {
    "training": training.train,
    "continuous_training": training.train_continuously,
    "tuning": tuning.tune,
    "reporting": loop.draw,
    "simulation": loop.refuse_simulation,
}


def run_config(config: str, overrides: Sequence[str], **options: Any) -> None:
    """Load a config and run its pipeline.

    Parameters
    ----------
    config, overrides, options: as for ``read_request``.

    Raises
    ------
    ConfigError: the config is wrong, or an option does not apply to its kind.
    """
    from pipelines.startup import collect_garbage_rarely
    from ratchet.errors import ConfigError

    collect_garbage_rarely()
    loaded, request = read_request(config, overrides, **options)
    if request.snapshot and loaded.pipeline != "continuous_training":
        raise ConfigError(
            f"--snapshot: {request.path} is a config of {loaded.pipeline}; continuous_training has snapshots"
        )
    PIPELINES[loaded.pipeline](loaded, request)


def schema() -> None:
    """Print the JSON Schema of the configs of all pipelines, for editors and other tools."""
    from commands.console.formats import print_json
    from ratchet.config.files import json_schema

    print_json(json_schema())
