"""One compose project for all of these tests: it takes minutes to come up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.compose import Project, engine_is_there, running

FLOWERS = {
    "setosa": {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
    "versicolor": {"sepal_length": 5.9, "sepal_width": 3.0, "petal_length": 4.2, "petal_width": 1.5},
    "virginica": {"sepal_length": 6.7, "sepal_width": 3.0, "petal_length": 5.2, "petal_width": 2.3},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it takes an engine and minutes: make test-containers."""
    for item in items:
        if "containers" in Path(item.path).parts:
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The whole stack, up."""
    if not engine_is_there():
        pytest.skip("no Docker engine with compose answers: start one, or set DOCKER_HOST")
    with running(tmp_path_factory.mktemp("compose")) as it:
        yield it
