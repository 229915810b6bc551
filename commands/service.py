"""The commands that serve HTTP until they are stopped: the service, and the pages of other tools."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from commands.options import Model


def serve(
    model: Model = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on (default: 8000).")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes (default: 2).")] = None,
) -> None:
    """Serve the version in Production over HTTP, and change to a new one when it is promoted."""
    from ratchet.errors import ConfigError
    from ratchet.settings import load_settings

    try:
        from serving.server import serve as serve_until_stopped
    except ModuleNotFoundError as error:
        raise ConfigError(f"serving needs {error.name}, which is not installed: run make serve") from None

    given = {"serve_model": model, "host": host, "port": port, "workers": workers}
    settings = load_settings().model_copy(update={key: value for key, value in given.items() if value is not None})
    serve_until_stopped(settings)


class Pages(StrEnum):
    """The tool whose pages to show."""

    mlflow = "mlflow"
    zenml = "zenml"
    evidently = "evidently"


def ui(
    what: Annotated[Pages | None, typer.Argument(help="One tool; all and the service if left out.")] = None,
    model: Model = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the pages have no login.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port to listen on, for all pages the first of four (default: mlflow 5000, zenml 8237,"
            " evidently 8082, service 8000).",
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
) -> None:
    """Show runs (mlflow), pipelines (zenml), reports (evidently) and the service in the browser, until Ctrl-C."""
    from commands import web_pages
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    settings = load_settings()
    if what:
        web_pages.show_tool(settings, what, host, port, browser=not no_browser)
    else:
        settings = settings.model_copy(update={"serve_model": model or settings.serve_model})
        web_pages.show_all(settings, host, port, browser=not no_browser)
