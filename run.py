"""The command line: ``python run.py --config baseline.yaml``, ``python run.py schema``, …

Imports stay inside the commands: ``--help`` must not pay for libraries that it does not need.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    config: Annotated[
        str | None, typer.Option("--config", "-c", help="A config file; a bare name is looked up in configs/.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value: train.params.C=0.1", metavar="KEY=VALUE")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved config and the plan; do nothing.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run every step, also those that nothing changed for.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what ZenML and MLflow say.")] = False,
) -> None:
    """Train in pipelines, promote only what is proved better, and go one step back with one command."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("give a config, such as --config baseline.yaml", param_hint="--config")
    from pipelines.runner import STEPS, plan_training, run_training
    from pipelines.startup import leave_quickly, spare_the_collector
    from ratchet import console
    from ratchet.config import find_config, load_config
    from ratchet.settings import load_settings, quiet_environment

    spare_the_collector()
    quiet_environment()
    settings = load_settings()
    path = find_config(config, ROOT)
    loaded = load_config(path, overrides or ())
    if dry_run:
        console.print_plan(loaded, plan_training(loaded), str(path))
        return
    with console.live_steps(STEPS) as listener:
        summary = run_training(
            loaded, settings, label=path.stem, cache=not no_cache, verbose=verbose, listener=listener
        )
    console.print_summary(summary)
    leave_quickly()


@app.command()
def schema() -> None:
    """Print the JSON Schema of a config, for editors and other tools."""
    from ratchet.config import TrainingConfig
    from ratchet.console import print_json

    print_json(TrainingConfig.model_json_schema())


def main() -> None:
    """Run a command; what a person can mend is one line and status 2."""
    try:
        app()
    except Exception as error:
        from ratchet.errors import RatchetError

        if not isinstance(error, RatchetError):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
