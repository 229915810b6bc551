"""The service's own OpenAPI document: it is valid, the service does what it says, and it follows the model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from schemathesis import APIOperation, Case, CheckContext, GenerationMode, Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.fitted import Trained, baseline
from tests.serving.conftest import publish, published
from tests.serving.running import RECORD, Service, serving

POSTS = ("/predict", "/predict_batch", "/explain")
FEEDBACK = ("/feedback", "/feedback_batch", "/feedback/links")
FORM = "/feedback/form"
GETS = ("/model", "/health", "/metrics", "/livez", "/readyz")
# So many are sent in all, over the operations that take a body; the others have a handful each.
CASES = 2000
EXAMPLES = 400
DERANDOMIZED = effort(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
FEW = effort(DERANDOMIZED, max_examples=60)
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# The one reason to refuse a record that its schema allows: the schema cannot know how far a model can compute.
TOO_FAR = "is too far from what the model knows to compute with"
# And of feedback: it cannot say that target and correct have to agree.
DISAGREES = "was predicted and target is"

Api = schemathesis.BaseSchema


def api_of(service: Service) -> Api:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/docs.json")


def good_data_is_accepted(context: CheckContext, response: Response, case: Case) -> bool | None:
    """Schemathesis' own check, but for what only the model can tell."""
    if response.status_code == 422 and all(
        p["message"] == TOO_FAR or DISAGREES in p["message"] for p in response.json()["details"]
    ):
        return None
    found: bool | None = positive_data_acceptance(context, response, case)
    return found


@pytest.fixture
def ask() -> Iterator[Callable[[Case], int]]:
    """Send a case, and check the answer against the document with all of schemathesis' checks."""
    with requests.Session() as session:

        def send(case: Case) -> int:
            response = case.call(session=session)
            case.validate_response(
                response, additional_checks=[good_data_is_accepted], excluded_checks=[positive_data_acceptance]
            )
            assert response.status_code < 500
            return int(response.status_code)

        yield send


@pytest.mark.slow
@pytest.mark.parametrize("path", POSTS)
def test_whatever_is_sent_is_answered_as_the_document_says(
    service: Service, path: str, ask: Callable[[Case], int]
) -> None:
    operation = api_of(service)[path]["POST"]
    statuses: Counter[int] = Counter(ask(case) for case in edge_cases(operation))
    for mode in MODES:

        def count(case: Case) -> None:
            statuses[ask(case)] += 1

        DERANDOMIZED(given(case=operation.as_strategy(generation_mode=mode))(count))()
    assert statuses.total() >= CASES / len(POSTS), statuses
    assert statuses.keys() == {200, 405, 415, 422}
    assert min(statuses[200], statuses[422]) > statuses.total() / 10, statuses
    assert service.metric("ratchet_errors_total", kind="internal") == 0


@pytest.mark.parametrize("path", FEEDBACK)
def test_whatever_is_said_of_a_prediction_is_answered_as_the_document_says(
    service: Service, path: str, ask: Callable[[Case], int]
) -> None:
    one = service.post("/predict", RECORD)[1]["prediction_id"]
    operation = api_of(service)[path]["POST"]
    statuses: Counter[int] = Counter()

    def count(case: Case) -> None:
        # Every other id is put in the place of one that could be, so that there is such a prediction.
        if statuses.total() % 2 and isinstance(case.body, dict) and could_be_an_id(case.body.get("prediction_id")):
            case.body["prediction_id"] = one
        statuses[ask(case)] += 1

    for case in edge_cases(operation):
        count(case)
    for mode in MODES:
        FEW(given(case=operation.as_strategy(generation_mode=mode))(count))()
    expected = {200, 405, 415, 422} | (set() if path == "/feedback_batch" else {404})
    assert statuses.keys() - {201, 409} == expected, statuses
    assert service.metric("ratchet_errors_total", kind="internal") == 0


def could_be_an_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 36 and "\0" not in value


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whatever_is_sent_to_the_form_is_answered_as_the_document_says(
    service: Service, method: str, ask: Callable[[Case], int]
) -> None:
    statuses = {ask(case) for case in edge_cases(api_of(service)[FORM][method])}
    assert statuses == ({403, 405} if method == "GET" else {403, 405, 415}), statuses


@pytest.mark.parametrize("path", GETS)
def test_what_takes_no_body_answers_as_the_document_says(
    service: Service, path: str, ask: Callable[[Case], int]
) -> None:
    assert {ask(case) for case in edge_cases(api_of(service)[path]["GET"])} == {200, 405}


