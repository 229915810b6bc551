"""The gate: the checks that a challenger has to pass before it is promoted.

All checks run even after a failure, so that a refusal lists every reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.errors import RatchetError, one_line
from ratchet.registry.gates.champion import against_champion, reference_holdout
from ratchet.registry.gates.contract import Check, GateCheck, GateInput, Result
from ratchet.registry.gates.labels import unbiased_labels
from ratchet.registry.gates.package import floor, golden, latency, onnx_parity, signature

__all__ = ["CHECKS", "Check", "GateInput", "run_checks"]

CHECKS: tuple[GateCheck, ...] = (
    floor,
    against_champion,
    reference_holdout,
    unbiased_labels,
    signature,
    golden,
    onnx_parity,
    latency,
)


def run_checks(given: GateInput, checks: Sequence[GateCheck] = CHECKS) -> tuple[Check, ...]:
    """Run every check; a check that raises has failed, with the error as its reason."""
    return tuple(Check(name=check.__name__, **_run(check, given)._asdict()) for check in checks)


def _run(check: GateCheck, given: GateInput) -> Result:
    try:
        return check(given)
    except KeyError as error:
        return Result(False, f"the holdout has no column {error}")
    except (RatchetError, ValueError) as error:
        return Result(False, one_line(error))
