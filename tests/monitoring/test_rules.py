"""Prometheus' rules and Alertmanager's routes: valid, tried on made-up series, explained, and on metrics that exist."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.monitoring.prometheus import ALERTMANAGER_CONFIG, MONITORING, RULES, derived
from tests.monitoring.world import World

RULE_TESTS = sorted((MONITORING / "prometheus" / "tests").glob("*.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks" / "alerts"
NAMES = (
    "RatchetServiceDown",
    "RatchetErrorRate",
    "RatchetLatencyP99",
    "RatchetSwapFailure",
    "RatchetVersionSkew",
    "RatchetDrift",
    "RatchetQualityDrop",
    "RatchetLabelBias",
    "RatchetWatcherSilent",
    "RatchetDiskFull",
    "RatchetStoreDown",
    "RatchetJournalBadRows",
    "RatchetMovedOutside",
    "RatchetTrainingFailed",
)
WATCHDOG = "RatchetWatchdog"  # no fault: it always fires, so that its silence is one


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file."""
    content = yaml.safe_load((RULES / f"{name}.yml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def kebab(alert: str) -> str:
    """The page of an alert: RatchetServiceDown's is service-down."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", alert.removeprefix("Ratchet")).lower()


@functools.cache
def cases() -> list[tuple[str, bool]]:
    """The alerts that are tried on made-up series, and whether they have to fire there."""
    return [
        (case["alertname"], bool(case["exp_alerts"]))
        for path in RULE_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]


ALERTS = {rule["alert"]: rule for rule in rules("alerts")}
by_alert = pytest.mark.parametrize("name", [*NAMES, WATCHDOG])


def run(*words: str | Path) -> str:
    """What a checker says; it has to be content."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("tools")
def test_prometheus_takes_its_config(tmp_path: Path) -> None:
    """With the key's file and the rules in other places, since promtool looks for them."""
    config = derived(tmp_path, {"ratchet": "api:8000"}, "key", RULES, "alertmanager:9093", "15s")
    assert "SUCCESS" in run("promtool", "check", "config", config)


@pytest.mark.usefixtures("tools")
def test_prometheus_takes_every_rule() -> None:
    assert "FAILED" not in run("promtool", "check", "rules", *RULES.glob("*.yml"))


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_each_alert_fires_when_it_has_to_and_keeps_still_when_it_has_not(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", path)


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("with_examples", [False, True], ids=["as_it_is", "with_its_examples"])
def test_alertmanager_takes_its_config(with_examples: bool, tmp_path: Path) -> None:
    text = ALERTMANAGER_CONFIG.read_text()
    if with_examples:
        before, receivers = text.split("\nreceivers:\n")
        text = f"{before}\nreceivers:\n{re.sub('^    # ', '    ', receivers, flags=re.MULTILINE)}"
        filled = {each["name"]: each for each in yaml.safe_load(text)["receivers"]}
        assert "slack_configs" in filled["ticket"]
        assert "webhook_configs" in filled["watchdog"]
    (tmp_path / "alertmanager.yml").write_text(text)
    assert "SUCCESS" in run("amtool", "check-config", tmp_path / "alertmanager.yml")


@pytest.mark.usefixtures("tools")
@by_alert
def test_each_alert_goes_to_the_receiver_of_its_severity(name: str) -> None:
    labels = {**ALERTS[name]["labels"], "alertname": name, "job": "ratchet"}
    words = [f"{key}={value}" for key, value in labels.items()]
    said = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER_CONFIG}", *words)
    assert said.strip() == ("watchdog" if name == WATCHDOG else labels["severity"])


def test_the_watchdog_repeats_each_five_minutes_and_no_other_alert_inhibits_it() -> None:
    config = yaml.safe_load(ALERTMANAGER_CONFIG.read_text())
    [route] = [route for route in config["route"]["routes"] if route["receiver"] == "watchdog"]
    assert route["repeat_interval"] == "5m"
    for rule in config["inhibit_rules"]:
        assert not all(matches(matcher, WATCHDOG) for matcher in rule["target_matchers"]), rule


def matches(matcher: str, name: str) -> bool:
    """Whether a matcher of Alertmanager on the alert's name holds for a name."""
    found = re.fullmatch(r'alertname(=~|!~|!=|=)"(.*)"', matcher)
    assert found, matcher
    operator, pattern = found.groups()
    fits = bool(re.fullmatch(pattern, name)) if "~" in operator else pattern == name
    return fits != operator.startswith("!")


def test_there_are_the_alerts_that_are_promised_and_no_others() -> None:
    assert sorted(ALERTS) == sorted([*NAMES, WATCHDOG])
    assert len(rules("alerts")) == len(ALERTS)


@by_alert
def test_each_alert_says_how_urgent_it_is_what_it_is_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in (("none",) if name == WATCHDOG else ("page", "ticket"))
    assert ("for" in rule) == (name != WATCHDOG)
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    assert annotations["runbook"] == f"docs/runbooks/alerts/{kebab(name)}.md"


@by_alert
def test_each_alert_has_a_page_that_names_it_and_is_listed(name: str) -> None:
    page = RUNBOOKS / f"{kebab(name)}.md"
    text = page.read_text()
    assert name in text
    for section in ("## What it means", "## What users feel", "## Look first", "## What to do", "## It is over when"):
        assert section in text, f"{page.name} lacks {section!r}"
    assert f"]({page.name})" in (RUNBOOKS / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name: str) -> None:
    assert {fires for alert, fires in cases() if alert == name} == {True, False}


def test_the_watchdog_alone_has_no_case_in_which_it_does_not_fire() -> None:
    """By design: it fires without any series, at the first evaluation."""
    assert {fires for alert, fires in cases() if alert == WATCHDOG} == {True}


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {kebab(name) for name in ALERTS}


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(ratchet[_:][a-z0-9_:]+|up)\b(?!\s*=)", bare))


@pytest.mark.slow
def test_each_rule_is_on_metrics_that_the_service_has(world: World) -> None:
    used = set().union(*(metrics_in(rule["expr"]) for rule in [*rules("alerts"), *rules("recording")]))
    assert len(used) > 15
    assert used <= world.prometheus.names()


@pytest.mark.slow
def test_the_reference_has_each_metric_with_its_labels(world: World) -> None:
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    told = {row[1]: row[0] for row in re.finditer(r"^\| `([a-z0-9_:]+)` \|.*$", text, re.MULTILINE)}
    for name in sorted(name for name in world.prometheus.names() if name.startswith("ratchet")):
        row = told[re.sub("_(bucket|sum|count)$", "", name)]
        for label in world.prometheus.query(name)[0].labels.keys() - {"__name__", "job", "instance", "le"}:
            assert f"`{label}" in row, f"{name} lacks {label}"


@pytest.mark.slow
@pytest.mark.parametrize("rule", rules("recording"), ids=lambda rule: rule["record"])
def test_each_recorded_figure_has_data_on_a_service_under_load(world: World, rule: dict[str, Any]) -> None:
    world.prometheus.until(lambda: world.prometheus.query(rule["record"]))
    assert all(sample.value == sample.value for sample in world.prometheus.query(rule["record"]))


@pytest.mark.slow
def test_a_request_that_is_refused_for_its_key_is_counted_and_not_timed(world: World) -> None:
    route = 'route="/predict"'
    refused = f'sum(ratchet_requests_total{{{route}, status="401"}})'
    for _ in range(5):
        assert world.service.post("/predict", {}, x_api_key="wrong")[0] == 401
    world.prometheus.until(lambda: world.prometheus.query(f"{refused} >= 5"))
    others = f'sum(ratchet_requests_total{{{route}, status!="401"}})'
    timed = f"sum(ratchet_request_seconds_count{{{route}}})"
    world.prometheus.until(lambda: world.prometheus.query(f"{timed} == {others} > 0"))


@pytest.mark.slow
def test_on_a_service_that_is_well_nothing_fires_but_the_watchdog(world: World) -> None:
    """The rules as they are; ``for:`` aside, nothing has been wrong since the version settled."""
    health = world.prometheus.get("/api/v1/rules")["data"]["groups"]
    found = [rule for group in health for rule in group["rules"]]
    assert {rule["name"] for rule in found} >= set(NAMES)
    world.prometheus.until(lambda: rule_health(world) == "ok")
    assert [a["labels"]["alertname"] for a in world.prometheus.alerts() if a["state"] == "firing"] == [WATCHDOG]


def rule_health(world: World) -> str:
    """``ok`` where each rule was evaluated without an error."""
    groups = world.prometheus.get("/api/v1/rules")["data"]["groups"]
    return ",".join(sorted({rule["health"] for group in groups for rule in group["rules"]}))
