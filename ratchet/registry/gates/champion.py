"""The challenger compared with the champion, and with the last version that was trained without production data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import LOSSES
from ratchet.data.row_identities import RowIdentities
from ratchet.data.schema import Schema
from ratchet.model import metrics
from ratchet.model.evaluation import score_rows
from ratchet.model.package.sealed_package import Package
from ratchet.model.tasks import block_length
from ratchet.registry.gates.alpha_spending import level_of
from ratchet.registry.gates.contract import GateInput, Result
from ratchet.registry.gates.paired_interval import paired_interval

# Two models are not compared on fewer rows.
FEWEST_ROWS = 10
_FIRST = "there is no champion yet"


@dataclass(frozen=True)
class Evidence:
    """The held-out rows that neither model was fitted on."""

    rows: pd.DataFrame
    identities: RowIdentities


def against_champion(given: GateInput) -> Result:
    """Check the paired bootstrap interval of the difference to the champion, on rows that neither was fitted on.

    The whole interval has to lie above 0 (better) or above minus the margin (not worse). Its level depends on how many
    challengers were tried on these rows; see ``level_of``.
    """
    evidence = evidence_of(given)
    if isinstance(evidence, Result) or given.champion is None:
        return evidence if isinstance(evidence, Result) else Result(True, _FIRST)
    promote, metric, rows = given.config.promote, given.config.evaluate.primary_metric, evidence.rows
    mine, theirs = both_scores(given.challenger, given.champion, rows)
    block = block_length(given.challenger.schema, rows)
    total = (1 - promote.confidence) / 2
    level = level_of(given.tried, total)
    limit = -promote.margin if promote.policy == "not_worse" else 0.0
    low, high = paired_interval(metric, mine, theirs, level, promote.bootstrap, given.config.seed, block, limit)
    if np.isnan(low):
        return Result(False, f"{metric} is not defined on the {len(rows)} rows new to both")
    passed = low > limit
    reason = (
        f"{metric} {metrics.point(metric, mine):.4f}, the champion's {metrics.point(metric, theirs):.4f}:"
        f" better by {low:+.4f} to {high:+.4f} (level {level:.2g} of {total:.2g}, challenger {given.tried} on"
        f" {len(rows)} rows new to both), needed above {limit:g}"
    )
    if given.tried > 1 and not passed:
        reason += f"; fresh held-out rows restore the level {level_of(1, total):.2g}"
    return Result(passed, reason, low, limit, given.tried, level)


def evidence_of(given: GateInput) -> Evidence | Result:
    """Return the rows to compare challenger and champion on, or the result of the check without a comparison."""
    if given.champion is None:
        return Result(True, _FIRST)
    if given.config.promote.policy == "always":
        return Result(True, "the policy is always")
    if _columns(given.champion.schema) != _columns(given.challenger.schema):
        return Result(False, "the champion takes other columns than the holdout has; promote by hand")
    new = new_to_both(given, given.champion)
    if new.sum() < FEWEST_ROWS:
        return Result(
            False,
            f"{new.sum()} of {len(new)} held-out rows are new to both models, {FEWEST_ROWS} are needed:"
            " train with the champion's seed and split, or bring new data",
        )
    return Evidence(given.holdout[new], given.identities.select(new))


def reference_holdout(given: GateInput) -> Result:
    """Check the loss on the held-out rows of the reference data set that training on production data causes.

    Labels from production can be wrong, by mistake or on purpose, in the holdout as in the training rows, so they must
    not overrule the reference. If the true relation has changed, users change the reference.

    The comparison is with the newest version that was trained on the reference alone, so that small losses in many
    runs do not add up to more than the margin.
    """
    margin, metric = given.config.promote.reference_margin, given.config.evaluate.primary_metric
    if given.champion is None or given.n_reference is None:
        return Result(True, "there is no production data in this run")
    if margin is None:
        return Result(True, "the config does not check it (reference_margin: null)")
    limit = 0 - margin
    before = _comparable_anchor(given) or given.champion
    rows = given.holdout[new_to_both(given, before) & (np.arange(len(given.holdout)) < given.n_reference)]
    if len(rows) < FEWEST_ROWS:
        reason = f"{len(rows)} rows of the reference are new to both models, {FEWEST_ROWS} are needed"
        return Result(False, reason, limit=limit)
    mine, theirs = (metrics.point(metric, scores) for scores in both_scores(given.challenger, before, rows))
    change = theirs - mine if metric in LOSSES else mine - theirs
    if np.isnan(change):
        reason = f"{metric} is not defined on the {len(rows)} rows of the reference that are new to both models"
        return Result(False, reason, limit=limit)
    other = "the champion" if before is given.champion else "the last version trained without production data"
    reason = (
        f"{metric} {mine:.4f} on {len(rows)} held-out rows of the reference, {theirs:.4f} by {other}:"
        f" a change of {change:+.4f}, allowed down to {limit:g}"
    )
    return Result(change >= limit, reason, change, limit)


def new_to_both(given: GateInput, other: Package) -> npt.NDArray[np.bool_]:
    """Return which held-out rows neither the challenger nor the other model was fitted on, shape (rows,).

    Each package has the identities of its training rows. With one data version, split and seed, all rows are new to
    both. Rows of another data version than the other model's are matched by content; see ``TrainingRows.contains``.
    """
    mine = given.challenger.training_rows
    others, rows = mine.contents[: mine.n_data], given.identities
    seen = mine.contains(rows, given.holdout) | other.training_rows.contains(
        rows, given.holdout, others, given.config.seed
    )
    return ~seen


def both_scores(challenger: Package, champion: Package, rows: pd.DataFrame) -> tuple[metrics.Scores, metrics.Scores]:
    """Return the challenger's and the champion's scores on the same rows.

    Both are scored by the labels, positive class and costs of the challenger's schema, in case the config changed.
    """
    ours = challenger.schema
    update = {"labels": ours.labels, "target": ours.target, "positive": ours.positive, "costs": ours.costs}
    theirs = champion.schema.model_copy(update=update)
    return score_rows(challenger.model, rows, ours), score_rows(champion.model, rows, theirs)


def _comparable_anchor(given: GateInput) -> Package | None:
    """Return the anchor if it takes the same columns as the challenger."""
    same = given.anchor and _columns(given.anchor.schema) == _columns(given.challenger.schema)
    return given.anchor if same else None


def _columns(schema: Schema) -> set[tuple[str, str]]:
    """Return the columns of a model's rows with their types, including the target."""
    return {(field.name, field.type) for field in schema.features} | {(schema.target, "target")}
