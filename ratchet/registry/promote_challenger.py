"""The last step of a pipeline: register the challenger, run the gate, and promote it if it passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import TrainingConfig
from ratchet.data.row_identities import RowIdentities
from ratchet.errors import RatchetError
from ratchet.model.evaluation import Evaluation
from ratchet.model.package.sealed_package import Package
from ratchet.registry.audit_share import set_audit_share
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.follow_ups import MODEL_RECORD, Decided, write_all
from ratchet.registry.former_training_rows import with_identities
from ratchet.registry.gates import Check, GateInput, run_checks
from ratchet.registry.holdout_trials import tried_on_holdout
from ratchet.registry.model_version import Mirror, Version
from ratchet.registry.production_pointer import PRODUCTION, ProductionPointer
from ratchet.tracking import PackageRef, connect, log_metrics, register
from ratchet.tracking.lineage import Lineage
from ratchet.tracking.runs import log_missing_origin

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ratchet.registry.promotion_ledger import Entry
    from ratchet.settings import Settings

Outcome = Literal["promoted", "refused", "unchanged"]
_PASSED = "gate passed: "


class Promotion(BaseModel):
    """The decision about a challenger.

    Attributes
    ----------
    version: the challenger's registered version.
    outcome: promoted; refused by the gate; or unchanged, if it is the champion already.
    stage: its stage now.
    champion: the version in Production now; None for none.
    reason: the reason in one line.
    checks: every check of the gate.
    warnings: what could not be written after the decision; ``doctor --repair`` writes it.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    outcome: Outcome
    stage: str
    champion: str | None
    reason: str
    checks: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()


def promote_challenger(
    settings: Settings,
    config: TrainingConfig,
    run_id: str,
    package: PackageRef,
    evaluation: Evaluation,
    holdout: pd.DataFrame,
    identities: RowIdentities,
    lineage: Lineage,
    mirrors: Sequence[Mirror] = (),
    *,
    n_reference: int | None = None,
    operation_id: str | None = None,
    label_bias: str | None = None,
) -> Promotion:
    """Register a logged package, run the gate, move the production pointer, and write the files in ``models/``.

    Parameters
    ----------
    run_id: the MLflow run that the gate's figures are logged to.
    holdout, identities: typed rows that it was not fitted on, and their identities.
    lineage: a part of it is set as tags on the registered version.
    n_reference: the number of holdout rows, the first ones, that come from the reference; None for all.
    operation_id: the same for every attempt at this decision, so that it is carried out once.
    label_bias: as for ``GateInput``.

    Raises
    ------
    RegistryError, PackageError, StateError: MLflow, a package or the store cannot be used; nothing changed.
    """
    client = connect(settings)
    version = str(register(client, config.model, package, lineage.tags()).version)
    if package.run_id != run_id:
        # The package is from the cache: the run that trained it can have failed before its inputs were logged.
        log_missing_origin(client, package.run_id, config, lineage)
    pointer = ProductionPointer(settings, config.model, mirrors=mirrors)
    champion = pointer.current()
    if champion:
        set_audit_share(settings, champion, config.feedback.audit_share)
    challenger = fetch_package(settings, pointer.get(version))
    decided = _decided(pointer, version, champion, operation_id)
    record = _model_record(evaluation, lineage, package)
    client.log_dict(run_id, record, MODEL_RECORD)
    if decided is None:
        asked = GateInput(config, challenger, None, holdout, identities, evaluation, n_reference, None, label_bias)
        checks = _run_gate(settings, pointer, champion, asked, lineage)
        _log_checks(client, run_id, checks)
        decided = _decide(pointer, version, champion, checks, settings.actor, operation_id)
    decision, entry = decided
    given = Decided(settings, config.model, run_id, decision.model_dump(mode="json"), challenger, record)
    warnings = (*decision.warnings, *write_all(given, pointer, entry))
    return decision.model_copy(update={"warnings": warnings})


def _decided(
    pointer: ProductionPointer, version: str, champion: Version | None, operation_id: str | None
) -> tuple[Promotion, Entry | None] | None:
    """Return the decision of an earlier attempt, or that the version is the champion; None if the gate decides."""
    done = pointer.ledger.find(operation_id) if operation_id else None
    if done and done.state in ("completed", "refused"):
        return earlier_decision(pointer, done), done
    if champion and champion.version == version:
        reason = f"version {version} is in Production already: nothing changed that shapes the model"
        decision = Promotion(version=version, outcome="unchanged", stage=PRODUCTION, champion=version, reason=reason)
        return decision, None
    return None


