"""The dashboards as files: what Grafana would not say, but show as an empty or a broken panel."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.monitoring import grafana
from tests.monitoring.grafana import (
    DASHBOARDS,
    GRAFANA,
    SILENT,
    all_expressions,
    asking,
    load,
    marks,
    panels,
    promtool,
    substituted,
    targets,
    variables,
)

RUNBOOKS = ROOT / "docs" / "runbooks" / "alerts"
KINDS = {"alertlist", "bargauge", "heatmap", "row", "stat", "state-timeline", "table", "timeseries"}
COLUMNS = 24
# Long enough to say what it means and what to look for.
_SHORTEST_DESCRIPTION = 40
_METRIC = re.compile(r"\b(?:ratchet[_:][\w:]+|up)\b")
_COUNTED_BY_STEP = re.compile(r"increase\(.*\[\$__(rate_)?interval\]")
_COUNTED = re.compile(r'(Counter|_BatchHistogram|Gauge)\(\s*"(ratchet_\w+)"')
_SAMPLES = {"Counter": ["_total"], "_BatchHistogram": ["_bucket", "_sum", "_count"], "Gauge": [""]}
_EACH = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def exported() -> dict[str, list[str]]:
    """The metrics in the service's code, and under which names each one's samples are read."""
    code = "".join(path.read_text() for path in sorted((ROOT / "serving").glob("*.py")))
    kinds = {name: kind for kind, name in _COUNTED.findall(code)}
    names = set(re.findall(r'"(ratchet_[a-z_]+)"', code))
    return {name: [name + suffix for suffix in _SAMPLES[kinds.get(name, "Gauge")]] for name in names}


def test_there_are_the_three_dashboards_each_with_an_address_and_a_title_of_its_own() -> None:
    found = {path.stem: (load(path)["uid"], load(path)["title"]) for path in DASHBOARDS}
    assert found == {name: (f"ratchet-{name}", f"Ratchet: {name}") for name in ("loop", "model", "service")}


@_EACH
def test_a_file_is_written_in_one_way_so_that_a_change_is_a_small_difference(path: Path) -> None:
    assert path.read_text() == json.dumps(load(path), indent=2, ensure_ascii=False) + "\n"


@_EACH
def test_panels_have_numbers_and_titles_of_their_own_and_kinds_that_are_current(path: Path) -> None:
    for key in ("id", "title"):
        found = [panel[key] for panel in panels(load(path)) if key == "id" or panel["type"] not in SILENT]
        assert len(found) == len(set(found)), key
    assert {panel["type"] for panel in panels(load(path))} <= KINDS


@_EACH
def test_no_panel_lies_over_another_or_beyond_the_page(path: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in load(path)["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        columns = range(place["x"], place["x"] + place["w"])
        for cell in itertools.product(columns, range(place["y"], place["y"] + place["h"])):
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]} at {cell}"
            taken[cell] = panel["title"]


@_EACH
def test_every_panel_says_what_it_shows_and_in_which_unit(path: Path) -> None:
    for panel in panels(load(path)):
        assert panel["title"]
        if panel["type"] != "row":
            assert len(panel["description"]) >= _SHORTEST_DESCRIPTION, panel["title"]
    for panel in asking(path):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        first, *others = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert first is None, panel["title"]
        assert others == sorted(others), panel["title"]


@_EACH
def test_every_panel_asks_something_of_the_data_source_that_is_chosen(path: Path) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in asking(path):
        assert panel["datasource"] == chosen, panel["title"]
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)), panel["title"]
    for target in (*targets(path), *marks(path)):
        assert target.datasource == chosen, target.where
        assert target.expression.strip(), target.where


@_EACH
def test_every_line_has_a_name_that_no_other_line_of_its_panel_has(path: Path) -> None:
    for panel in asking(path):
        if panel["type"] != "table":
            names = [target["legendFormat"] for target in panel["targets"]]
            assert all(names), panel["title"]
            assert len(names) == len(set(names)), panel["title"]
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"], panel["title"]


@_EACH
def test_what_is_counted_by_the_step_has_steps_of_four_scrapes(path: Path) -> None:
    for panel in asking(path):
        by_step = any(_COUNTED_BY_STEP.search(target["expr"]) for target in panel["targets"])
        assert panel.get("interval") == ("1m" if by_step else None), panel["title"]


@_EACH
def test_every_override_is_of_a_line_that_there_is(path: Path) -> None:
    for panel in asking(path):
        names = {target["legendFormat"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            name = override["matcher"]["options"]
            assert name in names or any("{{" in each for each in names), f"{panel['title']}: {name}"


@_EACH
def test_every_variable_that_is_used_is_defined_and_every_one_that_is_defined_is_used(path: Path) -> None:
    dashboard = load(path)
    defined = [variable["name"] for variable in dashboard["templating"]["list"]]
    parts = {key: value for key, value in dashboard.items() if key != "templating"}
    assert len(defined) == len(set(defined))
    assert variables(parts) - set(grafana.BUILT_IN) == set(defined)
    assert {"datasource", "model"} <= set(defined)


def test_every_metric_that_a_panel_asks_for_is_one_of_the_service_or_of_a_recording_rule() -> None:
    groups = yaml.safe_load((ROOT / "monitoring" / "prometheus" / "rules" / "recording.yml").read_text())["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"]}
    samples = {"up"}.union(recorded, *exported().values())
    for target in all_expressions():
        asked = set(_METRIC.findall(target.expression))
        assert asked <= samples, f"{target.where}: {asked - samples}"


def test_every_metric_that_the_service_has_is_on_a_dashboard() -> None:
    asked = {name for target in all_expressions() for name in _METRIC.findall(target.expression)}
    assert [name for name, samples in exported().items() if not asked.intersection(samples)] == []


def test_every_expression_is_one_that_prometheus_reads(tmp_path: Path) -> None:
    values = {"model": "iris", "drift_limit": "0.5", "__rate_interval": "1m", "__range": "6h", "__interval": "15s"}
    rules = [
        {"record": f"panel:{number}", "expr": substituted(target.expression, values)}
        for number, target in enumerate(all_expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


# What Prometheus has read, one value each 15 s, and whether an annotation marks it so many seconds later.
_TWO_VERSIONS = "1x7 2x12"
_ONE_FAILURE = "0x7 1x12"
_WHILE_NEW = {90: False, 120: True, 165: True, 240: False}
_MARKED = {
    "Version changes": (
        'ratchet_served_version{model="iris", pid="7"}',
        _TWO_VERSIONS,
        _WHILE_NEW,
    ),
    "Promotions and rollbacks": (
        'ratchet_production_version{model="iris"}',
        _TWO_VERSIONS,
        _WHILE_NEW,
    ),
    "Swap failures": ('ratchet_swap_failures_total{reason="package"}', _ONE_FAILURE, _WHILE_NEW),
}


@_EACH
def test_an_annotation_marks_a_change_for_a_minute(path: Path, tmp_path: Path) -> None:
    tests = []
    for target in marks(path):
        series, values, marked = _MARKED[target.where.partition("annotation ")[2]]
        label = 'reason="package"' if "reason" in series else 'model="iris"'
        asked = [
            {
                "expr": f"({substituted(target.expression, {'model': 'iris'})}) > bool 0",
                "eval_time": f"{seconds}s",
                "exp_samples": [{"labels": f"{{{label}}}", "value": 1}] if is_marked else [],
            }
            for seconds, is_marked in marked.items()
        ]
        tests.append(
            {"interval": "15s", "input_series": [{"series": series, "values": values}], "promql_expr_test": asked}
        )
    file = tmp_path / "annotations.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", str(file))


@_EACH
def test_a_dashboard_leads_to_the_others_with_the_model_and_the_time_that_are_chosen(path: Path) -> None:
    dashboard = load(path)
    [others] = [link for link in dashboard["links"] if link["type"] == "dashboards"]
    assert others["includeVars"]
    assert others["keepTime"]
    assert set(others["tags"]) <= set(dashboard["tags"])


@_EACH
def test_a_runbook_that_a_dashboard_leads_to_is_there(path: Path) -> None:
    pages = set(re.findall(r"\$\{repository\}/docs/runbooks/alerts/([\w-]+\.md)", path.read_text()))
    assert pages
    assert pages <= {page.name for page in RUNBOOKS.glob("*.md")}


def test_versions_that_change_are_marked_on_every_dashboard() -> None:
    for path in DASHBOARDS:
        assert any("ratchet_served_version" in target.expression for target in marks(path)), path.stem


def test_the_data_source_is_the_one_that_the_dashboards_begin_with() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    [default] = [source for source in sources if source.get("isDefault")]
    for path in DASHBOARDS:
        variable = next(each for each in load(path)["templating"]["list"] if each["name"] == "datasource")
        assert variable["current"]["value"] == default["uid"] == "prometheus"
        lists = [panel for panel in panels(load(path)) if panel["type"] == "alertlist"]
        assert all(panel["options"]["datasource"] == default["name"] for panel in lists)
    prometheus = yaml.safe_load((ROOT / "monitoring" / "prometheus" / "prometheus.yml").read_text())
    assert default["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]


def test_grafana_finds_the_dashboards_and_opens_with_one_of_them() -> None:
    [provider] = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "ratchet.yml").read_text())["providers"]
    assert provider["folder"] == "Ratchet"
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    home = Path(compose["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    places = dict(volume.split(":")[:2] for volume in compose["volumes"])
    assert places["./monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert places["./monitoring/grafana/dashboards"] == provider["options"]["path"]
    assert str(home.parent) == provider["options"]["path"]
    assert home.name in {path.name for path in DASHBOARDS}


@_EACH
def test_a_single_figure_is_of_this_moment_and_says_so_where_there_is_none(path: Path) -> None:
    for panel in (panel for panel in asking(path) if panel["type"] == "stat"):
        assert all(target["instant"] and not target["range"] for target in panel["targets"]), panel["title"]
        assert panel["options"]["graphMode"] == "none", panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"] in ("no data", "service down"), panel["title"]
