"""The loop around a model in Production: continuous training, reports, and simulated traffic."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from commands import ROOT
from commands.options import AsJson, Model, Overrides, Verbose, config_option
from commands.request import Request, read_request

if TYPE_CHECKING:
    from ratchet.config.reporting import ReportingConfig
    from ratchet.config.simulation import SimulationConfig


def watch(
    config: Annotated[str, config_option("A config of continuous training.")],
    overrides: Overrides = None,
    once: Annotated[
        bool, typer.Option("--once", help="Check the triggers once, wait for the run, and end: for cron and CI.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the details of each trigger on a terminal.")
    ] = False,
) -> None:
    """Check the triggers of continuous training periodically, and start a run when one fires."""
    from functools import partial

    from commands.console.watch import print_event
    from pipelines.watch import watch as watch_until_stopped
    from ratchet.config.continuous import ContinuousTrainingConfig
    from ratchet.errors import ConfigError

    loaded, request = read_request(config, overrides)
    if not isinstance(loaded, ContinuousTrainingConfig):
        raise ConfigError(f"{request.path}: pipeline: got {loaded.pipeline!r}, expected 'continuous_training'")
    repeated = [word for override in overrides or () for word in ("--set", override)]
    command = [sys.executable, str(ROOT / "run.py"), "--config", str(request.path), *repeated]
    report = [sys.executable, str(ROOT / "run.py"), "report", "--model", loaded.model]
    retention = [sys.executable, str(ROOT / "run.py"), "retention"]
    log = partial(print_event, verbose=verbose)
    brief = sys.stdout.isatty() and not verbose
    if not watch_until_stopped(
        loaded, request.settings, command, report, log, once=once, retention=retention, brief=brief
    ):
        raise typer.Exit(1)


def report(
    model: Model = None,
    config: Annotated[str, config_option("A config of a report.")] = "reporting.yaml",
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Draw a report on the version in Production, and write ref_data.csv and prod_data.csv."""
    from ratchet.errors import ConfigError

    loaded, request = read_request(
        config, [*(overrides or ()), *([f"model={model}"] if model else [])], verbose=verbose
    )
    if loaded.pipeline != "reporting":
        raise ConfigError(f"{request.path}: pipeline: got {loaded.pipeline!r}, expected 'reporting'")
    draw(loaded, request)


def draw(config: ReportingConfig, request: Request) -> None:
    """Draw a report, and print its results and where it is."""
    from commands.console.formats import print_json
    from commands.console.live_steps import live_steps
    from commands.console.report import print_report
    from pipelines.progress import silence_libraries
    from pipelines.report_runner import STEPS, run_reporting

    if request.dry_run:
        print_json(config.to_plain())
        return
    if not request.verbose:
        silence_libraries()
    with live_steps(STEPS) as listener:
        drawn = run_reporting(config, request.settings, request.options(listener))
    print_report(drawn)


def refuse_simulation(_config: SimulationConfig, request: Request) -> None:
    """Refuse a config of a simulation, which has its own command.

    Raises
    ------
    ConfigError: always.
    """
    from ratchet.errors import ConfigError

    path = request.path
    raise ConfigError(f"{path}: a simulation needs a running service: python run.py simulate --config {path.name}")


def simulate(
    config: Annotated[str, config_option("A config of a simulation.")] = "simulate.yaml",
    overrides: Overrides = None,
    url: Annotated[str | None, typer.Option(help="The service (default: port 8000 of this machine).")] = None,
    api_key: Annotated[str | None, typer.Option(help="Its key (default: the first of RATCHET_API_KEYS).")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for an unavailable service.")] = 60.0,
    record: Annotated[
        typer.FileTextWrite | None, typer.Option(help="A file that gets one JSON line for each answered row.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send drifting rows and their delayed labels to the running service; Ctrl-C ends it with a summary."""
    import signal
    from functools import partial

    from commands.console.formats import print_json
    from commands.console.simulation import print_report
    from ratchet.config.files import find_config
    from ratchet.settings import load_settings
    from simulation.client import ServiceClient
    from simulation.run import load_simulation, run_simulation

    settings = load_settings()
    # SIGTERM ends it like Ctrl-C; a shell lets background processes ignore SIGINT.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    key = api_key or next((key.get_secret_value() for key in settings.api_keys), None)
    progress = partial(print, file=sys.stderr if as_json else sys.stdout, flush=True)
    client = ServiceClient(url or f"http://127.0.0.1:{settings.port}", key, patience, progress)
    found = run_simulation(load_simulation(find_config(config, ROOT), overrides or ()), client, progress, record)
    print_json(found.model_dump()) if as_json else print_report(found)
