"""The challenger beside the champion, and beside what was known before production was learned from."""

from __future__ import annotations

import numpy as np

from ratchet.config import LOSSES
from ratchet.model import metrics
from ratchet.model.package.sealed_package import Package
from ratchet.model.tasks import block_length
from ratchet.registry.gates.comparison import FEWEST_ROWS, both_scores, columns_of, paired_interval, unseen_rows
from ratchet.registry.gates.contract import Check, Trial


class AgainstChampion:
    """The paired bootstrap interval of the difference to the champion, on rows that neither was fitted on."""

    name = "against_champion"

    def judge(self, trial: Trial) -> Check:
        """Ask that the whole interval lies above 0 (better) or above minus the margin (not worse)."""
        asked, metric = trial.config.promote, trial.config.evaluate.primary_metric
        if trial.champion is None:
            return self._check(None, None, True, "there is no champion yet")
        if asked.policy == "always":
            return self._check(None, None, True, "the policy is always")
        if columns_of(trial.champion.schema) != columns_of(trial.challenger.schema):
            reason = "the champion takes other columns: which rows it was fitted on cannot be told; promote by hand"
            return self._check(None, None, False, reason)
        rows = unseen_rows(trial.holdout, trial.challenger, trial.champion)
        if len(rows) < FEWEST_ROWS:
            reason = (
                f"{len(rows)} of {len(trial.holdout)} held-out rows are new to both models, {FEWEST_ROWS} are needed:"
                " train with the champion's seed and split, or bring new data"
            )
            return self._check(None, None, False, reason)
        mine, theirs = both_scores(trial, trial.champion, rows)
        block = block_length(trial.challenger.schema, len(rows))
        low, high = paired_interval(metric, mine, theirs, asked.confidence, asked.bootstrap, trial.config.seed, block)
        if np.isnan(low):
            return self._check(None, None, False, f"{metric} is not defined on the {len(rows)} rows new to both")
        limit = -asked.margin if asked.policy == "not_worse" else 0.0
        reason = (
            f"{metric} {metrics.point(metric, mine):.4f}, the champion's {metrics.point(metric, theirs):.4f}:"
            f" better by {low:+.4f} to {high:+.4f} ({asked.confidence:.0%} interval, {len(rows)} rows new to both),"
            f" needed above {limit:g}"
        )
        return self._check(low, limit, low > limit, reason)

    def _check(self, figure: float | None, limit: float | None, passed: bool, reason: str) -> Check:
        return Check(name=self.name, figure=figure, limit=limit, passed=passed, reason=reason)


class ReferenceKept:
    """What production has taught must not cost too much of what was known before.

    Labels from production may be wrong, by mistake or on purpose, in the holdout as in the training rows; the
    reference is not theirs to overrule. Where the world has really turned, people change the reference.

    What counts is the newest version that learned from the reference alone, so that a little in each of many runs
    costs no more than the margin in all.
    """

    name = "reference_holdout"

    def judge(self, trial: Trial) -> Check:
        """Compare the challenger with that version on the rows of the reference alone."""
        margin, metric = trial.config.promote.reference_margin, trial.config.evaluate.primary_metric
        if trial.champion is None or trial.n_reference is None:
            return self._check(None, None, True, "there is no production data in this run")
        if margin is None:
            return self._check(None, None, True, "the config does not look at it (reference_margin: null)")
        before = _comparable_anchor(trial) or trial.champion
        rows = unseen_rows(trial.holdout.head(trial.n_reference), trial.challenger, before)
        if len(rows) < FEWEST_ROWS:
            reason = f"{len(rows)} rows of the reference are new to both models, {FEWEST_ROWS} are needed"
            return self._check(None, 0 - margin, False, reason)
        mine, theirs = (metrics.point(metric, scores) for scores in both_scores(trial, before, rows))
        change = theirs - mine if metric in LOSSES else mine - theirs
        if np.isnan(change):
            reason = f"{metric} is not defined on the {len(rows)} rows of the reference that are new to both models"
            return self._check(None, 0 - margin, False, reason)
        reason = (
            f"{metric} {mine:.4f} on {len(rows)} held-out rows of the reference,"
            f" {theirs:.4f} {'by the champion' if before is trial.champion else 'before production was learned from'}:"
            f" a change of {change:+.4f}, allowed down to {0 - margin:g}"
        )
        return self._check(change, 0 - margin, change >= -margin, reason)

    def _check(self, figure: float | None, limit: float | None, passed: bool, reason: str) -> Check:
        return Check(name=self.name, figure=figure, limit=limit, passed=passed, reason=reason)


def _comparable_anchor(trial: Trial) -> Package | None:
    """The anchor, where it takes the columns that the rows have."""
    same = trial.anchor and columns_of(trial.anchor.schema) == columns_of(trial.challenger.schema)
    return trial.anchor if same else None
