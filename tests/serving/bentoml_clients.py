"""What BentoML's clients do with the service, whichever way it is started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import bentoml
import pytest
from bentoml.exceptions import BentoMLException

from tests.serving.running import RECORD, Service

WRONG = {**RECORD, "sepal_length": "long"}


def use_clients_of_bentoml(service: Service, token: str | None = None) -> None:
    """Predict, explain, and fail as documented, with the synchronous and the asynchronous client."""
    url = f"http://127.0.0.1:{service.port}"
    with bentoml.SyncHTTPClient(url, token=token) as client, client._temp_dir:  # it does not remove it itself
        assert client.is_ready()
        assert set(client.endpoints) == {"predict", "predict_batch", "explain"}
        one = client.predict(**RECORD)
        many = client.predict_batch(rows=[RECORD, RECORD])
        explanation = client.explain(**RECORD)
        assert one["prediction"] == explanation["prediction"] == "setosa"
        assert [found["prediction"] for found in many["predictions"]] == ["setosa", "setosa"]
        assert {one["model"]["name"], many["model"]["name"]} == {service_name(service, token)}
        is_refused(lambda: client.predict(**WRONG), 422, "sepal_length")
        is_refused(lambda: client.predict_batch(rows=[RECORD, WRONG]), 422, "rows[1].sepal_length")
    assert asyncio.run(_predict_at_once(url, token)) == ["setosa"] * 8


def is_refused(call: Callable[[], Any], status: int, named: str) -> None:
    """Check the exception of a call that the service refuses."""
    with pytest.raises(BentoMLException) as caught:
        call()
    assert caught.value.error_code == status
    assert named in str(caught.value)


def service_name(service: Service, token: str | None) -> str:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    name: str = service.get("/model", **headers)["name"]
    return name


async def _predict_at_once(url: str, token: str | None) -> list[str]:
    async with bentoml.AsyncHTTPClient(url, token=token) as client:
        with client._temp_dir:
            answers = await asyncio.gather(*(client.predict(**RECORD) for _ in range(8)))
    return [answer["prediction"] for answer in answers]
