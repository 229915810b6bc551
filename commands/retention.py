"""The command that moves or deletes what is older than the settings keep."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.options import AsJson


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would leave; change nothing.")] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Write the store's SQLite file anew without free space; others wait.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Move rows past RATCHET_RETENTION_DAYS and _ROWS into the archive, or delete them, and old files of the home."""
    from dataclasses import asdict

    from commands.console.formats import print_json
    from commands.console.retention import print_outcome
    from pipelines.progress import silence_libraries
    from ratchet.loop.retention.retain import plan, retain
    from ratchet.settings import load_settings, quiet_environment
    from ratchet.store.database import open_store

    if dry_run and vacuum:
        raise typer.BadParameter("a dry run changes nothing", param_hint="--vacuum")
    quiet_environment()
    silence_libraries()
    settings = load_settings()
    store = open_store(settings)
    outcome = plan(settings, store) if dry_run else retain(settings, store, anew=vacuum)
    print_json(asdict(outcome)) if as_json else print_outcome(outcome, dry_run=dry_run)
