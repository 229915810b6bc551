"""Pictures of the pages: the service's, MLflow's, ZenML's and Evidently's."""

from __future__ import annotations

import io
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from image_files import save_small
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from scratch_home import ScratchHome, free_ports

_CHROMIUM = "/usr/bin/chromium"
_DESKTOP, _TALL = {"width": 1280, "height": 860}, {"width": 1280, "height": 1360}
_GRAPH, _PANELS = {"width": 1400, "height": 1100}, {"width": 1280, "height": 1640}
_PHONE = {"width": 390, "height": 844}
_TIMEOUT = 60_000.0
_RECORD = {"sepal_length": 6.1, "sepal_width": 2.9, "petal_length": 4.7, "petal_width": 1.4}


class Camera:
    """A browser that takes pictures of pages.

    Parameters
    ----------
    images: the folder of the pictures.
    """

    def __init__(self, browser: Browser, images: Path) -> None:
        self._browser = browser
        self._images = images

    def shoot(
        self,
        name: str,
        url: str,
        prepare: Callable[[Page], object],
        *,
        size: dict[str, int] | None = None,
        dark: bool = False,
    ) -> None:
        """Take a picture of what a window shows of a page.

        Parameters
        ----------
        prepare: waits for the content, and brings it into the window.
        size: the window's, in pixels.
        """
        context = self._browser.new_context(
            viewport=size or _DESKTOP,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            device_scale_factor=2 if size == _PHONE else 1,
        )
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT)
        page.goto(url)
        prepare(page)
        page.wait_for_timeout(1000)  # charts move into their place
        save_small(Image.open(io.BytesIO(page.screenshot())), self._images / f"{name}.png")
        context.close()
        print(f"{os.path.relpath(self._images / name)}.png", flush=True)


def draw_pages(home: ScratchHome) -> None:
    """Serve all pages of a home, and take their pictures."""
    port = free_ports(4)
    mlflow, zenml, evidently, service = (f"http://127.0.0.1:{port + number}" for number in range(4))
    with (
        home.started(f"ui --port {port} --no-browser --model iris", [mlflow, zenml, evidently, f"{service}/readyz"]),
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        camera = Camera(browser, home.images)
        _shoot_service(camera, service)
        _shoot_mlflow(camera, mlflow)
        _shoot_zenml(camera, zenml)
        _shoot_evidently(camera, evidently)
        browser.close()


def _shoot_service(camera: Camera, url: str) -> None:
    camera.shoot("service-landing", url, _predict, size=_TALL)
    camera.shoot("service-phone", url, lambda page: page.wait_for_selector("text=Live quality"), size=_PHONE, dark=True)
    camera.shoot("service-docs", f"{url}/docs", lambda page: page.wait_for_selector(".opblock"))

    def open_form(page: Page) -> None:
        _predict(page)
        page.click("text=Confirm or correct this prediction")
        page.wait_for_url("**/feedback/form?token=*")

    camera.shoot("service-feedback-form", url, open_form, size={"width": 800, "height": 600})


def _predict(page: Page) -> None:
    for name, value in _RECORD.items():
        page.fill(f"[name={name}]", str(value))
    page.click("text=Predict and explain")
    page.wait_for_selector("#contributions table")
    page.evaluate("window.scrollTo(0, 0)")


def _shoot_mlflow(camera: Camera, url: str) -> None:
    experiment = _ask(f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=iris")["experiment"]
    number = experiment["experiment_id"]
    wanted = {"experiment_ids": [number], "filter": "tags.`ratchet.pipeline` = 'training'"}
    runs = [run["info"]["run_id"] for run in _ask(f"{url}/api/2.0/mlflow/runs/search", wanted)["runs"]]
    query = urllib.parse.urlencode({"runs": json.dumps(runs), "experiments": json.dumps([number])})
    for name, place, text in (
        ("mlflow-runs", f"experiments/{number}/runs", "baseline"),
        ("mlflow-comparison", f"compare-runs?{query}", "Parallel Coordinates Plot"),
        ("mlflow-run", f"experiments/{number}/runs/{runs[-1]}", "f1_macro"),
        ("mlflow-version", "models/iris/versions/1", "Production"),
    ):
        camera.shoot(name, f"{url}/#/{place}", partial(_wait_for, text=text))


def _wait_for(page: Page, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def _shoot_zenml(camera: Camera, url: str) -> None:
    pages = f"{url}/projects/default"
    runs = _ask(f"{url}/api/v1/runs?sort_by=desc:created&pipeline=training")["items"]
    camera.shoot("zenml-pipelines", f"{pages}/pipelines", _without_banner)
    camera.shoot("zenml-runs", f"{pages}/runs", _without_banner)
    camera.shoot("zenml-run", f"{pages}/runs/{runs[0]['id']}", _show_graph, size=_GRAPH)


def _show_graph(page: Page) -> None:
    """Wait for the graph of a run, close what lies beside it, and fit it into the window."""
    page.get_by_text("promote", exact=True).first.wait_for()
    page.get_by_label("Dismiss local-server notice").click()
    page.get_by_text("Run Insights").first.locator("xpath=preceding::button[1]").click()
    page.wait_for_timeout(500)
    page.locator("button[data-variant=outline][data-size=icon-xs]").first.click()


def _without_banner(page: Page) -> None:
    """Wait for the pipeline's name, and close ZenML's banner."""
    page.get_by_text("training", exact=True).first.wait_for()
    page.get_by_label("Dismiss local-server notice").click()


def _shoot_evidently(camera: Camera, url: str) -> None:
    (project,) = _ask(f"{url}/api/projects/")
    reports = _ask(f"{url}/api/projects/{project['id']}/reports")
    panels = f"{url}/projects/{project['id']}"
    camera.shoot("evidently-panels", panels, _text("Share of drifted columns"), size=_PANELS)
    newest = f"{url}/projects/{project['id']}/reports/{reports[0]['id']}"
    camera.shoot("evidently-report", newest, _text("Drift is detected"))


def _text(text: str) -> Callable[[Page], object]:
    """Return a function that waits for a text on a page."""
    return lambda page: page.get_by_text(text).first.scroll_into_view_if_needed()


def _ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answered:
        return json.load(answered)
