"""The OpenAPI document of the service is valid, describes what the service does, and follows the model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, CheckContext, GenerationMode, Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.batch_bodies import stream
from tests.fitted import Trained, baseline
from tests.serving.conftest import publish, published
from tests.serving.running import RECORD, Service, serving

POSTS = ("/predict", "/predict_batch", "/explain")
FEEDBACK = ("/feedback", "/feedback_batch", "/feedback/links")
FORM = "/feedback/form"
GETS = ("/model", "/health", "/metrics", "/livez", "/readyz")
# The number of requests to all operations of POSTS.
CASES = 2000
EXAMPLES = 400
DERANDOMIZED = effort(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
FEW = effort(DERANDOMIZED, max_examples=60)
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# The only errors for a record that its schema allows: how far a model can compute is not in the schema, and the limits
# of single precision are the format of the number there.
TOO_FAR = "is too far outside the range of the training data"
BEYOND_SINGLE_PRECISION = re.compile(r"or equal to -?3\.?402823")
# The same for feedback: that target and correct have to agree is not in the schema.
DISAGREES = "was predicted and target is"
# And that columns have one length.
OTHER_LENGTH = " values, and "

Api = schemathesis.BaseSchema


ARROW = "application/vnd.apache.arrow.stream"
streams = st.integers(1, 3).map(lambda rows: stream(pa.Table.from_pylist([RECORD] * rows)))
schemathesis.openapi.media_type(ARROW, streams)


def api_of(service: Service) -> Api:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/docs.json")


def valid_data_is_accepted(context: CheckContext, response: Response, case: Case) -> bool | None:
    """The check of Schemathesis, without the errors that are not in the schema."""
    if case.media_type == ARROW:  # the columns of a stream are not in the schema
        return None
    if response.status_code == 422 and all(
        p["message"] == TOO_FAR
        or BEYOND_SINGLE_PRECISION.search(p["message"])
        or DISAGREES in p["message"]
        or OTHER_LENGTH in p["message"]
        for p in response.json()["details"]
    ):
        return None
    found: bool | None = positive_data_acceptance(context, response, case)
    return found


@pytest.fixture
def send() -> Iterator[Callable[[Case], int]]:
    """Send a case, and check the response with all checks of Schemathesis."""
    with requests.Session() as session:

        def send_and_check(case: Case) -> int:
            response = case.call(session=session)
            case.validate_response(
                response, additional_checks=[valid_data_is_accepted], excluded_checks=[positive_data_acceptance]
            )
            assert response.status_code < 500
            return int(response.status_code)

        yield send_and_check


@pytest.mark.slow
@pytest.mark.parametrize("path", POSTS)
def test_predictions_answer_as_documented(service: Service, path: str, send: Callable[[Case], int]) -> None:
    operation = api_of(service)[path]["POST"]
    statuses: Counter[int] = Counter(send(case) for case in edge_cases(operation))
    for mode in MODES:

        def count(case: Case) -> None:
            statuses[send(case)] += 1

        DERANDOMIZED(given(case=operation.as_strategy(generation_mode=mode))(count))()
    assert statuses.total() >= CASES / len(POSTS), statuses
    assert statuses.keys() == {200, 405, 415, 422}
    # Most columns that are generated for a batch have several lengths.
    least = 20 if path == "/predict_batch" else 10
    assert min(statuses[200], statuses[422]) > statuses.total() / least, statuses
    assert service.metric("ratchet_errors_total", kind="internal") == 0


@pytest.mark.parametrize("path", FEEDBACK)
def test_feedback_answers_as_documented(service: Service, path: str, send: Callable[[Case], int]) -> None:
    one = service.post("/predict", RECORD)[1]["prediction_id"]
    operation = api_of(service)[path]["POST"]
    statuses: Counter[int] = Counter()

    def count(case: Case) -> None:
        # Every other id is replaced by that of a prediction.
        if statuses.total() % 2 and isinstance(case.body, dict) and could_be_an_id(case.body.get("prediction_id")):
            case.body["prediction_id"] = one
        statuses[send(case)] += 1

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
def test_the_form_answers_as_documented(service: Service, method: str, send: Callable[[Case], int]) -> None:
    statuses = {send(case) for case in edge_cases(api_of(service)[FORM][method])}
    assert statuses == ({403, 405} if method == "GET" else {403, 405, 415}), statuses


@pytest.mark.parametrize("path", GETS)
def test_routes_without_a_body_answer_as_documented(service: Service, path: str, send: Callable[[Case], int]) -> None:
    assert {send(case) for case in edge_cases(api_of(service)[path]["GET"])} == {200, 405}


def edge_cases(operation: APIOperation) -> Iterator[Case]:
    """Values at and beyond each limit, missing fields, other methods, and so on."""
    api = operation.schema
    found: Iterator[Case] = api.iter_coverage_cases(
        operation, generation_modes=list(MODES), generation_config=api.config.generation
    )
    return found


def test_the_document_is_valid_openapi(service: Service) -> None:
    api_of(service).validate()


def test_the_document_lists_every_route_and_status(service: Service) -> None:
    document = service.get("/docs.json")
    assert set(document["paths"]) == {*POSTS, *FEEDBACK, FORM, *GETS}
    for operations in document["paths"].values():
        for operation in operations.values():
            assert {"405", "408", "431", "503"} <= operation["responses"].keys()
            assert "application/json" in operation["responses"]["405"]["content"]
    of_a_body = {"200", "401", "405", "408", "413", "415", "422", "431", "503"}
    for path in (*POSTS, *FEEDBACK):
        more = {"/feedback": {"201", "404", "409"}, "/feedback/links": {"404"}}.get(path, set())
        assert set(document["paths"][path]["post"]["responses"]) == of_a_body | more
    assert schema_of(document, "/feedback")["properties"]["target"]["enum"] == ["setosa", "versicolor", "virginica"]
    record = schema_of(document, "/predict")
    assert list(record["properties"]) == record["required"] == list(RECORD)
    assert record["additionalProperties"] is False
    assert record["properties"]["sepal_length"]["description"] == "seen in training: 4.3 to 7.9"
    assert "security" not in document, "a local service needs no key"


def test_the_operations_are_grouped_and_described(service: Service) -> None:
    document = service.get("/docs.json")
    model = service.get("/model")["name"]
    assert document["info"]["title"] == f"{model}: prediction service"
    assert {model, "species", "setosa", "4 MiB", "10,000"} <= set(
        re.findall(r"[\w,]+(?: MiB)?", document["info"]["description"])
    )
    groups = [tag["name"] for tag in document["tags"]]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert list(dict.fromkeys(operation["tags"][0] for operation in operations)) == groups
    assert all(operation["description"] and "{" not in operation["description"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert "API key" not in document["info"]["description"], "a local service needs no key"


def test_no_schema_has_the_limits_of_a_number_format(service: Service) -> None:
    """They are in ``format``: float, and a limit that a person reads is a rule of the config."""
    for path in ("/docs.json", "/schema.json"):
        assert "e+38" not in json.dumps(service.get(path))
    size = schema_of(service.get("/docs.json"), "/predict")["properties"]["sepal_length"]
    assert {key: size[key] for key in ("type", "format", "description")} == {
        "type": "number",
        "format": "float",
        "description": "seen in training: 4.3 to 7.9",
    }


def test_the_schema_of_bentoml_describes_the_same_bodies(service: Service) -> None:
    """Its client sends rows, which are one of the forms of a batch."""
    document, routes = service.get("/docs.json"), service.get("/schema.json")["routes"]
    forms = {path: schema_of(document, path).get("anyOf", [schema_of(document, path)]) for path in POSTS}
    expected = {path: resolved(document, first) for path, (first, *_) in forms.items()}
    assert {route["route"]: route["input"] for route in routes} == expected


@pytest.mark.parametrize("path", POSTS)
def test_the_example_is_accepted(service: Service, path: str) -> None:
    content = service.get("/docs.json")["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert content["example"] == schema_of(service.get("/docs.json"), path)["example"]
    assert service.post(path, content["example"])[0] == 200


def schema_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    return resolved(document, document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"])


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the component that it refers to."""
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of numbers and categories, with and without rules and missing values."""
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
def test_the_document_follows_a_swap_to_other_columns(
    served_settings: Settings,
    iris_models: tuple[Trained, Trained],
    churn: Trained,
    output: Path,
    send: Callable[[Case], int],
) -> None:
    model = published(served_settings, iris_models[0]).model
    version = publish(served_settings, model, churn)
    with serving(served_settings, model, output, RATCHET_POLL_INTERVAL="0.2") as service:
        assert list(schema_of(service.get("/docs.json"), "/predict")["properties"]) == list(RECORD)
        ProductionPointer(served_settings, model).promote(version, "other columns", "test")
        service.until(lambda: {worker["version"] for worker in service.get("/health")["workers"]} == {version})

        for _ in range(10):  # by either worker
            document = service.get("/docs.json")
            record = schema_of(document, "/predict")
            assert list(record["properties"]) == ["age", "plan", "region"]
            assert record["required"] == ["region"]
            assert document["info"]["version"] == version
        answer = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert resolved(document, answer)["properties"]["prediction"]["enum"] == ["no", "yes"]
        for path in POSTS:
            assert service.post(path, schema_of(document, path)["example"])[0] == 200
        assert service.post("/predict", RECORD)[0] == 422
        status, reply = service.post("/predict", {"age": None, "region": "north"})
        assert (status, reply["model"]["version"]) == (200, version)
        assert wrong_fields(service, {"age": 131, "region": "west"}) == ["age", "region"]

        api = api_of(service)
        statuses: Counter[int] = Counter()
        for path in POSTS:
            statuses.update(send(case) for case in edge_cases(api[path]["POST"]))
        assert {200, 422} <= statuses.keys()
        api.validate()


def wrong_fields(service: Service, record: dict[str, Any]) -> list[str]:
    status, _, body = service.request("POST", "/predict", json.dumps(record).encode())
    assert status == 422
    return [problem["field"] for problem in json.loads(body)["details"]]
