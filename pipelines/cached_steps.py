"""Take a step from ZenML's cache only if its outputs still exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ratchet.settings import Settings


@contextmanager
def only_with_outputs(settings: Settings) -> Iterator[None]:
    """Run a step again whose outputs have been deleted; ZenML checks its database only, and fails to load them."""
    from zenml.orchestrators import cache_utils

    find = cache_utils.get_cached_step_run

    def find_complete(cache_key: str) -> Any:
        found = find(cache_key)
        return found if found is not None and _has_outputs(settings, found) else None

    cache_utils.get_cached_step_run = find_complete
    try:
        yield
    finally:
        cache_utils.get_cached_step_run = find


def _has_outputs(settings: Settings, step_run: Any) -> bool:
    """Return whether all outputs of a step are in ZenML's artifact store, and its package in MLflow's."""
    from zenml.client import Client

    from ratchet.tracking.models import is_stored

    store = Client().active_stack.artifact_store
    uris = [version.uri for versions in step_run.outputs.values() for version in versions]
    if not all(store.exists(uri) and store.listdir(uri) for uri in uris):
        return False
    return all(is_stored(settings, version.load()) for version in step_run.outputs.get("package", ()))
