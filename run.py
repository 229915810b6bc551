"""The command line: ``python run.py --config baseline.yaml``, ``python run.py status``, …

The commands are in ``commands/``. A config names the pipeline that runs it.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from commands import data, dispatch, experiments, forget, init, loop, production, retention, service
from commands.options import Verbose
from ratchet.user_identity import complete_user_environment

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
        str | None, typer.Option("--config", "-c", help="A config: a file, or a name in configs/, such as fraud.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value: train.params.C=0.1", metavar="KEY=VALUE")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved config and the plan; do nothing.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step, even an unchanged one.")] = False,
    verbose: Verbose = False,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="HASH", help="Continuous training on the rows of an earlier run."),
    ] = None,
    number: Annotated[int | None, typer.Option("--run", hidden=True, help="The run that watch has opened.")] = None,
) -> None:
    """Train in pipelines, promote only a model that is proved better, and roll back with one command."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("give a config, such as --config baseline.yaml", param_hint="--config")
    dispatch.run_config(
        config,
        overrides or (),
        dry_run=dry_run,
        cache=not no_cache,
        verbose=verbose,
        snapshot=snapshot,
        number=number,
    )


# In the order of --help.
COMMANDS = (
    init.init,
    dispatch.schema,
    data.data,
    data.evaluate,
    loop.watch,
    production.promote,
    production.rollback,
    production.history,
    production.status,
    production.doctor,
    production.lineage,
    production.reproduce,
    forget.forget,
    experiments.compare,
    service.serve,
    loop.report,
    retention.retention,
    service.ui,
    loop.simulate,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run a command; an error that the user can fix is one line and status 2."""
    complete_user_environment()  # before MLflow is imported, which looks up the user's home
    for stream in (sys.stdout, sys.stderr):  # a locale may lack the arrows of a plan or a name in the data
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception as error:
        from ratchet.errors import RatchetError, one_line

        if type(error).__name__ == "RunInterruptedException":  # ZenML's error for Ctrl-C within a step
            print("interrupted: run the same command again; a study continues where it stopped", file=sys.stderr)
            sys.exit(130)
        if not isinstance(error, RatchetError):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    finally:
        if "zenml" in sys.modules:
            from pipelines.startup import exit_quickly

            exit_quickly()


if __name__ == "__main__":
    main()
