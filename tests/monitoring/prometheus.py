"""A real Prometheus and a real Alertmanager of the tests' own, from the machine's packages, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.conftest import ROOT
from tests.serving.running import free_port, wait_until

MONITORING = ROOT / "monitoring"
CONFIG = MONITORING / "prometheus" / "prometheus.yml"
RULES = MONITORING / "prometheus" / "rules"
ALERTMANAGER_CONFIG = MONITORING / "alertmanager" / "alertmanager.yml"
NEEDED = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
_START = 60.0
# A range, and the step of a subquery.
_WINDOW = re.compile(r"\[(\d+[smhd])(:\d+[smhd])?\]")


def missing() -> str | None:
    """Why the tests with a real Prometheus cannot run here; None where they can."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if not absent:
        return None
    return f"not on this machine: {', '.join(absent)}; Debian has them as prometheus and prometheus-alertmanager"


class Sample(NamedTuple):
    """A series and its value at an instant."""

    labels: dict[str, str]
    value: float


@dataclass
class Server:
    """A running server with an HTTP API.

    Attributes
    ----------
    process: the server itself.
    address: host and port.
    output: what it has printed.
    """

    process: subprocess.Popen[bytes]
    address: str
    output: Path

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://{self.address}"

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON behind a path; what the server refuses is told with its reason."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"{self.url}{path}{query}", timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.code} {error.read().decode()[:500]}") from None

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait for a condition."""
        wait_until(lambda: bool(condition()), seconds, lambda: self.output.read_text()[-4000:])

    def answers(self) -> bool:
        """Whether it is ready to work."""
        assert self.process.poll() is None, f"it ended: {self.output.read_text()[-4000:]}"
        with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


class Prometheus(Server):
    """A running Prometheus with the repository's config and rules."""

    def query(self, expression: str) -> list[Sample]:
        """What an expression gives now: a vector's series, or a scalar as one without labels.

        Raises
        ------
        AssertionError: Prometheus refuses the expression.
        """
        data = self.get("/api/v1/query", query=expression)["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(series["metric"], float(series["value"][1])) for series in data["result"]]

    def query_range(self, expression: str, start: float, end: float, step: float = 1.0) -> list[dict[str, Any]]:
        """What an expression gives over a span of time: for each series ``metric`` and ``values``.

        Parameters
        ----------
        start, end: seconds since the epoch.
        step: seconds.
        """
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found: list[dict[str, Any]] = self.get("/api/v1/query_range", query=expression, **span)["data"]["result"]
        return found

    def format(self, expression: str) -> str:
        """An expression as Prometheus itself writes it, which refuses one that it cannot parse."""
        return str(self.get("/api/v1/format_query", query=expression)["data"])

    def names(self) -> set[str]:
        """The names of all metrics that there are."""
        return set(self.get("/api/v1/label/__name__/values")["data"])

    def alerts(self) -> list[dict[str, Any]]:
        """What pends or fires: labels, annotations, state."""
        found: list[dict[str, Any]] = self.get("/api/v1/alerts")["data"]["alerts"]
        return found

    def firing(self, name: str) -> list[dict[str, Any]]:
        """The firing alerts of a name."""
        return [a for a in self.alerts() if a["state"] == "firing" and a["labels"]["alertname"] == name]

    def judged(self, name: str) -> str:
        """When an alert's rule was last evaluated, as Prometheus writes it."""
        groups = self.get("/api/v1/rules")["data"]["groups"]
        [found] = [rule["lastEvaluation"] for group in groups for rule in group["rules"] if rule["name"] == name]
        return str(found)


class Alertmanager(Server):
    """A running Alertmanager with the repository's config."""

    def alerts(self) -> list[dict[str, Any]]:
        """What it knows of: labels, annotations, status with state, receivers."""
        found: list[dict[str, Any]] = self.get("/api/v2/alerts")
        return found

    def post(self, *labels: Mapping[str, str]) -> None:
        """Tell it of alerts with these labels, as Prometheus does."""
        body = json.dumps([{"labels": dict(one)} for one in labels]).encode()
        asked = urllib.request.Request(f"{self.url}/api/v2/alerts", body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.status == 200


@contextlib.contextmanager
def running(
    folder: Path,
    targets: Mapping[str, str],
    *,
    key: str | None = None,
    rules: Path = RULES,
    alertmanager: str | None = None,
    interval: str = "1s",
) -> Iterator[Prometheus]:
    """A Prometheus that runs the repository's config and rules, ended when the block ends.

    Parameters
    ----------
    folder: an empty one for its config, data and output.
    targets: for the config's jobs, host and port; jobs that are not named are scraped nowhere, but for Prometheus
        itself.
    key: the service's API key; None sends none.
    rules: the folder of rules.
    alertmanager: its host and port; None tells nobody.
    interval: from one scrape, and one look at the rules, to the next.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    config = derived(folder, {"prometheus": address, **targets}, key, rules, alertmanager, interval)
    words = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    words += [f"--web.listen-address={address}", "--log.level=warn"]
    # What fires before Alertmanager has been found, a few seconds after the start, would be told a minute later.
    words += [f"--rules.alert.resend-delay={interval}"]
    with _running(Prometheus, words, address, folder / "prometheus.log") as server:
        yield server


@contextlib.contextmanager
def alerting(folder: Path, config: Path = ALERTMANAGER_CONFIG) -> Iterator[Alertmanager]:
    """An Alertmanager that runs a config, ended when the block ends.

    Parameters
    ----------
    folder: an empty one for its data and output.
    config: the repository's own, or one that was made of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    words = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}"]
    words += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with _running(Alertmanager, words, address, folder / "alertmanager.log") as server:
        yield server


def derived(
    folder: Path, targets: Mapping[str, str], key: str | None, rules: Path, alertmanager: str | None, interval: str
) -> Path:
    """The repository's config with addresses, intervals and key file replaced; all else is as it is in the repository.

    Returns
    -------
    The new config's path.
    """
    config = yaml.safe_load(CONFIG.read_text())
    config["global"] |= {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    assert config["rule_files"] == ["rules/*.yml"]
    config["rule_files"] = [f"{rules}/*.yml"]
    for job in config["scrape_configs"]:
        target = targets.get(job["job_name"])
        job["static_configs"] = [{"targets": [target]}] if target else []
        if "authorization" in job:
            (folder / "api-key").write_text(key or "none")
            job["authorization"]["credentials_file"] = str(folder / "api-key")
    [manager] = config["alerting"]["alertmanagers"]
    manager["static_configs"] = [{"targets": [alertmanager]}] if alertmanager else []
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def shortened(folder: Path, seconds: int, rules: Path = RULES) -> Path:
    """The repository's rules with every ``for:``, and every window of an expression, cut to so many seconds.

    Thresholds and all else stay. A scrape each second makes windows of a few seconds what those of minutes are to
    one each 15 s, so that a test need not wait for minutes; a subquery takes a step each second. Names of recording
    rules keep the window that they have in the repository.

    Returns
    -------
    The folder with the new rules.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(rules.glob("*.yml")):
        content = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule["expr"] = _cut(rule["expr"], seconds)
                if "for" in rule:
                    rule["for"] = f"{min(3, seconds)}s"
                rule.pop("keep_firing_for", None)
        (folder / path.name).write_text(yaml.safe_dump(content))
    return folder


def _cut(expression: str, seconds: int) -> str:
    """An expression with every window cut."""
    for window, step in _WINDOW.findall(expression):
        expression = expression.replace(f"[{window}{step}]", f"[{seconds}s{':1s' if step else ''}]")
    return expression


def reporting(folder: Path, url: str) -> Path:
    """The repository's Alertmanager config with a webhook for each receiver, and waits of a second; routes stay.

    Parameters
    ----------
    folder: for the new config.
    url: of the webhook; the receiver's name is put behind it.

    Returns
    -------
    The new config's path.
    """
    config = yaml.safe_load(ALERTMANAGER_CONFIG.read_text())
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{url}/{receiver['name']}"}]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def _running(kind: type[Any], words: list[str], address: str, output: Path) -> Iterator[Any]:
    with output.open("ab") as file:
        process = subprocess.Popen(words, cwd=output.parent, env=dict(os.environ), stdout=file, stderr=file)
    server = kind(process, address, output)
    try:
        server.until(server.answers, _START)
        yield server
    finally:
        server.stop()
