"""The last step of a pipeline: register the challenger, put it before the gate, move the pointer."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.champion import fetch_package
from ratchet.config import TrainingConfig
from ratchet.evaluation import Evaluation
from ratchet.exports import export_model
from ratchet.gates import Check, comparison_check, floor_check
from ratchet.lineage import Lineage
from ratchet.packaging import verify_package
from ratchet.registry import ProductionPointer, Version
from ratchet.tracking import PackageRef, connect, log_metrics, register

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ratchet.settings import Settings

Outcome = Literal["promoted", "refused", "unchanged"]


class Promotion(BaseModel):
    """What became of a challenger.

    Attributes
    ----------
    version: the challenger's registered version.
    outcome: promoted; refused by the gate; or unchanged, when it is the champion already.
    stage: its stage now.
    champion: the version in Production now, None for none.
    reason: one line for a person.
    checks: every check of the gate.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    outcome: Outcome
    stage: str
    champion: str | None
    reason: str
    checks: tuple[Check, ...] = ()


def promote_challenger(
    settings: Settings,
    config: TrainingConfig,
    run_id: str,
    package: PackageRef,
    evaluation: Evaluation,
    holdout: pd.DataFrame,
    lineage: Lineage,
) -> Promotion:
    """Register a logged package, decide, move the pointer, and write the files for people.

    Parameters
    ----------
    settings: where MLflow and ``models/`` are.
    config: the run's config.
    run_id: the MLflow run that gets the gate's figures.
    package: the challenger.
    evaluation: its figures on the holdout.
    holdout: typed rows that it was not fitted on.
    lineage: put on the registered version.

    Raises
    ------
    RegistryError, PackageError: the registry or a package cannot be used; the pointer has not moved.
    """
    client = connect(settings)
    version = str(register(client, config.model, package, lineage.tags()).version)
    pointer = ProductionPointer(client, config.model)
    champion = pointer.current()
    with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
        challenger = fetch_package(client, pointer.get(version), Path(folder) / "challenger")
        verify_package(challenger)
        if champion and champion.version == version:
            decision = Promotion(
                version=version,
                outcome="unchanged",
                stage=champion.stage,
                champion=version,
                reason=f"version {version} is in Production already: nothing changed that shapes the model",
            )
        else:
            rival = fetch_package(client, champion, Path(folder) / "champion") if champion else None
            checks = (
                floor_check(evaluation, config.evaluate),
                comparison_check(challenger, rival, holdout, config.evaluate.primary_metric),
            )
            decision = _decide(pointer, version, champion, checks)
        _log(client, run_id, version, decision)
        record = model_record(config, evaluation, decision, lineage, package)
        export_model(settings.models_dir / config.model, challenger.model, record)
    return decision


def model_record(
    config: TrainingConfig, evaluation: Evaluation, decision: Promotion, lineage: Lineage, package: PackageRef
) -> dict[str, Any]:
    """What ``metrics.json`` says of a model: figures, decision, and all that is needed to train it again."""
    return {
        "model": config.model,
        "version": decision.version,
        "stage": decision.stage,
        "outcome": decision.outcome,
        "metrics": evaluation.metrics,
        "primary_metric": evaluation.primary_metric,
        "confidence_interval": [evaluation.low, evaluation.high],
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlflow_run_id": package.run_id,
        "package_digest": package.digest,
        **json.loads(lineage.model_dump_json()),
    }


def _decide(pointer: ProductionPointer, version: str, champion: Version | None, checks: tuple[Check, ...]) -> Promotion:
    failed = [check for check in checks if not check.passed]
    if failed:
        return Promotion(
            version=version,
            outcome="refused",
            stage=pointer.get(version).stage,
            champion=champion.version if champion else None,
            reason="; ".join(f"{check.name}: {check.reason}" for check in failed),
            checks=checks,
        )
    promoted = pointer.promote(version, expected=champion.version if champion else None)
    return Promotion(
        version=version,
        outcome="promoted",
        stage=promoted.stage,
        champion=version,
        reason="; ".join(check.reason for check in checks),
        checks=checks,
    )


def _log(client: MlflowClient, run_id: str, version: str, decision: Promotion) -> None:
    figures = {f"gate.{c.name}.figure": c.figure for c in decision.checks if c.figure is not None}
    figures |= {f"gate.{c.name}.passed": float(c.passed) for c in decision.checks}
    if figures:
        log_metrics(client, run_id, figures)
    client.set_tag(run_id, "ratchet.model_version", version)
    client.set_tag(run_id, "ratchet.outcome", decision.outcome)
    client.set_tag(run_id, "ratchet.reason", decision.reason)
