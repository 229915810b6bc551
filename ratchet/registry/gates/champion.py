"""The challenger compared with the champion, and with the last version that was trained without production data."""

from __future__ import annotations

import numpy as np

from ratchet.config import LOSSES
from ratchet.model import metrics
from ratchet.model.package.sealed_package import Package
from ratchet.model.tasks import block_length
from ratchet.registry.gates.comparison import FEWEST_ROWS, both_scores, columns_of, paired_interval, unseen_rows
from ratchet.registry.gates.contract import Check, GateCheck, GateInput


class AgainstChampion(GateCheck):
    """The paired bootstrap interval of the difference to the champion, on rows that neither was fitted on."""

    name = "against_champion"

    def run(self, given: GateInput) -> Check:
        """Require that the whole interval lies above 0 (better) or above minus the margin (not worse)."""
        promote, metric = given.config.promote, given.config.evaluate.primary_metric
        if given.champion is None:
            return self.result(True, "there is no champion yet")
        if promote.policy == "always":
            return self.result(True, "the policy is always")
        if columns_of(given.champion.schema) != columns_of(given.challenger.schema):
            return self.result(
                False,
                "the champion takes other columns, so that the rows it was fitted on cannot be identified;"
                " promote by hand",
            )
        rows = unseen_rows(given.holdout, given.challenger, given.champion)
        if len(rows) < FEWEST_ROWS:
            return self.result(
                False,
                f"{len(rows)} of {len(given.holdout)} held-out rows are new to both models, {FEWEST_ROWS} are needed:"
                " train with the champion's seed and split, or bring new data",
            )
        mine, theirs = both_scores(given.challenger, given.champion, rows)
        block = block_length(given.challenger.schema, len(rows))
        low, high = paired_interval(
            metric, mine, theirs, promote.confidence, promote.bootstrap, given.config.seed, block
        )
        if np.isnan(low):
            return self.result(False, f"{metric} is not defined on the {len(rows)} rows new to both")
        limit = -promote.margin if promote.policy == "not_worse" else 0.0
        reason = (
            f"{metric} {metrics.point(metric, mine):.4f}, the champion's {metrics.point(metric, theirs):.4f}:"
            f" better by {low:+.4f} to {high:+.4f} ({promote.confidence:.0%} interval, {len(rows)} rows new to both),"
            f" needed above {limit:g}"
        )
        return self.result(low > limit, reason, low, limit)


class ReferenceKept(GateCheck):
    """The loss on the reference data set that training on production data may cause.

    Labels from production can be wrong, by mistake or on purpose, in the holdout as in the training rows, so they must
    not overrule the reference. If the true relation has changed, users change the reference.

    The comparison is with the newest version that was trained on the reference alone, so that small losses in many
    runs do not add up to more than the margin.
    """

    name = "reference_holdout"

    def run(self, given: GateInput) -> Check:
        """Compare the challenger with that version on the held-out rows of the reference."""
        margin, metric = given.config.promote.reference_margin, given.config.evaluate.primary_metric
        if given.champion is None or given.n_reference is None:
            return self.result(True, "there is no production data in this run")
        if margin is None:
            return self.result(True, "the config does not check it (reference_margin: null)")
        limit = 0 - margin
        before = _comparable_anchor(given) or given.champion
        rows = unseen_rows(given.holdout.head(given.n_reference), given.challenger, before)
        if len(rows) < FEWEST_ROWS:
            reason = f"{len(rows)} rows of the reference are new to both models, {FEWEST_ROWS} are needed"
            return self.result(False, reason, limit=limit)
        mine, theirs = (metrics.point(metric, scores) for scores in both_scores(given.challenger, before, rows))
        change = theirs - mine if metric in LOSSES else mine - theirs
        if np.isnan(change):
            reason = f"{metric} is not defined on the {len(rows)} rows of the reference that are new to both models"
            return self.result(False, reason, limit=limit)
        other = "the champion" if before is given.champion else "the last version trained without production data"
        reason = (
            f"{metric} {mine:.4f} on {len(rows)} held-out rows of the reference, {theirs:.4f} by {other}:"
            f" a change of {change:+.4f}, allowed down to {limit:g}"
        )
        return self.result(change >= limit, reason, change, limit)


def _comparable_anchor(given: GateInput) -> Package | None:
    """Return the anchor if it takes the same columns as the challenger."""
    same = given.anchor and columns_of(given.anchor.schema) == columns_of(given.challenger.schema)
    return given.anchor if same else None
