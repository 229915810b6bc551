"""What the landing page shows of the version in Production, read from the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ratchet.config.continuous import SMALLEST_WINDOW
from ratchet.monitoring.windows import drift_windows, quality_windows
from ratchet.registry.promotion_ledger import Entry, Ledger
from ratchet.store.database import Store

_MOST_CHANGES = 5
_MOST_FEATURES = 3
_WORDS = {"promote": "promoted", "rollback": "rolled back", "repair": "repaired", "moved": "moved in MLflow"}


@dataclass(frozen=True)
class Change:
    """A change of Production, or a promotion that did not come about.

    Attributes
    ----------
    outcome: in words, such as ``promoted`` or ``refused``.
    kind: ``good``, ``warning`` or ``plain``, for the colour.
    at: seconds since the epoch.
    """

    outcome: str
    kind: str
    before: str | None
    version: str
    reason: str
    actor: str
    at: float


@dataclass(frozen=True)
class ProductionSummary:
    """The newest verdicts on a version, and the newest changes of Production.

    Attributes
    ----------
    since: when the version went into Production; None if the ledger does not say.
    quality, drift: the newest windows, as ``ratchet.monitoring.windows`` returns them; None before the first one.
    drift_verdict, drift_reasons: of that window, in words; a window with too few rows has no verdict.
    """

    since: float | None
    quality: dict[str, Any] | None
    drift: dict[str, Any] | None
    drift_verdict: str
    drift_reasons: list[str]
    changes: list[Change]


def read_summary(store: Store, model: str, version: str) -> ProductionSummary:
    """Return the summary of a version.

    Raises
    ------
    StateError: the store cannot be read.
    """
    ledger = Ledger(store, model)
    last = ledger.last_completed()
    quality, drift = quality_windows(store, model, version, 1), drift_windows(store, model, version, 1)
    return ProductionSummary(
        since=last.ended_at if last and last.to_version == version else None,
        quality=quality[0] if quality else None,
        drift=drift[0] if drift else None,
        drift_verdict=_verdict(drift[0]) if drift else "",
        drift_reasons=_reasons(drift[0]["report"]) if drift else [],
        changes=[_change(entry) for entry in ledger.history(_MOST_CHANGES)],
    )


def _verdict(window: dict[str, Any]) -> str:
    if window["n_rows"] < SMALLEST_WINDOW:
        return "Too few rows to tell"
    return "Detected" if window["detected"] else "Not detected"


def _reasons(report: dict[str, Any]) -> list[str]:
    """Return what a drift report is based on: features, with those that drifted most, predictions, and separability."""
    figures = report["figures"]
    most = sorted(report["drifted"], key=lambda name: -figures[name])[:_MOST_FEATURES]
    reasons = [f"{len(report['drifted'])} of {len(figures)} features drifted"]
    reasons += [f"{name}: {report['method']} {figures[name]:.3g}" for name in most]
    # Reports of earlier releases lack the other keys.
    if any(column["drifted"] for column in report.get("predictions", ())):
        reasons.append("the predictions drifted")
    if report.get("domain_drifted"):
        reasons.append(f"a classifier separates the rows from training rows (AUC {report['domain_auc']:.2f})")
    return reasons


def _change(entry: Entry) -> Change:
    done = entry.state == "completed"
    kind = "good" if done and entry.kind == "promote" else "warning" if done or entry.state == "refused" else "plain"
    return Change(
        outcome=_WORDS[entry.kind] if done else entry.state,
        kind=kind,
        before=entry.from_version,
        version=entry.to_version,
        reason=entry.reason,
        actor=entry.actor,
        at=entry.ended_at or entry.created_at,
    )
