"""What the panels show of a service that is down, idle or not yet judged, by Prometheus's own reading of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.monitoring.grafana import DASHBOARDS, promtool, substituted, targets

VARIABLES = {"model": "iris", "drift_limit": "0.5", "__interval": "15s", "__rate_interval": "1m", "__range": "1h"}


def judged(tmp_path: Path, series: dict[str, str], expected: dict[str, list[float]], labels: str = "{}") -> str:
    """What promtool says of panels that should show these values, after two minutes of these series."""
    expressions = {target.where: target.expression for path in DASHBOARDS for target in targets(path)}
    asked = [
        {
            "expr": substituted(expressions[where], VARIABLES),
            "eval_time": "2m",
            "exp_samples": [{"labels": labels, "value": value} for value in values],
        }
        for where, values in expected.items()
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    file = tmp_path / "figures.yml"
    test = {"interval": "15s", "input_series": inputs, "promql_expr_test": asked}
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    return promtool("test", "rules", str(file))


def test_nothing_is_a_number_where_the_service_is_down(tmp_path: Path) -> None:
    """But for what says that it is down, and a limit, which is no figure of the service's."""
    known = {'min(up{job="ratchet"})': [0.0], "vector($drift_limit)": [0.5]}
    asked = [target for path in DASHBOARDS for target in targets(path)]
    expected = {target.where: known.get(target.expression, []) for target in asked}
    assert sum(map(len, expected.values())) == 3
    assert "SUCCESS" in judged(tmp_path, {'up{job="ratchet"}': "0x20"}, expected)


def test_a_service_that_nobody_asks_has_no_errors(tmp_path: Path) -> None:
    panels_of_zero = ("Requests / A", "Errors / A", "Error share / A", "Error share / B", "Error share / C")
    expected = {f"service / {panel}": [0.0] for panel in panels_of_zero}
    assert "SUCCESS" in judged(tmp_path, {'up{job="ratchet"}': "1x20"}, expected)


@pytest.mark.parametrize(("version", "shown"), [("2", [1.0]), ("1", [])])
def test_a_verdict_is_shown_only_of_the_version_in_production(tmp_path: Path, version: str, shown: list[float]) -> None:
    labels = f'model="iris", version="{version}"'
    series = {
        'ratchet_production_version{model="iris"}': "2x20",
        f"ratchet_live_quality_dropped{{{labels}}}": "1x20",
        f"ratchet_drift_share{{{labels}}}": "1x20",
        f"ratchet_drift_detected{{{labels}}}": "1x20",
    }
    expected = {f"model / {title} / A": shown for title in ("Quality verdict", "Drift share", "Drift verdict")}
    assert "SUCCESS" in judged(tmp_path, series, expected)
    quality = {f'ratchet_live_quality{{{labels}, metric="f1", figure="value"}}': "1x20"}
    named = judged(tmp_path, series | quality, {"model / Live quality / A": shown}, '{metric="f1"}')
    assert "SUCCESS" in named


@pytest.mark.parametrize(("interval", "line"), [(0, []), (10, [300.0]), (60, [600.0])])
def test_a_watcher_that_promises_no_look_has_no_line_of_the_alert(
    tmp_path: Path, interval: int, line: list[float]
) -> None:
    series = {'ratchet_watch_interval_seconds{model="iris"}': f"{interval}x20"}
    assert "SUCCESS" in judged(tmp_path, series, {"loop / Looks of the watcher / B": line})


def test_a_run_that_is_open_has_not_ended(tmp_path: Path) -> None:
    series = {'ratchet_training_run_timestamp_seconds{model="iris", state="open"}': "1x20"}
    expected: dict[str, list[float]] = {"loop / Newest runs / A": [], "loop / Age of the newest runs / A": []}
    assert "SUCCESS" in judged(tmp_path, series, expected)
