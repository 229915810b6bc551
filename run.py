"""The command line: ``python run.py --config baseline.yaml``, ``python run.py schema``, …

Imports stay inside the commands: ``--help`` must not pay for libraries that it does not need.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ratchet.config import TrainingConfig
    from ratchet.config.reporting import ReportingConfig
    from ratchet.ledger import Entry
    from ratchet.registry import ProductionPointer
    from ratchet.settings import Settings

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
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="HASH", help="Continuous training on the rows of an earlier run."),
    ] = None,
    number: Annotated[int | None, typer.Option("--run", hidden=True, help="The run that watch has opened.")] = None,
) -> None:
    """Train in pipelines, promote only what is proved better, and go one step back with one command."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("give a config, such as --config baseline.yaml", param_hint="--config")
    from pipelines.startup import spare_the_collector
    from ratchet.config.files import find_config, load_config
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings, quiet_environment

    spare_the_collector()
    quiet_environment()
    settings = load_settings()
    path = find_config(config, ROOT)
    loaded = load_config(path, overrides or ())
    if loaded.pipeline == "simulation":
        raise ConfigError(f"{path}: a simulation is sent at a service: python run.py simulate --config {path.name}")
    if loaded.pipeline == "reporting":
        _report(loaded, settings, path, dry_run=dry_run, verbose=verbose)
        return
    if snapshot and loaded.pipeline != "continuous_training":
        raise ConfigError(f"--snapshot: {path} is a config of {loaded.pipeline}; continuous_training has snapshots")
    if dry_run:
        _plan(loaded, path)
        return
    _train(loaded, settings, path, snapshot, number, cache=not no_cache, verbose=verbose)


def _plan(config: TrainingConfig, path: Path) -> None:
    """Say what a training pipeline would do."""
    from pipelines.runner import plan_training
    from ratchet.console import print_plan

    print_plan(config, plan_training(config), str(path))


def _train(
    config: TrainingConfig,
    settings: Settings,
    path: Path,
    snapshot: str | None,
    number: int | None,
    *,
    cache: bool,
    verbose: bool,
) -> None:
    """Run a training pipeline, continuous or not, and say how it ended."""
    from pipelines.continuous import run_continuous, run_on_snapshot
    from pipelines.runner import STEPS, run_training
    from ratchet import console
    from ratchet.config.continuous import ContinuousTrainingConfig

    with console.live_steps(STEPS) as listener:
        how: dict[str, Any] = {"label": path.stem, "cache": cache, "verbose": verbose, "listener": listener}
        if isinstance(config, ContinuousTrainingConfig) and snapshot:
            console.print_summary(run_on_snapshot(config, settings, snapshot, **how))
        elif isinstance(config, ContinuousTrainingConfig):
            console.print_continuous(run_continuous(config, settings, number=number, **how))
        else:
            console.print_summary(run_training(config, settings, **how))


def _report(config: ReportingConfig, settings: Settings, path: Path, *, dry_run: bool, verbose: bool) -> None:
    """Draw a report, and say what is in it and where it is."""
    from pipelines.progress import hush
    from pipelines.report_runner import STEPS, run_reporting
    from ratchet import console

    if dry_run:
        console.print_json(config.model_dump(mode="json"))
        return
    if not verbose:
        hush()
    with console.live_steps(STEPS) as listener:
        drawn = run_reporting(config, settings, label=path.stem, verbose=verbose, listener=listener)
    for line in drawn.lines:
        print(line)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configs of all pipelines, for editors and other tools."""
    from ratchet.config.files import json_schema
    from ratchet.console import print_json

    print_json(json_schema())


@app.command()
def watch(
    config: Annotated[str, typer.Option("--config", "-c", help="A config of continuous training.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value.", metavar="KEY=VALUE")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, wait for what that begins, and end: for cron and CI.")
    ] = False,
) -> None:
    """Look at production again and again, and train again when a trigger says so."""
    from pipelines.watch import watch as watch_until_stopped
    from ratchet.config.continuous import ContinuousTrainingConfig
    from ratchet.config.files import find_config, load_config
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    settings, path = load_settings(), find_config(config, ROOT)
    loaded = load_config(path, overrides or ())
    if not isinstance(loaded, ContinuousTrainingConfig):
        raise ConfigError(f"{path}: pipeline: {loaded.pipeline} is nothing to watch, continuous_training is")
    again = [word for override in overrides or () for word in ("--set", override)]
    command = [sys.executable, str(ROOT / "run.py"), "--config", str(path), *again]
    report = [sys.executable, str(ROOT / "run.py"), "report", "--model", loaded.model]
    if not watch_until_stopped(loaded, settings, command, report, once=once):
        raise typer.Exit(1)


Model = Annotated[str | None, typer.Option("--model", "-m", help="The registered model, where there are several.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the ledger.")]
Operation = Annotated[str | None, typer.Option("--operation-id", help="Repeat with the same id and it is done once.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def promote(
    version: str,
    reason: Reason,
    model: Model = None,
    expected: Annotated[
        str | None, typer.Option(help="The version you believe to be in Production ('none' for none).")
    ] = None,
    operation_id: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Put a version into Production by hand; its package is verified, the statistical gate is yours to answer for."""
    settings, pointer = _open(model)
    believed = {"expected": None if expected == "none" else expected} if expected is not None else {}
    entry = pointer.promote(version, reason, settings.actor, operation_id=operation_id, **believed)
    _tell_change(entry, as_json)


