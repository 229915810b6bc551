"""Training and continuous training, for ``run.py --config FILE``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commands.request import Request
    from ratchet.config import TrainingConfig
    from ratchet.config.continuous import ContinuousTrainingConfig


def train(config: TrainingConfig, request: Request) -> None:
    """Run the training pipeline once, and print its result."""
    if request.dry_run:
        plan(config, request)
        return
    from commands.console.live_steps import live_steps
    from commands.console.runs import print_summary
    from pipelines.runner import STEPS, run_training

    with live_steps(STEPS) as listener:
        summary = run_training(config, request.settings, request.options(listener))
    print_summary(summary)


def train_continuously(config: ContinuousTrainingConfig, request: Request) -> None:
    """Train on the rows with feedback or on those of an earlier run, and print the result."""
    if request.dry_run:
        plan(config, request)
        return
    from commands.console import runs
    from commands.console.live_steps import live_steps
    from pipelines.continuous import run_continuous, run_on_snapshot
    from pipelines.runner import STEPS

    if request.snapshot:
        with live_steps(STEPS) as listener:
            summary = run_on_snapshot(config, request.settings, request.snapshot, request.options(listener))
        runs.print_summary(summary)
        return
    with live_steps(STEPS) as listener:
        ended = run_continuous(config, request.settings, request.options(listener), number=request.number)
    runs.print_continuous(ended)


def plan(config: TrainingConfig, request: Request) -> None:
    """Print the plan of a training pipeline."""
    from commands.console.runs import print_plan
    from pipelines.runner import plan_training
    from ratchet.data.first_rows import check_first_rows

    planned = plan_training(config)
    print_plan(config, planned, str(request.path), check_first_rows(config.dataset, config.task))
