"""A study of hyper-parameters, for ``run.py --config FILE``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commands.request import Request
    from ratchet.config.tuning import TuningConfig


def tune(config: TuningConfig, request: Request) -> None:
    """Run or continue a study, train its best trial, and print both results."""
    from commands.console.live_steps import live_steps
    from commands.console.runs import print_summary
    from commands.console.study import TrialLines, print_plan, print_study
    from pipelines import runner
    from pipelines.tuning_runner import STEPS, plan_tuning, run_tuning
    from ratchet.data.first_rows import check_first_rows

    if request.dry_run:
        planned = plan_tuning(config, request.settings)
        print_plan(config, planned, str(request.path), check_first_rows(config.dataset, config.task))
        return
    lines = TrialLines(config)
    with live_steps((*STEPS, *runner.STEPS[1:])) as listener:
        done = run_tuning(config, request.settings, request.options(listener), lines.print_trial)
    print_study(done)
    print_summary(done.training)