@app.command()
def rollback(reason: Reason, model: Model = None, operation_id: Operation = None, as_json: AsJson = False) -> None:
    """Put the version back that was in Production before."""
    settings, pointer = _open(model)
    _tell_change(pointer.rollback(reason, settings.actor, operation_id=operation_id), as_json)


@app.command()
def history(
    model: Model = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was done to Production: when, from, to, who, why, and the gate's figures."""
    from ratchet import console, status

    _, pointer = _open(model, mirrored=False)
    entries = status.history(pointer, limit)
    console.print_json(entries) if as_json else console.print_history(entries)


@app.command()
def status(model: Model = None, as_json: AsJson = False) -> None:
    """Say what is in Production, since when, how good it is, and what it was trained on."""
    from ratchet import console
    from ratchet.status import status as standing

    settings, pointer = _open(model, mirrored=False)
    found = standing(settings, pointer)
    console.print_json(found) if as_json else console.print_fields(found)


@app.command()
def doctor(
    model: Model = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Explain what is wrong with Production, and mend it on request; status 1 where something is left wrong."""
    from dataclasses import asdict

    from ratchet import console
    from ratchet.doctor import examine
    from ratchet.doctor import repair as mend

    settings, pointer = _open(model)
    found, left = mend(pointer, settings.actor) if repair else (examine(pointer),) * 2
    console.print_json([asdict(f) for f in found]) if as_json else console.print_findings(found, left, repaired=repair)
    if left:
        raise typer.Exit(1)


@app.command()
def lineage(
    version: Annotated[str, typer.Argument(metavar="ID", help="A version's number, or a prediction's id.")],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Go from a version or a prediction back to everything that made it."""
    from ratchet import console, status
    from ratchet.predictions import find_prediction
    from ratchet.settings import load_settings
    from ratchet.store import open_store

    prediction = find_prediction(open_store(load_settings()), version) if len(version) == 36 else None
    settings, pointer = _open(prediction["model"] if prediction else model, mirrored=False)
    if prediction:
        found = status.prediction_lineage(settings, pointer, prediction)
    else:
        found = status.lineage(settings, pointer, version)
    console.print_json(found) if as_json else console.print_fields(found)


@app.command()
def reproduce(version: str, model: Model = None, as_json: AsJson = False) -> None:
    """Train a version again from its lineage and compare; status 1 where it came out differently."""
    from ratchet import console
    from ratchet.reproduction import reproduce as train_again

    settings, pointer = _open(model, mirrored=False)
    result = train_again(settings, pointer, version, ROOT)
    console.print_json(result.model_dump()) if as_json else console.print_reproduction(result)
    if not result.identical:
        raise typer.Exit(1)


@app.command()
def serve(
    model: Model = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on (default: 8000).")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer (default: 2).")] = None,
) -> None:
    """Serve the version in Production over HTTP, and follow it."""
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings

    try:
        from serving.server import serve as serve_until_stopped
    except ModuleNotFoundError as error:
        raise ConfigError(f"serving needs {error.name}, which is not installed: run make serve") from None

    given = {"serve_model": model, "host": host, "port": port, "workers": workers}
    settings = load_settings().model_copy(update={key: value for key, value in given.items() if value is not None})
    serve_until_stopped(settings)


