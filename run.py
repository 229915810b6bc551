#!/usr/bin/env python
"""The command line: ``python run.py --config baseline.yaml``, ``python run.py status``, …

The commands are in ``commands/``. A config names the pipeline that runs it.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from commands import data, dispatch, experiments, forget, init, loop, prediction, production, retention, service
from commands.options import Verbose, config_option
from commands.version import print_version
from ratchet.user_identity import complete_user_environment

_INTERRUPTED = 130  # the exit status after Ctrl-C
_INTERRUPTED_RUN = "interrupted: run the same command again; a study continues where it stopped"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    config: Annotated[str | None, config_option("A config: a file, or a name in configs/, such as fraud.")] = None,
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
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True),
    ] = False,
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
    prediction.predict,
    loop.report,
    retention.retention,
    service.ui,
    loop.simulate,
)
for command in COMMANDS:
    app.command()(command)


def _status(end: Exception | SystemExit) -> int | str | None:
    """Print why a command ended early, and return its exit status.

    Raises
    ------
    Exception: the given one, if it is a bug.
    """
    from commands.console.errors import print_error, was_interrupted
    from ratchet.errors import RatchetError, one_line

    if was_interrupted(end) or getattr(end, "code", None) == _INTERRUPTED:
        print(_INTERRUPTED_RUN if "zenml" in sys.modules else "interrupted", file=sys.stderr)
        return _INTERRUPTED
    if isinstance(end, RatchetError):
        print_error(one_line(end))
        return 2
    if not isinstance(end, SystemExit):
        raise end
    return end.code


def main() -> None:
    """Run a command; an error that the user can fix is one line and status 2."""
    complete_user_environment()  # before MLflow is imported, which looks up the user's home
    for stream in (sys.stdout, sys.stderr):  # a locale may lack the arrows of a plan or a name in the data
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (Exception, SystemExit) as error:
        sys.exit(_status(error))
    finally:
        if "zenml" in sys.modules:
            from pipelines.startup import exit_quickly

            exit_quickly()


if __name__ == "__main__":
    main()