def edge_cases(operation: APIOperation) -> Iterator[Case]:
    """Each limit of each value, from both sides, each field left out, each other method, and so on."""
    api = operation.schema
    found: Iterator[Case] = api.iter_coverage_cases(
        operation, generation_modes=list(MODES), generation_config=api.config.generation
    )
    return found


def test_the_document_is_valid_openapi(service: Service) -> None:
    api_of(service).validate()


def test_the_document_tells_every_route_and_its_statuses(service: Service) -> None:
    document = service.get("/docs.json")
    assert set(document["paths"]) == {*POSTS, *FEEDBACK, FORM, *GETS}
    of_a_body = {"200", "401", "408", "413", "415", "422", "503"}
    for path in (*POSTS, *FEEDBACK):
        more = {"/feedback": {"201", "404", "409"}, "/feedback/links": {"404"}}.get(path, set())
        assert set(document["paths"][path]["post"]["responses"]) == of_a_body | more
    assert schema_of(document, "/feedback")["properties"]["target"]["enum"] == ["setosa", "versicolor", "virginica"]
    record = schema_of(document, "/predict")
    assert list(record["properties"]) == record["required"] == list(RECORD)
    assert record["additionalProperties"] is False
    assert record["properties"]["sepal_length"]["description"] == "seen in training: 4.3 to 7.9"
    assert "security" not in document, "a local service is open"


def test_bentomls_own_schema_tells_the_same_bodies(service: Service) -> None:
    document, routes = service.get("/docs.json"), service.get("/schema.json")["routes"]
    assert {route["route"]: route["input"] for route in routes} == {p: schema_of(document, p) for p in POSTS}


@pytest.mark.parametrize("path", POSTS)
def test_the_example_is_accepted_as_it_is(service: Service, path: str) -> None:
    content = service.get("/docs.json")["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert content["example"] == content["schema"]["example"]
    assert service.post(path, content["example"])[0] == 200


def schema_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return found


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Numbers and categories, with and without rules, and gaps in some."""
    generator = np.random.default_rng(0)
    age = generator.uniform(18, 80, 200).round(1)
    plan = generator.choice(["basic", "plus", "pro"], 200)
    region = generator.choice(["north", "south"], 200)
    left = np.where((age > 50) ^ (plan == "pro"), "yes", "no")
    rows = pd.DataFrame({"age": age, "plan": plan, "region": region, "left": left})
    rows.loc[::17, "age"] = np.nan
    rows.loc[::23, "plan"] = np.nan
    path = tmp_path_factory.mktemp("churn") / "churn.csv"
    rows.to_csv(path, index=False)
    rules = "columns: {age: {minimum: 0, maximum: 130}, region: {categories: [north, south]}}"
    return baseline(f"dataset={{source: csv, path: {path}, target: left, {rules}}}", "embed={reducer: none}")


@pytest.mark.slow
def test_the_document_follows_a_hot_swap_to_other_columns(
    served_settings: Settings,
    iris_models: tuple[Trained, Trained],
    churn: Trained,
    output: Path,
    ask: Callable[[Case], int],
) -> None:
    model = published(served_settings, iris_models[0]).model
    version = publish(served_settings, model, churn)
    with serving(served_settings, model, output, RATCHET_POLL_INTERVAL="0.2") as service:
        assert list(schema_of(service.get("/docs.json"), "/predict")["properties"]) == list(RECORD)
        ProductionPointer(served_settings, model).promote(version, "other columns", "test")
        service.until(lambda: {worker["version"] for worker in service.get("/health")["workers"]} == {version})

        for _ in range(10):  # whichever worker is asked
            document = service.get("/docs.json")
            record = schema_of(document, "/predict")
            assert list(record["properties"]) == ["age", "plan", "region"]
            assert record["required"] == ["region"]
            assert document["info"]["version"] == version
        answer = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer["properties"]["prediction"]["enum"] == ["no", "yes"]
        for path in POSTS:
            assert service.post(path, schema_of(document, path)["example"])[0] == 200
        assert service.post("/predict", RECORD)[0] == 422
        status, said = service.post("/predict", {"age": None, "region": "north"})
        assert (status, said["model"]["version"]) == (200, version)
        assert refused_fields(service, {"age": 131, "region": "west"}) == ["age", "region"]

        api = api_of(service)
        statuses: Counter[int] = Counter()
        for path in POSTS:
            statuses.update(ask(case) for case in edge_cases(api[path]["POST"]))
        assert {200, 422} <= statuses.keys()
        api.validate()


def refused_fields(service: Service, record: dict[str, Any]) -> list[str]:
    status, _, body = service.ask("POST", "/predict", json.dumps(record).encode())
    assert status == 422
    return [problem["field"] for problem in json.loads(body)["details"]]