def _run_gate(
    settings: Settings, pointer: ProductionPointer, champion: Version | None, asked: GateInput, lineage: Lineage
) -> tuple[Check, ...]:
    """Run the checks of a challenger against the champion, and count it among those tried on its holdout."""
    if champion:
        fitted, config = asked.challenger.training_rows, asked.config

        def fetched(version: Version) -> Package:
            package = fetch_package(settings, version)
            return with_identities(settings, package, version, fitted, asked.identities, config, lineage)

        anchor = None if asked.n_reference is None else anchor_of(pointer, champion)
        asked = replace(asked, champion=fetched(champion), anchor=fetched(anchor) if anchor else None)
    return run_checks(replace(asked, tried=tried_on_holdout(pointer.store, asked)))


def anchor_of(pointer: ProductionPointer, champion: Version) -> Version | None:
    """Return the newest promoted version that was trained on the reference alone, if the champion was not."""
    if "snapshot" not in champion.lineage:
        return None
    registered = set(pointer.versions())  # a version of the ledger may have been deleted in MLflow
    promoted = (pointer.get(found) for found in reversed(pointer.ledger.promoted_versions()) if found in registered)
    return next((version for version in promoted if "snapshot" not in version.lineage), None)


def _model_record(evaluation: Evaluation, lineage: Lineage, package: PackageRef) -> dict[str, Any]:
    """Return the metrics and the lineage of a model for ``metrics.json``, to which its decision is added."""
    return {
        "metrics": evaluation.metrics,
        "primary_metric": evaluation.primary_metric,
        "confidence_interval": [evaluation.low, evaluation.high],
        "confidence": evaluation.confidence,
        "holdout_rows": evaluation.n_rows,
        "mlflow_run_id": package.run_id,
        "package_digest": package.digest,
        **lineage.model_dump(mode="json"),
    }


def earlier_decision(pointer: ProductionPointer, entry: Entry) -> Promotion:
    """Return the decision of an earlier attempt that ended after it had decided."""
    champion = pointer.current()
    return Promotion(
        version=entry.to_version,
        outcome="promoted" if entry.state == "completed" else "refused",
        stage=pointer.get(entry.to_version).stage,
        champion=champion.version if champion else None,
        reason=entry.reason.removeprefix(_PASSED),
        checks=tuple(Check.model_validate(check) for check in entry.gate or ()),
    )


def _decide(
    pointer: ProductionPointer,
    version: str,
    champion: Version | None,
    checks: tuple[Check, ...],
    actor: str,
    operation_id: str | None,
) -> tuple[Promotion, Entry]:
    """Promote the version if every check passed, and record the decision in the ledger either way."""
    before = champion.version if champion else None
    gate = [check.model_dump() for check in checks]
    failed = [check for check in checks if not check.passed]
    reason = "; ".join(f"{check.name}: {check.reason}" for check in failed or checks[:2])
    if failed:
        entry = pointer.refuse(version, reason, actor, gate, operation_id=operation_id)
        stage = pointer.get(version).stage
        return Promotion(
            version=version, outcome="refused", stage=stage, champion=before, reason=reason, checks=checks
        ), entry
    try:
        entry = pointer.promote(
            version, f"{_PASSED}{reason}", actor, expected=before, gate=gate, operation_id=operation_id
        )
    except RatchetError as error:
        pointer.refuse(version, f"the gate passed, but {error}", actor, gate)
        raise
    return Promotion(
        version=version,
        outcome="promoted",
        stage=PRODUCTION,
        champion=version,
        reason=reason,
        checks=checks,
        warnings=entry.warnings,
    ), entry


def _log_checks(client: MlflowClient, run_id: str, checks: tuple[Check, ...]) -> None:
    # Logged before the promotion, so that the figures exist even if it fails.
    figures = {f"gate.{c.name}.figure": c.figure for c in checks if c.figure is not None}
    figures |= {f"gate.{c.name}.tried": float(c.tried) for c in checks if c.tried is not None}
    figures |= {f"gate.{c.name}.level": c.level for c in checks if c.level is not None}
    log_metrics(client, run_id, figures | {f"gate.{c.name}.passed": float(c.passed) for c in checks})
