"""Every panel of every dashboard, asked of a real Prometheus that scrapes a real service under load."""

from __future__ import annotations

import math
import re
import time
from typing import Any, NamedTuple

import pytest

from tests.monitoring import grafana
from tests.monitoring.grafana import DASHBOARDS, Target, load, substituted
from tests.monitoring.world import World
from tests.serving.running import wait_until

pytestmark = pytest.mark.slow

PANELS = [target for path in DASHBOARDS for target in grafana.targets(path)]
ANNOTATIONS = [target for path in DASHBOARDS for target in grafana.marks(path)]
_LABEL = re.compile(r"{{\s*(\w+)\s*}}")
# Until a panel shows what has happened; a machine with other work may miss a scrape or two.
_SECONDS = 60.0


class Line(NamedTuple):
    """A line of a panel: its labels and its values, without gaps."""

    labels: dict[str, str]
    values: list[float]


def as_grafana_asks(world: World, target: Target, now: float) -> str:
    """A target's expression with the variables that Grafana would put in for the time since the world began.

    Prometheus scrapes this service each second. The least that Grafana makes of that for ``$__rate_interval`` is four
    seconds; this is what it makes of it on a longer span, so that a busy machine may miss a scrape.
    """
    values = {"model": world.model, "drift_limit": "0.5"}
    values |= {"__interval": "14s", "__rate_interval": "15s", "__range": f"{math.ceil(now - world.began)}s"}
    return substituted(target.expression, values)


def shown(world: World, target: Target) -> list[Line]:
    """The lines that a target shows, of those values that are numbers."""
    now = time.time()
    expression = as_grafana_asks(world, target, now)
    if target.instant:
        lines = [Line(sample.labels, [sample.value]) for sample in world.prometheus.query(expression)]
    else:
        series = world.prometheus.query_range(expression, world.began, now, 1.0)
        lines = [Line(each["metric"], [float(value) for _, value in each["values"]]) for each in series]
    finite = [Line(labels, [value for value in values if math.isfinite(value)]) for labels, values in lines]
    return [line for line in finite if line.values]


def seen(world: World, target: Target) -> list[Line]:
    """What a target shows as soon as it shows a line that has all that its name is made of."""
    found: list[Line] = []
    labels = set(_LABEL.findall(target.legend))

    def shows() -> bool:
        found[:] = shown(world, target)
        return any(labels <= set(line.labels) for line in found)

    otherwise = f"{as_grafana_asks(world, target, time.time())}\nlines named {target.legend}"
    wait_until(shows, _SECONDS, lambda: f"{otherwise}: {found}")
    return found


def panel(where: str) -> Target:
    """A panel's query, by its name."""
    [target] = [target for target in PANELS if target.where == where]
    return target


@pytest.mark.parametrize("target", PANELS, ids=lambda target: target.where)
def test_a_panel_has_data_and_a_name_for_each_line(world: World, target: Target) -> None:
    assert seen(world, target)


@pytest.mark.parametrize("target", ANNOTATIONS, ids=lambda target: target.where)
def test_an_annotation_is_asked_for_without_a_complaint_and_marks_no_failure(world: World, target: Target) -> None:
    found = shown(world, target)
    assert "ratchet_swap_failures" not in target.expression or found == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_the_list_of_models_has_the_one_that_is_served(world: World, path: Any) -> None:
    [variable] = [each for each in load(path)["templating"]["list"] if each["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert found
    names = world.prometheus.get(f"/api/v1/label/{found[2]}/values", **{"match[]": found[1]})["data"]
    assert names == [world.model]


def test_what_is_shown_is_what_happened(world: World) -> None:
    """The figures of a few panels, against what was done to the service."""

    def now(where: str) -> float:
        [line] = seen(world, panel(where))
        return line.values[-1]

    assert now("service / Version served / A") == now("loop / In Production / A") == 3
    assert now("loop / Promotions / A") == 3
    assert now("loop / Rollbacks / A") == 1
    assert now("service / Service / A") == 1
    assert now("service / Errors / A") == 0
    assert 0 < now("service / Disk free / A") < 1
    assert now("model / Live quality / A") == pytest.approx(0.93)
    assert now("model / Drift share / A") == pytest.approx(0.25)
    assert now("model / Quality verdict / A") == now("model / Drift verdict / A") == 0


def test_the_percentiles_of_a_panel_are_in_order(world: World) -> None:
    p50, p95, p99 = (max(seen(world, panel(f"service / Latency / {letter}"))[0].values) for letter in "ABC")
    assert 0 < p50 <= p95 <= p99
