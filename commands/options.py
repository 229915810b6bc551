"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str | None, typer.Option("--model", "-m", help="The registered model, where there are several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the output of ZenML and MLflow.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override one value: train.params.C=0.1", metavar="KEY=VALUE")
]