@app.command()
def report(
    model: Model = None,
    config: Annotated[str, typer.Option("--config", "-c", help="A config of a report.")] = "reporting.yaml",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value: window=500", metavar="KEY=VALUE")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what ZenML and MLflow say.")] = False,
) -> None:
    """Draw a report on the version in Production, and write ref_data.csv and prod_data.csv."""
    from ratchet.config.files import find_config, load_config
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    path = find_config(config, ROOT)
    loaded = load_config(path, [*(overrides or ()), *([f"model={model}"] if model else [])])
    if loaded.pipeline != "reporting":
        raise ConfigError(f"{path}: pipeline: {loaded.pipeline} draws no report, reporting does")
    _report(loaded, load_settings(), path, dry_run=False, verbose=verbose)


class Pages(StrEnum):
    """Whose own pages to show."""

    evidently = "evidently"
    mlflow = "mlflow"


@app.command()
def ui(
    what: Annotated[Pages, typer.Argument(help="Whose pages.")],
    host: Annotated[str, typer.Option(help="Address to listen on; nobody has to log in there.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on (default: evidently 8082, mlflow 5000).")
    ] = None,
) -> None:
    """Show reports (evidently) or runs (mlflow) in the browser, until Ctrl-C."""
    from ratchet.reports import pages
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    serve_pages = pages.serve_evidently if what is Pages.evidently else pages.serve_mlflow
    serve_pages(load_settings(), host, port or pages.PORTS[what])


@app.command()
def simulate(
    config: Annotated[str, typer.Option("--config", "-c", help="A config of a simulation.")] = "simulate.yaml",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value: stream.rate=50", metavar="KEY=VALUE")
    ] = None,
    url: Annotated[str | None, typer.Option(help="The service (default: port 8000 of this machine).")] = None,
    api_key: Annotated[str | None, typer.Option(help="Its key (default: the first of RATCHET_API_KEYS).")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a service that is away.")] = 60.0,
    record: Annotated[
        typer.FileTextWrite | None, typer.Option(help="A file for one JSON line for each row that was answered.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send the running service a stream of rows that drift, and their labels later; Ctrl-C ends it with its summary."""
    import signal
    from functools import partial

    from ratchet.config.files import find_config
    from ratchet.console import print_json
    from ratchet.settings import load_settings
    from ratchet.simulation.client import ServiceClient
    from ratchet.simulation.console import print_report
    from ratchet.simulation.rehearsal import load_simulation, rehearse

    settings = load_settings()
    # To be told to stop is as good as Ctrl-C, which who starts this in the background may have had ignored.
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, signal.default_int_handler)
    key = api_key or next((key.get_secret_value() for key in settings.api_keys), None)
    say = partial(print, file=sys.stderr if as_json else sys.stdout, flush=True)
    client = ServiceClient(url or f"http://127.0.0.1:{settings.port}", key, patience, say)
    report = rehearse(load_simulation(find_config(config, ROOT), overrides or ()), client, say, record)
    print_json(report.model_dump()) if as_json else print_report(report)


def _open(model: str | None, *, mirrored: bool = True) -> tuple[Settings, ProductionPointer]:
    """The settings and the pointer that a command works on, with the libraries kept quiet."""
    from pipelines.operations import open_pointer
    from pipelines.progress import hush
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    hush()
    settings = load_settings()
    return settings, open_pointer(settings, model, mirrored=mirrored)


def _tell_change(entry: Entry, as_json: bool) -> None:
    from dataclasses import asdict

    from ratchet.console import print_json

    if as_json:
        print_json(asdict(entry))
    else:
        before = entry.from_version or "none"
        print(f"{entry.model}: version {entry.to_version} went into Production; before, it was {before}")


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
    finally:
        if "zenml" in sys.modules:
            from pipelines.startup import leave_quickly

            leave_quickly()


if __name__ == "__main__":
    main()
