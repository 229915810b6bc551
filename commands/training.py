"""Training, continuous or not, as ``run.py --config FILE`` runs it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from commands.request import Request
    from ratchet.config import TrainingConfig
    from ratchet.config.continuous import ContinuousTrainingConfig


def train(config: TrainingConfig, request: Request) -> None:
    """Run the training pipeline once, and say how it ended."""
    if request.dry_run:
        plan(config, request)
        return
    from commands.console.runs import print_summary
    from pipelines.runner import run_training

    with _live() as listener:
        print_summary(run_training(config, request.settings, request.options(listener)))


def train_continuously(config: ContinuousTrainingConfig, request: Request) -> None:
    """Train on the rows that were fed back, or on those of an earlier run, and say how it ended."""
    if request.dry_run:
        plan(config, request)
        return
    from commands.console import runs
    from pipelines.continuous import run_continuous, run_on_snapshot

    with _live() as listener:
        options = request.options(listener)
        if request.snapshot:
            runs.print_summary(run_on_snapshot(config, request.settings, request.snapshot, options))
        else:
            runs.print_continuous(run_continuous(config, request.settings, options, number=request.number))


def plan(config: TrainingConfig, request: Request) -> None:
    """Say what a training pipeline would do."""
    from commands.console.runs import print_plan
    from pipelines.runner import plan_training

    print_plan(config, plan_training(config), str(request.path))


def _live() -> AbstractContextManager[Any]:
    """The steps on the terminal, while they run."""
    from commands.console.runs import live_steps
    from pipelines.runner import STEPS

    return live_steps(STEPS)
