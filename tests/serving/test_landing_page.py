"""The landing page: what it shows of a model, for any schema and state of the store."""

from __future__ import annotations

import asyncio
import re
import time
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from ratchet.config.rows import Column
from ratchet.data.schema import Field, Schema
from ratchet.errors import StateError
from ratchet.inference.runtime import Runtime
from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.live_quality import Quality
from ratchet.monitoring.windows import record_drift_window, record_quality
from ratchet.registry.model_version import Version
from ratchet.registry.promotion_ledger import Ledger
from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.tables import drift_results
from serving.landing_page import landing_page
from tests.serving.running import RECORD, Service

HOSTILE = '<img src=x onerror="alert(1)">\' & {{ 7 * 7 }}</textarea><script>alert(2)</script>'
LATENCY = {"requests": 12, "p50": 0.6, "p95": 1.2, "p99": 2.5}
HEALTH = {"status": "ok", "engine": "onnx", "store": "up", "workers": [], "latency_ms": LATENCY}
DETAILS = {"metrics": {"f1_macro": 0.93, "f1_macro_low": 0.82, "f1_macro_high": 1.0, "log_loss": 0.17}, "lineage": {}}


class Page(HTMLParser):
    """The parts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag in ("td", "p", "h2") else ""

    def handle_data(self, data: str) -> None:
        if self._tag == "script":
            assert not data.strip(), "an inline script"
        if self._tag != "style":
            self.text += data

    def section(self, name: str) -> str:
        """The text from a heading on, in one line."""
        return " ".join(self.text.partition(name)[2].split())

    @property
    def controls(self) -> dict[str, str]:
        """The kind of the control of each feature."""
        return {str(one["name"]): str(one["data-kind"]) for _, one in self.tags if "data-kind" in one}


def shown(runtime: Runtime, store: Store | Exception, health: dict[str, Any] | None = None, **settings: Any) -> Page:
    """The page of a worker in this state."""

    def opened() -> Store:
        if isinstance(store, Exception):
            raise store
        return store

    worker: Any = SimpleNamespace(
        loaded=runtime,
        health=lambda: health or HEALTH,
        store=opened,
        since=time.time(),
        settings=Settings(**settings),
        model=runtime.model,
    )
    response = asyncio.run(landing_page(worker))
    assert response.status_code == 200
    return Page(bytes(response.body).decode())


def runtime_of(
    model: str, *fields: Field, labels: tuple[str, ...] | None = ("no", "yes"), target: str = "y"
) -> Runtime:
    schema = Schema(features=fields, target=target, labels=labels)
    return Runtime(model, "3", "d" * 64, schema, lambda rows: ([], None), "onnx", None, DETAILS)


def version(number: str) -> Version:
    return Version("any", number, run_id="r", digest="d", stage="None")


NUMBER = Field(name="age", type="number", nullable=False, minimum=18.0, maximum=80.0)


def test_the_page_shows_the_model_its_promotion_and_a_form_of_its_schema(service: Service) -> None:
    status, headers, body = service.request("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    page, model = Page(body.decode()), service.get("/model")["name"]
    assert f"{model} version 1" in " ".join(page.text.split())
    assert "Predicts species (setosa, versicolor, virginica) from 4 features." in page.text
    assert re.search(r"in Production\s+since\s+\d{4}-\d\d-\d\d \d\d:\d\d UTC", page.text)
    assert "promoted" in page.section("Last promotions")
    assert page.controls == dict.fromkeys(RECORD, "number")
    links = [one["href"] for tag, one in page.tags if tag == "a"]
    assert {"docs", "metrics", f"http://127.0.0.1:5000/#/models/{model}/versions/1"} <= set(links)


def test_the_page_loads_nothing_but_its_own_files(service: Service) -> None:
    _, headers, body = service.request("GET", "/")
    page = Page(body.decode())
    loaded = [one.get("src") or one.get("href") for tag, one in page.tags if tag in ("script", "link", "img", "iframe")]
    assert loaded == ["favicon.svg", "landing.js"]
    for address in loaded:
        assert service.request("GET", f"/{address}")[0] == 200
    assert not [one for _, one in page.tags for name in one if name.startswith("on") or name == "style"]
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", policy["style-src"])
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"


def test_the_page_shows_live_quality_with_its_interval_and_drift(store: Store, model: str) -> None:
    runtime = runtime_of(model, NUMBER)
    assert "Not measured yet" in (page := shown(runtime, store)).section("Live quality")
    assert "Not checked yet" in page.section("Drift")
    quality = {"metric": "f1_macro", "value": 0.71, "low": 0.64, "high": 0.78, "dropped": True, "n_rows": 200}
    record_quality(store, model, Quality(version="3", reason="worse", **quality), 1)
    drift = DriftReport(
        reference="3", method="psi", figures={"age": 0.4}, drifted=("age",), share=1.0, detected=True, n_rows=500
    )
    record_drift_window(store, model, "3", drift, "a", "b")
    page = shown(runtime, store)
    assert page.section("Live quality").startswith("0.710 f1 macro 95 % interval 0.640 to 0.780, 200 labelled rows")
    assert "Quality has dropped." in page.text
    assert page.section("Drift").startswith("Detected 1 of 1 features drifted, 500 rows age: psi 0.4")
    assert "Holdout: f1 macro 0.930 (0.820 to 1.000)" in page.text


def test_a_drift_report_of_an_earlier_release_is_shown(store: Store, model: str) -> None:
    report = {"reference": "3", "method": "psi", "figures": {"age": 0.4, "sum": 0.1}, "drifted": ["age"]}
    values = {"n_rows": 50, "detected": True, "share": 0.5, "report": report, "created_at": time.time()}
    with store.transaction() as connection:
        connection.execute(sa.insert(drift_results).values(model=model, version="3", kind="production", **values))
    assert "1 of 2 features drifted, 50 rows age: psi 0.4" in shown(runtime_of(model, NUMBER), store).section("Drift")


def test_a_window_with_too_few_rows_has_no_verdict(store: Store, model: str) -> None:
    record_drift_window(store, model, "3", DriftReport(reference="3", method="psi", n_rows=3), "a", "b")
    assert shown(runtime_of(model, NUMBER), store).section("Drift").startswith("Too few rows to tell")


def test_the_page_shows_what_the_ledger_says_in_words(store: Store, model: str) -> None:
    ledger = Ledger(store, model)
    ledger.record("promote", "completed", version("2"), before="1", reason="better", actor="ci")
    ledger.record("promote", "refused", version("3"), before="2", reason="worse", actor="ci")
    ledger.record("rollback", "completed", version("1"), before="2", reason="wrong", actor="ann")
    changes = shown(runtime_of(model, NUMBER), store).section("Last promotions")
    assert re.findall(r"(promoted|refused|rolled back) (\S+ → \S+) (\w+) by (\w+)", changes) == [
        ("rolled back", "2 → 1", "wrong", "ann"),
        ("refused", "2 → 3", "worse", "ci"),
        ("promoted", "1 → 2", "better", "ci"),
    ]


def test_what_the_page_shows_is_escaped(store: Store) -> None:
    texts = [HOSTILE + name for name in ("number", "category", "text", "target", "label")]
    number, category, text, target, label = texts
    known = (HOSTILE, *map(str, range(60)))
    fields = (
        Field(name=number, type="number", nullable=True, minimum=0.0, maximum=1.0),
        Field(name=category, type="category", nullable=False, categories=(HOSTILE,)),
        Field(name=category + "s", type="category", nullable=False, categories=known),
        Field(name=text, type="text", nullable=False, longest=10),
    )
    model = HOSTILE + "model"
    Ledger(store, model).record("promote", "completed", version("3"), before=None, reason=HOSTILE, actor=HOSTILE)
    page = shown(runtime_of(model, *fields, labels=(label, "b"), target=target), store)
    assert [tag for tag, _ in page.tags if tag in ("img", "iframe")] == []
    assert [one for tag, one in page.tags if tag == "script"] == [{"src": "landing.js", "defer": None}]
    assert set(page.controls) == {number, category, category + "s", text}
    for shown_text in (model, target, label):
        assert shown_text in page.text
    assert page.section("Last promotions").count("alert(2)") >= 2


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (NUMBER, "number"),
        (Field(name="on", type="number", nullable=False, boolean=True, minimum=0.0, maximum=1.0), "boolean"),
        (Field(name="plan", type="category", nullable=True, categories=("basic", "pro")), "choice"),
        (Field(name="city", type="category", nullable=False, categories=tuple(map(str, range(200)))), "suggestion"),
        (Field(name="any", type="category", nullable=False, categories=()), "suggestion"),
        (Field(name="review", type="text", nullable=False, longest=5), "text"),
        (Field(name="at", type="time", nullable=False), "time"),
    ],
)
def test_each_type_of_feature_has_its_control(store: Store, model: str, field: Field, kind: str) -> None:
    page = shown(runtime_of(model, field), store)
    assert page.controls == {field.name: kind}
    assert ("optional" in page.text) == field.nullable


def test_a_rule_of_the_config_is_a_limit_of_the_form(store: Store, model: str) -> None:
    rule = Column(minimum=0, maximum=130)
    page = shown(runtime_of(model, NUMBER.model_copy(update={"rule": rule})), store)
    assert "18 to 80 in training; at least 0 and at most 130" in page.text


@pytest.mark.parametrize("n_features", [1, 30])
def test_a_regression_with_any_number_of_features_has_a_form(store: Store, model: str, n_features: int) -> None:
    fields = [NUMBER.model_copy(update={"name": f"x{number}"}) for number in range(n_features)]
    page = shown(runtime_of(model, *fields, labels=None), store)
    assert list(page.controls) == [field.name for field in fields]


def test_the_page_is_shown_while_the_store_is_down(model: str) -> None:
    health = {**HEALTH, "status": "degraded", "store": "down"}
    page = shown(runtime_of(model, NUMBER), StateError("the store is down"), health)
    assert "degraded: the store is down" in page.text
    assert "The store cannot be read." in page.section("Live quality")
    assert page.controls == {"age": "number"}


def test_the_page_of_a_model_file_has_no_monitoring(model: str, tmp_path: Any) -> None:
    page = shown(runtime_of(model, NUMBER), StateError("never opened"), model_path=tmp_path / "model.joblib")
    assert "local file" in page.text
    assert "is not monitored" in page.section("Live quality")
    assert "Last promotions" not in page.text


def test_with_keys_no_link_leads_to_a_route_that_a_browser_cannot_open(store: Store, model: str) -> None:
    page = shown(runtime_of(model, NUMBER), store, api_keys=["9f2c71ab04de68b35a"])
    assert {"metrics", "model", "health"}.isdisjoint(str(one.get("href")) for _, one in page.tags)


@pytest.mark.parametrize(
    ("uri", "pages"),
    [
        ("http://mlflow:5000", "http://localhost:5000"),
        ("https://user:secret@mlflow.example.com/base/", "https://mlflow.example.com/base"),
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("postgresql://somewhere/mlflow", "http://127.0.0.1:5000"),
    ],
)
def test_the_link_to_mlflow_can_be_opened_in_a_browser(store: Store, model: str, uri: str, pages: str) -> None:
    page = shown(runtime_of(model, NUMBER), store, mlflow_uri=uri)
    assert f"{pages}/#/models/{model}/versions/3" in [one.get("href") for tag, one in page.tags if tag == "a"]
