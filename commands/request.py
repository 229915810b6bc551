"""What the command line asks of a pipeline besides its config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.progress import Listener
    from pipelines.runner import RunOptions
    from ratchet.settings import Settings


@dataclass(frozen=True)
class Request:
    """The options of one run of a config.

    Attributes
    ----------
    settings : Settings
        Of this process.
    path : Path
        The config file; its stem is the label of the run.
    dry_run, cache, verbose : bool
        Whether to print the plan only, to take steps from the cache, and to show the output of libraries.
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

    def options(self, listener: Listener) -> RunOptions:
        """Return the options of the pipeline run, with a listener for its steps."""
        from pipelines.runner import RunOptions

        return RunOptions(self.path.stem, self.cache, self.verbose, listener)
