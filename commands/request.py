"""The config and the options of one call of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import ROOT

if TYPE_CHECKING:
    from pipelines.progress import Listener
    from pipelines.runner import RunOptions
    from ratchet.settings import Settings


@dataclass(frozen=True)
class Request:
    """The options of a run.

    Attributes
    ----------
    settings: of this process.
    path: the config file; its stem is the label of the run.
    dry_run: print the plan only.
    cache: take unchanged steps from the cache.
    verbose: show the output of libraries.
    snapshot: the hash of the rows to train on; for continuous training only.
    number: the run that ``watch`` has opened; for continuous training only.
    """

    settings: Settings
    path: Path
    dry_run: bool = False
    cache: bool = True
    verbose: bool = False
    snapshot: str | None = None
    number: int | None = None

    def options(self, listener: Listener) -> RunOptions:
        """Return the options of the pipeline run, with a listener for its steps."""
        from pipelines.runner import RunOptions

        return RunOptions(self.path.stem, self.cache, self.verbose, listener)


def read_request(config: str, overrides: Sequence[str] | None, **options: Any) -> tuple[Any, Request]:
    """Load a config and the settings.

    Parameters
    ----------
    config: a path, or a bare name of a file in ``configs/``.
    overrides: values of ``--set``, such as ``train.params.C=0.1``.
    options: fields of ``Request``.

    Returns
    -------
    The config and the request.

    Raises
    ------
    ConfigError: the config or a setting is wrong.
    """
    from ratchet.config.files import find_config, load_config
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    request = Request(load_settings(), find_config(config, ROOT), **options)
    return load_config(request.path, overrides or ()), request
