"""``run.py --config FILE``: the ``pipeline:`` of the config says who runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from commands import ROOT, loop, training, tuning
from commands.request import Request

# A new kind of config is one line here and one function, which gets the config and the request.
PIPELINES: dict[str, Callable[[Any, Request], None]] = {
    "training": training.train,
    "continuous_training": training.train_continuously,
    "tuning": tuning.tune,
    "reporting": loop.draw,
    "simulation": loop.refuse_simulation,
}


def run_config(config: str, overrides: Sequence[str], **asked: Any) -> None:
    """Load a config and run its pipeline.

    Parameters
    ----------
    config : str
        A path; a bare name is looked up in ``configs/``.
    overrides : sequence of str
        As ``--set`` has them: ``train.params.C=0.1``.
    **asked
        What else a `Request` holds, but its settings and path.

    Raises
    ------
    ConfigError
        Where the config is wrong, or an option does not fit its kind.
    """
    from pipelines.startup import collect_garbage_rarely
    from ratchet.config.files import find_config, load_config
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings, quiet_environment

    collect_garbage_rarely()
    quiet_environment()
    request = Request(load_settings(), find_config(config, ROOT), **asked)
    loaded = load_config(request.path, overrides)
    if request.snapshot and loaded.pipeline != "continuous_training":
        raise ConfigError(
            f"--snapshot: {request.path} is a config of {loaded.pipeline}; continuous_training has snapshots"
        )
    PIPELINES[loaded.pipeline](loaded, request)


def schema() -> None:
    """Print the JSON Schema of the configs of all pipelines, for editors and other tools."""
    from commands.console.runs import print_json
    from ratchet.config.files import json_schema

    print_json(json_schema())
