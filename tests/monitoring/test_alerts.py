"""Each alert is made to fire by its fault, on a real service, a real Prometheus and a real Alertmanager.

The rules are the repository's with ``for:`` and windows cut by ``shortened``; thresholds stay as they are. Four faults
are not the real ones, which would take longer than a test may:

- RatchetWatcherSilent: the watcher and its death are real; that five minutes have gone by since is not. Its last look
  is set back in the store.
- RatchetDrift, RatchetQualityDrop and RatchetLabelBias: the verdicts are written by the functions that triggers write
  them with; no stream of rows has really drifted, and no labels are biased.
- RatchetTrainingFailed: the run is opened and ended as the pipeline does it; no pipeline runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.loop.heartbeat import beat, last_beat
from ratchet.loop.training_runs import TrainingRuns
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.store.tables import heartbeats
from tests.conftest import ROOT
from tests.fitted import Trained
from tests.locks import locked
from tests.monitoring import prometheus
from tests.monitoring.prometheus import Alertmanager, Prometheus, alerting, reporting, running, shortened
from tests.monitoring.webhook import Webhook, receiving
from tests.monitoring.world import KEY, store_label_check, store_verdict, under_load, until_served
from tests.serving.conftest import published
from tests.serving.running import Service, environment, serving
from tests.serving.test_faults import artifact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WINDOW = 8  # seconds, for windows of minutes
PATIENCE = 60.0
# A busy machine is enough to make this one fire; the locked store makes it fire in a test of its own.
OF_THE_MACHINE = {"RatchetLatencyP99"}
SMALL = 128 * 2**20  # bytes of a disk that can be filled in a moment


@dataclass
class Watched:
    """A service that is scraped, and whoever is told of its faults."""

    settings: Settings
    pointer: ProductionPointer
    store: Store
    service: Service
    prometheus: Prometheus
    alertmanager: Alertmanager
    webhook: Webhook

    @property
    def model(self) -> str:
        return self.pointer.model

    def fires(self, name: str, **labels: str) -> None:
        """Wait until an alert with these labels fires."""
        self.prometheus.until(lambda: self._firing(name, labels), PATIENCE)

    def ends(self, name: str) -> None:
        """Wait until an alert fires no more."""
        self.prometheus.until(lambda: not self.prometheus.firing(name), PATIENCE)

    def judged_anew(self, name: str) -> None:
        """Wait until the service was scraped three times from now on, and an alert was judged after that."""
        begun, scrapes = time.time(), set[float]()

        def scraped() -> bool:
            scrapes.update(sample.value for sample in self.prometheus.query('timestamp(up{job="ratchet"})'))
            return sum(scrape > begun for scrape in scrapes) >= 3

        self.prometheus.until(scraped, PATIENCE)
        # The second that ends from now on is the first that surely began from now on.
        before, ends = self.prometheus.judged(name), set[str]()

        def judged() -> bool:
            ends.add(self.prometheus.judged(name))
            return len(ends - {before}) >= 2

        self.prometheus.until(judged, PATIENCE)

    def _firing(self, name: str, labels: dict[str, str]) -> bool:
        return any(labels.items() <= alert["labels"].items() for alert in self.prometheus.firing(name))

    def notifies(self, receiver: str, name: str, status: str = "firing") -> None:
        """Wait until a receiver was told of an alert."""
        self.prometheus.until(lambda: self.webhook.alerts(f"/{receiver}", name, status), PATIENCE)

    def silenced(self, name: str) -> None:
        """Wait until Alertmanager knows of an alert, and keeps it to itself since another one says why."""
        self.prometheus.until(lambda: self._inhibited(name), PATIENCE)

    def _inhibited(self, name: str) -> bool:
        found = [alert for alert in self.alertmanager.alerts() if alert["labels"]["alertname"] == name]
        return bool(found) and all(alert["status"]["inhibitedBy"] for alert in found)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home; where this may be done, on a small disk of its own, so that the disk can be filled."""
    folder = tmp_path_factory.mktemp("watched") / "home"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def watched(
    tools: None, home: Path, models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A strict service under load, on the first of four versions, with nobody's alert firing; each test mends it."""
    folder = tmp_path_factory.mktemp("alerts")
    settings = Settings(home=home, models_dir=folder / "models")
    pointer = published(settings, models[0], models[1], models[0], models[1])
    store = open_store(settings)
    env = {"RATCHET_API_KEYS": KEY, "RATCHET_POLL_INTERVAL": "0.5", "RATCHET_DURABILITY": "strict"}
    with ExitStack() as stack:
        service = stack.enter_context(serving(settings, pointer.model, folder / "service.log", **env))
        webhook = stack.enter_context(receiving())
        manager = stack.enter_context(alerting(folder / "am", reporting(folder / "am", webhook.url)))
        targets = {"ratchet": f"127.0.0.1:{service.port}", "alertmanager": manager.address}
        rules = shortened(folder / "rules", WINDOW)
        scraper = stack.enter_context(
            running(folder / "prometheus", targets, key=KEY, rules=rules, alertmanager=manager.address)
        )
        stack.enter_context(under_load(service, folder))
        made = Watched(settings, pointer, store, service, scraper, manager, webhook)
        scraper.until(lambda: scraper.query("ratchet:errors:ratio_rate5m == 0"))
        # Before the first scrapes, and while caches are cold, an alert can fire for a moment.
        scraper.until(lambda: firing(made) - OF_THE_MACHINE == {"RatchetWatchdog"})
        yield made
    store.engine.dispose()


def test_while_nothing_is_wrong_only_the_watchdog_fires_and_alertmanager_is_scraped_too(watched: Watched) -> None:
    begun = datetime.now(UTC)
    watched.prometheus.until(lambda: len(watched.prometheus.query("up == 1")) == 3)
    watched.notifies("watchdog", "RatchetWatchdog")
    watched.judged_anew("RatchetServiceDown")
    assert firing(watched) - OF_THE_MACHINE == {"RatchetWatchdog"}
    told = [(path, alert) for path, content in watched.webhook.received for alert in content["alerts"]]
    assert {path for path, alert in told if alert["labels"]["alertname"] == "RatchetWatchdog"} == {"/watchdog"}
    new = {alert["labels"]["alertname"] for _, alert in told if datetime.fromisoformat(alert["startsAt"]) > begun}
    assert new <= OF_THE_MACHINE


def firing(watched: Watched) -> set[str]:
    """The names of the alerts that fire."""
    return {alert["labels"]["alertname"] for alert in watched.prometheus.alerts() if alert["state"] == "firing"}


def test_a_store_that_is_locked_fires_an_alert_that_inhibits_those_of_its_effects(
    watched: Watched,
) -> None:
    with locked(watched.settings):
        watched.fires("RatchetStoreDown")
        watched.fires("RatchetErrorRate")
        watched.fires("RatchetLatencyP99", route="/predict")
        watched.notifies("page", "RatchetStoreDown")
        watched.silenced("RatchetErrorRate")
        watched.silenced("RatchetLatencyP99")
    for name in ("RatchetStoreDown", "RatchetErrorRate", "RatchetLatencyP99"):
        watched.ends(name)


def test_a_package_that_cannot_be_loaded_fires_while_the_old_version_is_served(watched: Watched) -> None:
    model = artifact(watched.settings, watched.model, "2", "model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    by_hand = ProductionPointer(watched.settings, watched.model)  # without the check that would refuse it
    by_hand.promote("2", "by hand", "test")
    watched.fires("RatchetSwapFailure", reason="package")
    watched.fires("RatchetVersionSkew", model=watched.model)
    watched.notifies("ticket", "RatchetSwapFailure")
    watched.silenced("RatchetVersionSkew")
    by_hand.promote("3", "fixed", "test")
    until_served(watched.service, "3")
    watched.ends("RatchetSwapFailure")
    watched.ends("RatchetVersionSkew")


def test_a_window_that_has_drifted_fires_until_a_newer_one_has_not(watched: Watched) -> None:
    store_verdict(watched.store, watched.model, "3", drifted=True)
    watched.fires("RatchetDrift", model=watched.model, version="3")
    watched.notifies("ticket", "RatchetDrift")
    store_verdict(watched.store, watched.model, "3")
    watched.ends("RatchetDrift")
    watched.notifies("ticket", "RatchetDrift", "resolved")


def test_a_fall_of_live_quality_fires_until_another_version_goes_in(watched: Watched) -> None:
    store_verdict(watched.store, watched.model, "3", dropped=True)
    watched.fires("RatchetQualityDrop", model=watched.model, version="3")
    watched.pointer.promote("4", "better", "test")
    watched.ends("RatchetQualityDrop")
    until_served(watched.service, "4")


def test_biased_labels_fire_until_an_audit_sample_counts(watched: Watched) -> None:
    store_label_check(watched.store, watched.model, "none")
    watched.fires("RatchetLabelBias", model=watched.model)
    store_label_check(watched.store, watched.model, "audit")
    watched.ends("RatchetLabelBias")


def test_a_run_that_failed_fires_until_one_succeeds(watched: Watched) -> None:
    runs = TrainingRuns(watched.store, watched.model)
    for mark, state in ((0, "failed"), (1, "refused")):
        run = runs.open(mark, "config", "a test")
        assert run is not None
        runs.end(run, state, "so it went")  # type: ignore[arg-type]
        if state == "failed":
            watched.fires("RatchetTrainingFailed", model=watched.model)
    watched.ends("RatchetTrainingFailed")


def test_a_watcher_that_was_killed_is_missed(watched: Watched, tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "run.py"), "watch", "--config", "continuous_training.yaml"]
    words += ["--set", f"model={watched.model}", "--set", "triggers.interval=0.5"]
    with (tmp_path / "watch.log").open("wb") as log:
        watcher = subprocess.Popen(words, cwd=ROOT, env=environment(watched.settings), stdout=log, stderr=log)
    try:
        watched.prometheus.until(
            lambda: watched.prometheus.query("changes(ratchet_watch_timestamp_seconds[10s]) > 2"), 90
        )
        assert not watched.prometheus.firing("RatchetWatcherSilent")
    finally:
        watcher.send_signal(signal.SIGKILL)
        watcher.wait(30)
    found = last_beat(watched.store, watched.model)
    assert found is not None
    assert found.interval == 0.5
    with watched.store.transaction() as connection:
        connection.execute(sa.update(heartbeats).values(looked_at=time.time() - 301))
    watched.fires("RatchetWatcherSilent", model=watched.model)
    # A single look does not stand in for the watcher; the runbook's word that there is to be none ends it.
    beat(watched.store, watched.model, 0.0)
    watched.judged_anew("RatchetWatcherSilent")
    assert watched.prometheus.firing("RatchetWatcherSilent")
    with watched.store.transaction() as connection:
        connection.execute(sa.delete(heartbeats).where(heartbeats.c.model == watched.model))
    watched.ends("RatchetWatcherSilent")


def test_a_home_with_less_than_a_tenth_left_fires_before_it_is_full(watched: Watched) -> None:
    if not os.path.ismount(watched.settings.home):
        pytest.skip("a disk that may be filled cannot be mounted here")
    found = os.statvfs(watched.settings.home)
    left = 0.08 * found.f_blocks * found.f_frsize
    ballast = watched.settings.home / "ballast"
    ballast.write_bytes(bytes(int(found.f_bavail * found.f_frsize - left)))
    try:
        watched.fires("RatchetDiskFull", path="home")
        assert not watched.prometheus.firing("RatchetErrorRate")
    finally:
        ballast.unlink()
    watched.ends("RatchetDiskFull")


def test_a_killed_service_fires_at_once_and_alone(watched: Watched) -> None:
    """The last one: nothing is left of the service."""
    store_verdict(watched.store, watched.model, "4", drifted=True)
    watched.fires("RatchetDrift")
    watched.service.kill()
    watched.fires("RatchetServiceDown", instance=f"127.0.0.1:{watched.service.port}")
    watched.notifies("page", "RatchetServiceDown")
    [alert] = watched.webhook.alerts("/page", "RatchetServiceDown")[:1]
    assert alert["annotations"]["runbook"] == "docs/runbooks/alerts/service-down.md"
    assert not watched.webhook.alerts("/nobody", "RatchetServiceDown")
    watched.ends("RatchetDrift")
    watched.prometheus.until(lambda: firing(watched) == {"RatchetServiceDown", "RatchetWatchdog"}, PATIENCE)


def test_a_service_that_is_down_keeps_its_own_alerts_quiet_and_no_others(tools: None, tmp_path: Path) -> None:
    def alert(name: str, severity: str, **more: str) -> dict[str, str]:
        return {"alertname": name, "severity": severity, "job": "ratchet", **more}

    down, quiet = {"instance": "a:8000"}, {"RatchetErrorRate", "RatchetLatencyP99", "RatchetSwapFailure"}
    with alerting(tmp_path) as manager:
        manager.post(
            alert("RatchetServiceDown", "page", **down),
            alert("RatchetServiceDown", "page", instance="c:8000"),
            alert("RatchetDrift", "ticket", model="iris"),
            alert("RatchetWatchdog", "none", **down),
            *(alert(name, "page", instance=instance) for name in quiet for instance in ("a:8000", "b:8000")),
        )
        manager.until(lambda: len(silent(manager)) == len(quiet))
        assert silent(manager) == {(name, "a:8000") for name in quiet}


def silent(manager: Alertmanager) -> set[tuple[str, str]]:
    """Names and instances of the alerts that another one keeps quiet."""
    found = [alert for alert in manager.alerts() if alert["status"]["inhibitedBy"]]
    return {(alert["labels"]["alertname"], alert["labels"].get("instance", "")) for alert in found}


def test_where_nothing_is_scraped_the_service_counts_as_down(tools: None, tmp_path: Path) -> None:
    rules = shortened(tmp_path / "rules", WINDOW)
    with prometheus.running(tmp_path / "prometheus", {}, rules=rules) as alone:
        alone.until(lambda: alone.firing("RatchetServiceDown"))
        [alert] = alone.firing("RatchetServiceDown")
        assert "any instance of the service" in alert["annotations"]["description"]
