"""``run.py --config FILE``: the ``pipeline:`` of the config says who runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import ROOT, loop, training, tuning

if TYPE_CHECKING:
    from ratchet.settings import Settings


@dataclass(frozen=True)
class Request:
    """What was asked for beside the config itself.

    Attributes
    ----------
    settings : Settings
        Of this process.
    path : Path
        The config file; its stem is the label of the run.
    dry_run, cache, verbose : bool
        Whether only to say what would be done, whether steps may come from the cache, and whether libraries speak.
    snapshot : str or None
        The hash of the rows to train on; for continuous training alone.
    number : int or None
        The run that ``watch`` has opened; for continuous training alone.
    """

    settings: Settings
    path: Path
    dry_run: bool = False
    cache: bool = True
    verbose: bool = False
    snapshot: str | None = None
    number: int | None = None


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
    from pipelines.startup import spare_the_collector
    from ratchet.config.files import find_config, load_config
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings, quiet_environment

    spare_the_collector()
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
    from ratchet.config.files import json_schema
    from ratchet.console import print_json

    print_json(json_schema())
