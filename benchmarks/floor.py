"""The floor under a pipeline run: six empty ZenML steps on Ratchet's own stack, with the libraries imported.

Started by ``benchmarks/pipeline.py``, which puts the repository on ``PYTHONPATH`` and names a home of its own. With
``--product-startup`` it takes the process-level measures that the product takes (see ``pipelines/startup.py``).

What runs here runs in the order it is written in: ZenML must find its store named before it is imported, and its
steps at the top level of a module.
"""

import sys
from contextlib import nullcontext

from pipelines.stack import ensure_stack, use_embedded_store
from pipelines.startup import cached_package_scan, collect_garbage_rarely, exit_quickly
from ratchet.settings import load_settings

STEPS = 6
AS_PRODUCT = "--product-startup" in sys.argv
SETTINGS = load_settings()
EMBEDDED = use_embedded_store(SETTINGS)

if AS_PRODUCT:
    collect_garbage_rarely()

import mlflow  # noqa: E402, F401
import sklearn  # noqa: E402, F401
from zenml import pipeline, step  # noqa: E402


@step
def empty() -> None:
    """Do nothing."""


@pipeline(name="floor", enable_cache=False)
def floor() -> None:
    """Do nothing, six times."""
    for number in range(STEPS):
        empty(id=f"empty_{number}")


def main() -> None:
    """Run the floor, plainly or with the product's measures."""
    with cached_package_scan() if AS_PRODUCT else nullcontext():
        ensure_stack(SETTINGS, embedded=EMBEDDED)
        run = floor()
    if run is None or run.status.value != "completed":
        sys.exit("the floor's run was not completed")
    if AS_PRODUCT:
        exit_quickly()


if __name__ == "__main__":
    main()
