"""The loop around a model in Production: watch it, draw reports on it, rehearse its traffic."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from commands import ROOT
from commands.options import AsJson, Model, Verbose

if TYPE_CHECKING:
    from commands.request import Request
    from ratchet.config.reporting import ReportingConfig
    from ratchet.config.simulation import SimulationConfig


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


def report(
    model: Model = None,
    config: Annotated[str, typer.Option("--config", "-c", help="A config of a report.")] = "reporting.yaml",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value: window=500", metavar="KEY=VALUE")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Draw a report on the version in Production, and write ref_data.csv and prod_data.csv."""
    from commands.request import Request
    from ratchet.config.files import find_config, load_config
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    path = find_config(config, ROOT)
    loaded = load_config(path, [*(overrides or ()), *([f"model={model}"] if model else [])])
    if loaded.pipeline != "reporting":
        raise ConfigError(f"{path}: pipeline: {loaded.pipeline} draws no report, reporting does")
    draw(loaded, Request(load_settings(), path, verbose=verbose))


def draw(config: ReportingConfig, request: Request) -> None:
    """Draw a report, and say what is in it and where it is."""
    from commands.console import runs
    from pipelines.progress import silence_libraries
    from pipelines.report_runner import STEPS, run_reporting

    if request.dry_run:
        runs.print_json(config.model_dump(mode="json"))
        return
    if not request.verbose:
        silence_libraries()
    with runs.live_steps(STEPS) as listener:
        drawn = run_reporting(config, request.settings, request.options(listener))
    for line in drawn.lines:
        print(line)


def refuse_simulation(_config: SimulationConfig, request: Request) -> None:
    """A simulation trains nothing: it has a command of its own."""
    from ratchet.errors import ConfigError

    path = request.path
    raise ConfigError(f"{path}: a simulation is sent at a service: python run.py simulate --config {path.name}")


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

    from commands.console.runs import print_json
    from commands.console.simulation import print_report
    from ratchet.config.files import find_config
    from ratchet.settings import load_settings
    from simulation.client import ServiceClient
    from simulation.rehearsal import load_simulation, rehearse

    settings = load_settings()
    # To be told to stop is as good as Ctrl-C, which who starts this in the background may have had ignored.
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, signal.default_int_handler)
    key = api_key or next((key.get_secret_value() for key in settings.api_keys), None)
    say = partial(print, file=sys.stderr if as_json else sys.stdout, flush=True)
    client = ServiceClient(url or f"http://127.0.0.1:{settings.port}", key, patience, say)
    found = rehearse(load_simulation(find_config(config, ROOT), overrides or ()), client, say, record)
    print_json(found.model_dump()) if as_json else print_report(found)
