"""What follows a promotion: it cannot fail the run, and the doctor repairs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.operations import open_pointer
from ratchet.errors import StateError
from ratchet.registry import doctor, follow_ups, stage_and_alias
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.registry.promotion_ledger import Ledger
from ratchet.settings import Settings
from ratchet.tracking import connect
from tests.training_runs import config_for, train_in


def broken(*_: Any, **__: Any) -> Any:
    raise OSError("no answer")


def break_alias(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stage_and_alias, "set_alias", broken)


def break_zenml_stage(patch: pytest.MonkeyPatch) -> None:
    from steps.model_control_plane import ZenMLStage

    patch.setattr(ZenMLStage, "write", broken)


def break_zenml_version(patch: pytest.MonkeyPatch) -> None:
    from zenml.client import Client

    patch.setattr(Client, "create_model_version", broken)


def break_zenml_metadata(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("steps.model_control_plane.log_metadata", broken)


def break_run_record(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(follow_ups.FOLLOW_UPS, "the record in MLflow", broken)


def break_files(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ratchet.model.package.model_files.export_model", broken)


def break_end_of_the_entry(patch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> Any:
        raise StateError("the store is down")

    patch.setattr(Ledger, "end", down)


FAULTS = [
    break_alias,
    *(
        pytest.param(fault, marks=pytest.mark.slow)
        for fault in (
            break_zenml_version,
            break_files,
            break_zenml_stage,
            break_zenml_metadata,
            break_run_record,
            break_end_of_the_entry,
        )
    ),
]


@pytest.mark.slow
def test_a_model_whose_name_begins_another_models_is_trained(settings: Settings, model: str) -> None:
    from zenml.client import Client

    longer = train_in(settings, config_for(f"{model}b"))
    shorter = train_in(settings, config_for(model))
    assert [run.promotion.outcome for run in (longer, shorter)] == ["promoted", "promoted"]
    assert shorter.promotion.warnings == ()
    for name in (model, f"{model}b"):
        (version,) = Client().list_model_versions(model=Client().list_models(name=f"equals:{name}").items[0].id).items
        assert (version.name, version.stage) == ("v1", "production")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_after_a_promotion_is_a_warning_that_the_doctor_repairs(
    fault: Callable[[pytest.MonkeyPatch], None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = f"after_{fault.__name__}"
    with monkeypatch.context() as patch:
        fault(patch)
        run = train_in(settings, config_for(model))
    assert run.promotion.outcome == "promoted"
    assert run.promotion.warnings
    pointer = open_pointer(settings, model)
    assert doctor.examine(pointer) != []
    assert doctor.repair(pointer, "doctor")[1] == []
    assert pointer.with_alias() == pointer.in_production() == ["1"]
    assert pointer.mirrors[0].read(model) == "1"
    assert not pointer.ledger.unfinished()
    tags = connect(settings).get_run(run.mlflow_run_id).data.tags
    assert (tags["ratchet.outcome"], tags["ratchet.model_version"]) == ("promoted", "1")
    record = json.loads((run.exports / "metrics.json").read_text())
    assert (record["version"], record["metrics"]) == ("1", run.evaluation.metrics)


@pytest.mark.slow
def test_zenmls_version_of_a_repaired_promotion_has_its_metadata_and_artifacts(
    settings: Settings, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zenml.client import Client

    with monkeypatch.context() as patch:
        break_zenml_version(patch)
        train_in(settings, config_for(model))
    doctor.repair(open_pointer(settings, model), "doctor")
    version = Client().get_model_version(model, "v1")
    digest = ProductionPointer(settings, model).get("1").digest
    assert version.run_metadata["package_digest"] == digest
    assert "f1_macro" in version.run_metadata["metrics"]
    assert {"train_rows", "evaluation"} <= set(version.data_artifact_ids) | set(version.model_artifact_ids)
