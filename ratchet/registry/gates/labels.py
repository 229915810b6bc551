"""The labels of the held-out production rows."""

from __future__ import annotations

from ratchet.registry.gates.contract import GateInput, Result


def unbiased_labels(given: GateInput) -> Result:
    """Check that the chance of a label does not depend on the answer, where production rows are held out.

    Labels that users send for wrong answers alone make any other model look better than the champion.
    """
    if given.champion is None:
        return Result(True, "there is no champion yet")
    if given.config.promote.policy == "always":
        return Result(True, "the policy is always")
    if given.label_bias is not None:
        return Result(False, given.label_bias)
    if given.n_reference is None or given.n_reference >= len(given.holdout):
        return Result(True, "there are no held-out rows of production")
    return Result(True, "the labels of production show no selection by the answer, or are of the audit sample alone")
