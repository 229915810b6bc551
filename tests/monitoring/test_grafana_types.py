"""The dashboards against the types that Grafana publishes for its own panels, read by the TypeScript compiler."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring import grafana
from tests.monitoring.grafana import DASHBOARDS, GRAFANA, load, panels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Grafana's published types and a compiler that knows them."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on this machine, and Grafana's types are one of its packages")
    return grafana.compiler(tmp_path_factory.mktemp("grafana-types"))


@pytest.mark.parametrize("version", sorted(grafana.SCHEMAS))
def test_the_dashboards_are_of_the_types_that_grafana_publishes(types: Path, version: str) -> None:
    assert grafana.complaints(types, version, *map(load, DASHBOARDS)) == []


def first(dashboard: dict[str, Any], kind: str) -> Any:
    return next(panel for panel in panels(dashboard) if panel["type"] == kind)


MISTAKES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an option that there is not": lambda made: first(made, "stat")["options"].update(colour="value"),
    "a value that there is not": lambda made: first(made, "stat")["options"].update(graphMode="sparkline"),
    "a field that there is not": lambda made: first(made, "timeseries")["fieldConfig"]["defaults"]["custom"].update(
        x=1
    ),
    "an option left out": lambda made: first(made, "timeseries")["options"].pop("legend"),
    "a query without an expression": lambda made: first(made, "timeseries")["targets"][0].pop("expr"),
    "a width in quotes": lambda made: first(made, "heatmap")["gridPos"].update(w="8"),
    "a unit that there is not": lambda made: first(made, "stat")["fieldConfig"]["defaults"].update(unit="requests"),
    "an override of nothing": lambda made: first(made, "timeseries")["fieldConfig"]["overrides"].append(
        {"matcher": {"id": "byName", "options": "a"}, "properties": [{"id": "custom.lineWith", "value": 1}]}
    ),
    "a variable of no kind": lambda made: made["templating"]["list"][0].update(type="querry"),
    "the rows of old dashboards": lambda made: made.update(rows=[]),
    "a panel of an old kind": lambda made: first(made, "timeseries").update(type="graph"),
}


def test_a_mistake_in_a_dashboard_is_one_against_the_types(types: Path) -> None:
    good = load(GRAFANA / "dashboards" / "service.json")
    wrong = []
    for number, mistake in enumerate(MISTAKES.values()):
        made = copy.deepcopy(good) | {"uid": f"mistake-{number}"}
        mistake(made)
        wrong.append(made)
    found = {line.partition("(")[0] for line in grafana.complaints(types, "12", *wrong)}
    assert found == {f"dashboard-mistake-{number}.ts" for number in range(len(MISTAKES))}
