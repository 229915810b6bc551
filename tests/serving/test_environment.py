from __future__ import annotations

import os

import pytest

from serving.environment import prepare_environment


@pytest.mark.parametrize(("given", "found"), [(None, "10"), ("3", "3")], ids=["not set", "set"])
def test_the_timeout_of_mlflow_is_ten_seconds_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch, given: str | None, found: str
) -> None:
    monkeypatch.setattr(os, "environ", {} if given is None else {"MLFLOW_HTTP_REQUEST_TIMEOUT": given})
    prepare_environment()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == found
