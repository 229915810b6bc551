"""What the panels show of a service that is down, idle or not yet judged, by Prometheus's own reading of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.monitoring.grafana import DASHBOARDS, Target, marks, promtool, substituted, targets

# A panel's steps are of a minute where it counts by them; Grafana then makes a scrape more of $__rate_interval.
STEP, SCRAPE = 60, 15
VARIABLES = {"model": "iris", "drift_limit": "0.5", "__interval": "15s", "__rate_interval": "1m", "__range": "1h"}


def every_panel() -> dict[str, Target]:
    """All that panels ask, by dashboard, panel and letter."""
    return {target.where: target for path in DASHBOARDS for target in targets(path)}


def judged(tmp_path: Path, series: dict[str, str], expected: dict[str, list[float]], labels: str = "{}") -> str:
    """What promtool says of panels that should show these values, after two minutes of these series."""
    expressions = {where: target.expression for where, target in every_panel().items()}
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


def test_a_service_without_requests_has_no_errors(tmp_path: Path) -> None:
    panels_of_zero = ("Requests / A", "Errors / A", "Error share / A", "Error share / B", "Error share / C")
    expected = {f"service / {panel}": [0.0] for panel in panels_of_zero}
    assert "SUCCESS" in judged(tmp_path, {'up{job="ratchet"}': "1x20"}, expected)


def test_what_happened_in_the_loop_is_no_number_while_the_store_cannot_be_read(tmp_path: Path) -> None:
    """The service answers; 0 promotions would be a tale."""
    read_elsewhere = ("Feedback rate / A",)  # counted by the workers
    asked = [target.where for path in DASHBOARDS if path.stem == "loop" for target in targets(path)]
    expected: dict[str, list[float]] = {where: [] for where in asked if not where.endswith(read_elsewhere)}
    assert {"loop / Promotions / A", "loop / Rollbacks / A"} <= set(expected)
    assert "SUCCESS" in judged(tmp_path, {'up{job="ratchet"}': "1x20"}, expected)
    known = {f'ratchet_promotions{{model="iris", kind="{kind}"}}': "0x20" for kind in ("promote", "rollback")}
    none_yet = {"loop / Promotions / A": [0.0], "loop / Rollbacks / A": [0.0]}
    assert "SUCCESS" in judged(tmp_path, {'up{job="ratchet"}': "1x20", **known}, none_yet)


_FEEDBACK = 'ratchet_feedback_total{model="iris", source="user", status="recorded", version="1"}'


@pytest.mark.parametrize(
    ("where", "series", "labels", "value", "none"),
    [
        ("service / Errors by kind", 'ratchet_errors_total{kind="input"}', '{kind="input"}', 1.0, '{kind="none"}'),
        (
            "service / Status by route",
            'ratchet_requests_total{route="/predict", status="422"}',
            '{route="/predict", status="422"}',
            1.0,
            '{route="none", status="-"}',
        ),
        ("model / Feedback by status", _FEEDBACK, '{status="recorded"}', 1.0, '{status="none"}'),
        ("model / Feedback in the time shown", _FEEDBACK, '{status="recorded"}', 120.0, '{status="none"}'),
        (
            "model / Feedback by source",
            _FEEDBACK,
            '{source="user", status="recorded", version="1"}',
            120.0,
            '{status="none"}',
        ),
    ],
    ids=["errors", "routes", "feedback", "feedback_shown", "feedback_by_source"],
)
def test_a_line_named_none_is_there_only_where_no_other_is(
    tmp_path: Path, where: str, series: str, labels: str, value: float, none: str
) -> None:
    up = {'up{job="ratchet"}': "1x20"}
    assert "SUCCESS" in judged(tmp_path, up, {f"{where} / A": [0.0]}, none)
    assert "SUCCESS" in judged(tmp_path, up | {series: "0+15x20"}, {f"{where} / A": [value]}, labels)


def scrapes(before: int, after: int, first: int, changes: int) -> str:
    """Eight minutes of a counter that is read each 15 s and rises once; a value, or none, for each second.

    Parameters
    ----------
    first: the second of the first scrape.
    changes: the second from which on scrapes read the new value.
    """
    read = (str(before if second < changes else after) for second in range(8 * STEP))
    return " ".join(value if second % SCRAPE == first else "_" for second, value in enumerate(read))


@pytest.mark.parametrize(
    ("where", "series", "rise", "least", "most"),
    [
        ("service / Swaps and failures / A", 'ratchet_swaps_total{model="iris"}', (2, 4), 2.0, 2.5),
        ("service / Swaps and failures / B", 'ratchet_swap_failures_total{reason="package"}', (0, 1), 1.0, 1.25),
        ("service / annotation Swap failures", 'ratchet_swap_failures_total{reason="package"}', (0, 1), 1.0, 1.25),
    ],
    ids=["swaps", "failures", "annotation"],
)
def test_what_happens_once_is_shown_once_whenever_it_happens_between_two_scrapes(
    tmp_path: Path, where: str, series: str, rise: tuple[int, int], least: float, most: float
) -> None:
    """Wherever the scrapes lie in a step of a minute, and the rise among them.

    A scrape in the very moment of a step would belong to two of them, so that the first is never at 0.
    """
    found = every_panel() | {mark.where: mark for path in DASHBOARDS for mark in marks(path)}
    values = VARIABLES | {"__interval": f"{STEP}s", "__rate_interval": f"{STEP + SCRAPE}s"}
    shown = f"sum({substituted(found[where].expression, values)})"
    asked = [
        {"expr": expression, "eval_time": "7m", "exp_samples": [{"labels": "{}", "value": 1}]}
        for expression in (
            f"count_over_time(({shown} > 0)[4m:{STEP}s])",
            f"max_over_time({shown}[4m:{STEP}s]) >= bool {least}",
            f"max_over_time({shown}[4m:{STEP}s]) <= bool {most}",
        )
    ]
    tests = [
        {
            "interval": "1s",
            "input_series": [{"series": series, "values": scrapes(*rise, first, changes)}],
            "promql_expr_test": asked,
        }
        for first in (1, 7, 14)
        for changes in range(4 * STEP, 5 * STEP, SCRAPE)
    ]
    file = tmp_path / "figures.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_the_figure_of_errors_is_of_the_requests_that_the_alert_judges(tmp_path: Path) -> None:
    counted = {"401": 1500, "200": 45, "503": 15}
    series = {
        f'ratchet_requests_total{{route="/predict", status="{status}"}}': f"0+{n}x20" for status, n in counted.items()
    }
    assert "SUCCESS" in judged(tmp_path, series, {"service / Errors / A": [0.25]})


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
