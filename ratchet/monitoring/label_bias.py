"""Whether the chance of a label depends on the answer: labelled predictions compared with those without a label.

A metric on labelled rows estimates the metric on all rows only if the labels are missing at random (Rubin 1976). Labels
that users send for wrong answers alone make a good model look bad, and a model that repeats its mistakes less look
better than it is. The comparison finds such a selection as far as it shows in the prediction, in its score, or in how
often sources agree with the model. A selection among rows of equal prediction and score leaves no trace in these rows;
it shows in the errors of an audit sample (``ratchet.feedback.audit_sample``), compared with those of all labelled rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ratchet.feedback.audit_sample import is_audited
from ratchet.monitoring.production_rows import AskedRow, asked_rows, newest_labelled_ids
from ratchet.store.database import Store

Aspect = Literal["prediction", "score", "source", "error", "version", "time"]
# Those that decide; a label can depend on version and time without depending on the answer.
DECISIVE: tuple[Aspect, ...] = ("prediction", "score", "source", "error")
# The level over all comparisons, held by Holm's rule.
LEVEL = 0.01
# The effect from which a difference counts: the share of rows by which labelled rows misrepresent all rows.
SMALLEST_EFFECT = 0.05
# Rows that each side of a comparison has at least.
FEWEST_ROWS = 20
# The newest labels whose predictions are compared.
MOST_LABELS = 1_000
# The share of an audit sample that has labels, of those that had the time to come.
LEAST_AUDITED = 0.8
# Labels that come later than this share of all are not waited for.
_DELAY_QUANTILE = 0.95
# Rows are compared within blocks of neighbours in time, so that neither late labels nor drift looks like a selection.
_BLOCK_ROWS = 25
_MOST_BLOCKS = 100
_MOST_ROWS = 20_000
# Classes beyond these are compared as one.
_MOST_CLASSES = 30

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


class Comparison(BaseModel):
    """Labelled rows compared with all rows in one aspect.

    Attributes
    ----------
    effect: the largest difference between a share of the labelled rows and the same share of all rows.
    p_value: adjusted by Holm's rule over all comparisons.
    differs: whether the effect and the p-value are beyond their limits.
    """

    model_config = ConfigDict(frozen=True)

    aspect: Aspect
    effect: float
    p_value: float
    differs: bool


class LabelCheck(BaseModel):
    """Which labelled rows are evidence of a model's quality.

    Attributes
    ----------
    evidence: all labelled rows; those of the audit sample alone; or none.
    biased: whether the chance of a label depends on the answer.
    n_rows, n_labelled: the predictions that were compared, and those with a label.
    comparisons: empty for too few rows.
    audit_share: the share of the audit sample; None for no sample.
    reason: the result in words.
    """

    model_config = ConfigDict(frozen=True)

    evidence: Literal["all", "audit", "none"]
    biased: bool
    n_rows: int
    n_labelled: int
    comparisons: tuple[Comparison, ...] = ()
    audit_share: float | None = None
    reason: str


def check_labels(rows: Sequence[AskedRow], audit_share: float | None, *, classes: bool) -> LabelCheck:
    """Decide which labelled rows are evidence.

    All of them are unless the labels are biased. Then it is those of the audit sample, if nearly all of the sample has
    a label and the sample itself is not biased; each of its rows has the same chance of a label, so that no weights
    are needed. Without such a sample none is. The same holds for unbiased labels of predictions without a score, if an
    audit share is set: a selection of wrong answers may show in no comparison.

    Parameters
    ----------
    rows: neighbouring predictions in their order, with and without a label.
    audit_share: ``feedback.audit_share`` of the config.
    classes: whether the model predicts classes, and not a number.
    """
    n_labelled = sum(row.labelled_at is not None for row in rows)
    size = {"n_rows": len(rows), "n_labelled": n_labelled, "audit_share": audit_share}
    enough = n_labelled >= FEWEST_ROWS
    comparisons = compare(rows, classes=classes, audit_share=audit_share) if enough else ()
    found = describe(comparisons, len(rows), n_labelled)
    if not enough:
        found = f"too few rows: {n_labelled} of {len(rows)} predictions have a label, {FEWEST_ROWS} are needed"
    biased = _is_biased(comparisons)
    needs_sample = audit_share and n_labelled and any(row.score is None for row in rows)
    if not biased and not needs_sample:
        return LabelCheck(evidence="all", biased=False, comparisons=comparisons, reason=found, **size)
    usable, of_sample = _judge_sample(rows, audit_share, classes=classes)
    evidence: Literal["audit", "none"] = "audit" if usable else "none"
    reason = f"{found}; {of_sample}" if biased else f"{found}; without scores only the audit sample counts: {of_sample}"
    return LabelCheck(evidence=evidence, biased=biased, comparisons=comparisons, reason=reason, **size)


def check_labels_near(
    store: Store,
    model: str,
    ids: Sequence[str],
    audit_share: float | None,
    *,
    classes: bool,
    up_to: int | None = None,
    targets: bool = False,
) -> LabelCheck:
    """Decide which labelled rows among some labelled predictions and their neighbours are evidence.

    Parameters
    ----------
    ids: labelled predictions in ascending order; those between the first and the last are compared, the newest 20,000.
    up_to, targets: as for ``asked_rows``.
    """
    rows = asked_rows(store, model, ids[0], ids[-1], _MOST_ROWS, up_to=up_to, targets=targets) if ids else []
    return check_labels(rows, audit_share, classes=classes)


def check_newest_labels(store: Store, model: str, audit_share: float | None, *, classes: bool) -> LabelCheck:
    """Decide which labelled rows among the newest are evidence.

    The newest labels of a model are of predictions that had the time to get one; a few that came sooner than most are
    left out, so that predictions that still wait for their label are not compared with them.
    """
    ids = newest_labelled_ids(store, model, MOST_LABELS)
    usual = ids[: 1 + int(_DELAY_QUANTILE * (len(ids) - 1))]
    return check_labels_near(store, model, usual, audit_share, classes=classes)


def compare(rows: Sequence[AskedRow], *, classes: bool, audit_share: float | None = None) -> tuple[Comparison, ...]:
    """Compare labelled rows with all rows in every aspect that both sides have enough rows for.

    The errors of all labelled rows are compared with those of the audit sample, if there is one.
    """
    labelled = np.array([row.labelled_at is not None for row in rows])
    blocks = _blocks(rows)
    found: dict[Aspect, tuple[float, float] | None] = {}
    answers = [row.prediction for row in rows]
    found["prediction"] = (
        compare_categories(labelled, list(map(str, answers)), blocks)
        if classes
        else compare_numbers(labelled, np.array(answers, dtype=float), blocks)
    )
    if all(row.score is not None for row in rows):
        found["score"] = compare_numbers(labelled, np.array([row.score for row in rows], dtype=float), blocks)
    found["source"] = _compare_sources(rows, blocks)
    found["error"] = _compare_errors(rows, blocks, audit_share)
    ripe = _ripe(rows)
    whole = np.zeros(int(ripe.sum()), dtype=np.int64)
    versions = [row.version for row, kept in zip(rows, ripe, strict=True) if kept]
    found["version"] = compare_categories(labelled[ripe], versions, whole) if len(set(versions)) > 1 else None
    found["time"] = compare_numbers(labelled[ripe], np.arange(len(whole), dtype=float), whole)
    tested = {aspect: result for aspect, result in found.items() if result is not None}
    adjusted = holm([p_value for _, p_value in tested.values()])
    return tuple(
        Comparison(aspect=aspect, effect=effect, p_value=p, differs=p <= LEVEL and effect >= SMALLEST_EFFECT)
        for (aspect, (effect, _)), p in zip(tested.items(), adjusted, strict=True)
    )


def describe(comparisons: Sequence[Comparison], n_rows: int, n_labelled: int) -> str:
    """Return comparisons in one line."""
    differing = [found for found in comparisons if found.differs]
    named = ", ".join(f"{found.aspect} ({found.effect:.0%})" for found in differing)
    size = f"{n_labelled} labelled of {n_rows} predictions"
    if _is_biased(comparisons):
        return f"the chance of a label depends on the answer: labelled rows differ from all rows in {named}; {size}"
    more = f"; they differ in {named}, which is no selection by the answer" if named else ""
    return f"no selection of labels by the answer was found; {size}{more}"


def compare_categories(group: Bools, values: Sequence[str], strata: Integers) -> tuple[float, float] | None:
    """Compare the categories of a group with those of all rows, within strata.

    The test is the generalised Cochran–Mantel–Haenszel test (Landis, Heyman & Koch 1978), which is Pearson's
    chi-square test in a single stratum, up to a factor of (n - 1) / n.

    Parameters
    ----------
    group: whether a row belongs to the group, shape (rows,).
    values, strata: of each row.

    Returns
    -------
    The total variation distance between the group and all rows, and the p-value; None for too few rows.
    """
    weights = _weights(group, strata)
    if weights is None:
        return None
    from scipy.stats import chi2

    codes, n_classes = _codes(values)
    score, covariance = np.zeros(n_classes), np.zeros((n_classes, n_classes))
    for stratum in np.unique(strata):
        inside = strata == stratum
        n, n_in = int(inside.sum()), int(group[inside].sum())
        if not 0 < n_in < n:
            continue
        totals = np.bincount(codes[inside], minlength=n_classes).astype(float)
        score += np.bincount(codes[inside & group], minlength=n_classes) - n_in * totals / n
        spread = n_in * (n - n_in) / (n**2 * (n - 1))
        covariance += spread * (n * np.diag(totals) - np.outer(totals, totals))
    statistic = float(score @ np.linalg.pinv(covariance, hermitian=True) @ score)
    difference = np.bincount(codes, weights=weights.of_rows, minlength=n_classes)
    p_value = float(chi2.sf(statistic, n_classes - 1)) if n_classes > 1 else 1.0
    return weights.outside * float(np.abs(difference).sum()) / 2, p_value


def compare_numbers(group: Bools, values: Floats, strata: Integers) -> tuple[float, float] | None:
    """Compare the numbers of a group with those of all rows, within strata.

    The statistic is the Kolmogorov–Smirnov distance between distribution functions that are averaged over the strata
    with the weights ``n m / (n + m)``, whose sum takes the place of the sample size. It is the two-sample test in a
    single stratum, and conservative for ties and for strata that differ from each other.

    Returns
    -------
    The distance between the group and all rows, and the p-value; None for too few rows.
    """
    weights = _weights(group, strata)
    if weights is None:
        return None
    from scipy.stats import kstwo

    order = np.argsort(values, kind="stable")
    last_of_ties = np.append(np.diff(values[order]) > 0, True)
    distance = float(np.abs(np.cumsum(weights.of_rows[order])[last_of_ties]).max())
    p_value = float(kstwo.sf(distance, max(1, round(weights.size))))
    return weights.outside * distance, p_value


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that a level holds for all of them together (Holm 1979)."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate([
        p_values[at] * (len(p_values) - rank) for rank, at in enumerate(order)
    ]))  # fmt: skip
    return [float(p) for p in adjusted]


class _Weights(NamedTuple):
    """Weights of rows, so that their sum over rows with a property is the difference of its shares.

    Attributes
    ----------
    of_rows: positive inside the group, negative outside it, shape (rows,).
    size: the sample size of the comparison.
    outside: share of the rows outside the group: the group differs so much less from all rows than from the others.
    """

    of_rows: Floats
    size: float
    outside: float


def _weights(group: Bools, strata: Integers) -> _Weights | None:
    if min(group.sum(), (~group).sum()) < FEWEST_ROWS:
        return None
    n_in = np.bincount(strata, weights=group).astype(float)
    n_out = np.bincount(strata, weights=~group).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.nan_to_num(n_in * n_out / (n_in + n_out))
        inside, outside = np.nan_to_num(size / n_in), np.nan_to_num(size / n_out)
    total = float(size.sum())
    if total <= 0:
        return None
    rows = np.where(group, inside[strata], -outside[strata]) / total
    return _Weights(rows, total, float((~group).mean()))


def _codes(values: Sequence[str]) -> tuple[Integers, int]:
    """Return the number of each category, the most frequent first, and how many there are; rare ones are pooled."""
    names, codes, counts = np.unique(np.array(values), return_inverse=True, return_counts=True)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(names))
    pooled = np.minimum(rank[codes], _MOST_CLASSES - 1)
    return pooled, int(pooled.max()) + 1


def _blocks(rows: Sequence[AskedRow]) -> Integers:
    """Return the stratum of each row: its version, and a block of neighbours in time."""
    n_blocks = int(np.clip(len(rows) // _BLOCK_ROWS, 1, _MOST_BLOCKS))
    block = np.arange(len(rows)) * n_blocks // max(1, len(rows))
    version = np.unique(np.array([row.version for row in rows]), return_inverse=True)[1]
    strata: Integers = np.unique(version * n_blocks + block, return_inverse=True)[1].astype(np.int64)
    return strata


def _compare_sources(rows: Sequence[AskedRow], blocks: Integers) -> tuple[float, float] | None:
    """Compare the errors in labels of the most frequent source with those of all sources."""
    known = [at for at, row in enumerate(rows) if row.error is not None and row.source is not None]
    names, counts = np.unique(np.array([str(rows[at].source) for at in known]), return_counts=True)
    if len(names) < 2:
        return None
    usual = names[np.argmax(counts)]
    group = np.array([rows[at].source == usual for at in known])
    errors = np.array([rows[at].error for at in known], dtype=float)
    return compare_numbers(group, errors, blocks[known])


def _compare_errors(rows: Sequence[AskedRow], blocks: Integers, share: float | None) -> tuple[float, float] | None:
    """Compare the errors of the labelled rows of the audit sample with those of all labelled rows."""
    known = [at for at, row in enumerate(rows) if row.error is not None]
    group = np.array([is_audited(rows[at].prediction_id, share) for at in known], dtype=bool)
    errors = np.array([rows[at].error for at in known], dtype=float)
    return compare_numbers(group, errors, blocks[known])


def _ripe(rows: Sequence[AskedRow]) -> Bools:
    """Return whether each row is so old, seen from the newest label, that a label would have come."""
    created = np.array([row.created_at for row in rows])
    labelled = np.array([np.nan if row.labelled_at is None else row.labelled_at for row in rows])
    delay = float(np.nanquantile(labelled - created, _DELAY_QUANTILE))
    ripe: Bools = created <= float(np.nanmax(labelled)) - delay
    return ripe


def _is_biased(comparisons: Sequence[Comparison]) -> bool:
    return any(found.differs for found in comparisons if found.aspect in DECISIVE)


def _judge_sample(rows: Sequence[AskedRow], share: float | None, *, classes: bool) -> tuple[bool, str]:
    """Return whether the audit sample is complete and unbiased, and the reason."""
    ask = "send a label for each answer with label_wanted"
    if not share:
        return False, f"set feedback.audit_share, and {ask}"
    sample = [row for row in rows if is_audited(row.prediction_id, share)]
    labelled = [row for row in sample if row.labelled_at is not None]
    if len(labelled) < FEWEST_ROWS:
        return False, f"{len(labelled)} rows of the audit sample have a label, {FEWEST_ROWS} are needed: {ask}"
    ripe = [row for row, is_ripe in zip(sample, _ripe(sample), strict=True) if is_ripe]
    answered = sum(row.labelled_at is not None for row in ripe) / max(1, len(ripe))
    if answered < LEAST_AUDITED:
        return False, f"{answered:.0%} of the audit sample have a label, {LEAST_AUDITED:.0%} are needed: {ask}"
    if _is_biased(compare(sample, classes=classes)):
        return False, "the labels of the audit sample depend on the answer too"
    return True, f"the {len(labelled)} labelled rows of the audit sample count"
