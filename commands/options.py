"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import ROOT


def complete_config(incomplete: str) -> list[str]:
    """Return the configs whose name starts with a text, for the completion of the shell."""
    from ratchet.config.files import config_names

    return [name for name in config_names(ROOT) if name.startswith(incomplete)]


def config_option(described: str) -> Any:
    """Return the option ``--config``, whose values the shell completes."""
    return typer.Option("--config", "-c", help=described, autocompletion=complete_config)


Model = Annotated[str | None, typer.Option("--model", "-m", help="The registered model, where there are several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the output of ZenML and MLflow.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override one value: train.params.C=0.1", metavar="KEY=VALUE")
]
