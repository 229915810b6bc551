"""What a challenger has to show before it may enter Production.

Every check is a small class that takes the same trial and answers with a figure, a limit and a verdict. All of
them run, also after one has failed, so that a refusal says everything at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.errors import RatchetError, one_line
from ratchet.registry.gates.champion import AgainstChampion, ReferenceKept
from ratchet.registry.gates.comparison import paired_interval, unseen_rows
from ratchet.registry.gates.contract import Check, GateCheck, Trial
from ratchet.registry.gates.package import (
    Floor,
    GoldenStable,
    LatencyBudget,
    OnnxParity,
    SignatureCompatible,
    incompatibilities,
)

__all__ = [
    "CHECKS",
    "AgainstChampion",
    "Check",
    "Floor",
    "GateCheck",
    "GoldenStable",
    "LatencyBudget",
    "OnnxParity",
    "ReferenceKept",
    "SignatureCompatible",
    "Trial",
    "incompatibilities",
    "judge",
    "paired_interval",
    "unseen_rows",
]

CHECKS: tuple[GateCheck, ...] = (
    Floor(),
    AgainstChampion(),
    ReferenceKept(),
    SignatureCompatible(),
    GoldenStable(),
    OnnxParity(),
    LatencyBudget(),
)


def judge(trial: Trial, checks: Sequence[GateCheck] = CHECKS) -> tuple[Check, ...]:
    """The verdict of every check."""
    return tuple(_judged(check, trial) for check in checks)


def _judged(check: GateCheck, trial: Trial) -> Check:
    try:
        return check.judge(trial)
    except (RatchetError, KeyError, ValueError) as error:
        reason = f"the holdout has no column {error}" if isinstance(error, KeyError) else one_line(error)
        return Check(name=check.name, figure=None, limit=None, passed=False, reason=reason)
