"""The gate: the checks that a challenger has to pass before it is promoted.

All checks run even after a failure, so that a refusal lists every reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.errors import RatchetError, one_line
from ratchet.registry.gates.champion import AgainstChampion, ReferenceKept
from ratchet.registry.gates.contract import Check, GateCheck, GateInput
from ratchet.registry.gates.package import Floor, GoldenStable, LatencyBudget, OnnxParity, SignatureCompatible

__all__ = ["CHECKS", "Check", "GateCheck", "GateInput", "run_checks"]

CHECKS: tuple[GateCheck, ...] = (
    Floor(),
    AgainstChampion(),
    ReferenceKept(),
    SignatureCompatible(),
    GoldenStable(),
    OnnxParity(),
    LatencyBudget(),
)


def run_checks(given: GateInput, checks: Sequence[GateCheck] = CHECKS) -> tuple[Check, ...]:
    """Run every check; a check that raises has failed, with the error as its reason."""
    return tuple(_run(check, given) for check in checks)


def _run(check: GateCheck, given: GateInput) -> Check:
    try:
        return check.run(given)
    except KeyError as error:
        return check.result(False, f"the holdout has no column {error}")
    except (RatchetError, ValueError) as error:
        return check.result(False, one_line(error))
